package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// refused makes sure that err is one that a user can act on.
func refused(err error) error {
	var e *Error
	switch {
	case err == nil:
		return errors.New("was accepted")
	case !errors.As(err, &e):
		return fmt.Errorf("gave an error without a class: %w", err)
	case e.Class == nil || e.Reason == "":
		return fmt.Errorf("gave an empty error: %#v", e)
	}
	return nil
}

// eachVariant runs check on n variants of p, on all CPUs, each with a private
// copy.
func eachVariant(t *testing.T, p []byte, n int, check func(p []byte, i int) error) {
	t.Helper()
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			mine := bytes.Clone(p)
			for failed.Load() < 20 {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := check(mine, i); err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// No byte of a bundle can change unseen, whichever way it is read.
func TestEveryFlipIsRefused(t *testing.T) {
	s := small(t)
	p := readFile(t, s.write(t, []byte(`{"signature":1}`), []byte("second signature")))
	if err := verifyAll(p); err != nil {
		t.Fatal(err)
	}
	if _, err := streamAll(bytes.NewReader(p)); err != nil {
		t.Fatal(err)
	}
	masks := []byte{0x01, 0x80, 0xFF, 0x20}
	if testing.Short() {
		masks = masks[:1]
	}
	t.Logf("%d bytes, %d masks", len(p), len(masks))
	eachVariant(t, p, len(p)*len(masks), func(p []byte, i int) error {
		at, mask := i/len(masks), masks[i%len(masks)]
		p[at] ^= mask
		defer func() { p[at] ^= mask }()
		if err := refused(verifyAll(p)); err != nil {
			return fmt.Errorf("byte %d xor %#x, reader: %w", at, mask, err)
		}
		_, err := streamAll(bytes.NewReader(p))
		if err := refused(err); err != nil {
			return fmt.Errorf("byte %d xor %#x, stream: %w", at, mask, err)
		}
		return nil
	})
}

// A file that is cut off anywhere is refused, and said to be damaged.
func TestEveryTruncationIsRefused(t *testing.T) {
	s := small(t)
	p := readFile(t, s.write(t, []byte(`{"signature":1}`)))
	eachVariant(t, p, len(p), func(p []byte, n int) error {
		err := verifyAll(p[:n])
		if err2 := refused(err); err2 != nil {
			return fmt.Errorf("first %d bytes, reader: %w", n, err2)
		}
		if !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("first %d bytes, reader: %w", n, err)
		}
		_, err = streamAll(bytes.NewReader(p[:n]))
		if err2 := refused(err); err2 != nil {
			return fmt.Errorf("first %d bytes, stream: %w", n, err2)
		}
		if !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("first %d bytes, stream: %w", n, err)
		}
		return nil
	})
}

// Nothing may follow a bundle, and nothing may stand before it.
func TestAppendedAndPrependedBytesAreRefused(t *testing.T) {
	s := small(t)
	p := readFile(t, s.write(t, []byte(`{"signature":1}`)))
	check := func(name string, p []byte) {
		if err := refused(verifyAll(p)); err != nil {
			t.Errorf("%s, reader: %v", name, err)
		}
		_, err := streamAll(bytes.NewReader(p))
		if err := refused(err); err != nil {
			t.Errorf("%s, stream: %v", name, err)
		}
	}
	for c := range 256 {
		check(fmt.Sprintf("byte %#x appended", c), append(bytes.Clone(p), byte(c)))
		check(fmt.Sprintf("byte %#x in front", c), append([]byte{byte(c)}, p...))
	}
	empty := []byte{0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0} // a skippable frame of zstd
	check("a skippable frame appended", append(bytes.Clone(p), empty...))
	check("a skippable frame in front", append(bytes.Clone(empty), p...))
	check("the bundle twice", append(bytes.Clone(p), p...))
	check("its last 9 bytes once more", append(bytes.Clone(p), p[len(p)-9:]...))
	for at := 1; at < len(p); at += 7 {
		check(fmt.Sprintf("a byte put in at %d", at), append(append(bytes.Clone(p[:at]), p[at]), p[at:]...))
		check(fmt.Sprintf("the byte at %d left out", at), append(bytes.Clone(p[:at]), p[at+1:]...))
	}
}

// Another kind of file is told to be one, not to be a damaged bundle.
func TestOtherFilesAreNoBundles(t *testing.T) {
	for name, p := range map[string][]byte{
		"text":         bytes.Repeat([]byte("hello\n"), 1000),
		"zeros":        make([]byte, 5000),
		"noise":        noise("x", 5000),
		"another zstd": encodeRaw(append(tarHead("etc/passwd", 5), make([]byte, 2*tarBlock)...), true),
		"short":        []byte("PK\x03\x04"),
	} {
		_, err := NewReader(bytes.NewReader(p), int64(len(p)))
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s, reader: %v", name, err)
		}
		if _, err := NewStream(bytes.NewReader(p)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s, stream: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was opened as a bundle")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// The error says which member is hit and where in the file.
func TestDamageIsNamed(t *testing.T) {
	s := small(t)
	path := s.write(t, []byte("signature"))
	p := readFile(t, path)
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	for _, b := range r.Blobs() {
		pos, length := r.Extent(b.Digest)
		for _, at := range []int64{pos, pos + 20, pos + length/2, pos + length - 1} {
			bad := bytes.Clone(p)
			bad[at] ^= 0x10
			br, err := NewReader(bytes.NewReader(bad), int64(len(bad)))
			if err != nil {
				t.Fatal(err)
			}
			if err := br.Load(); err != nil {
				t.Fatal(err)
			}
			err = br.VerifyBlob(t.Context(), b.Digest, nil)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("byte %d: %v", at, err)
			}
			if e.Digest != b.Digest || e.Member != blobPrefix+b.Digest.Encoded() {
				t.Errorf("byte %d of blob %s is said to be of %s", at, b.Digest, e.Member)
			}
			if e.Offset > at || e.Offset+e.Length <= at {
				t.Errorf("byte %d is said to be in %d to %d", at, e.Offset, e.Offset+e.Length-1)
			}
			for _, other := range r.Blobs() {
				if other.Digest != b.Digest {
					if err := br.VerifyBlob(t.Context(), other.Digest, nil); err != nil {
						t.Errorf("damage in blob %s hits %s: %v", b.Digest, other.Digest, err)
					}
				}
			}
		}
	}
}

// A stream tells of every damaged blob, not of the first alone.
func TestStreamGoesOnAfterDamage(t *testing.T) {
	s := small(t)
	path := s.write(t)
	p := readFile(t, path)
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	want := 0
	for i, b := range r.Blobs() {
		pos, length := r.Extent(b.Digest)
		if i%2 == 0 {
			continue
		}
		p[pos+length/2] ^= 1
		want++
	}
	st, err := NewStream(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.Next(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("Next before Load: %v", err)
	}
	if err := st.Load(); err != nil {
		t.Fatal(err)
	}
	got, total := 0, 0
	for {
		b, in, err := st.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total++
		if _, err := io.Copy(io.Discard, in); err != nil {
			got++
			var e *Error
			if !errors.As(err, &e) || e.Digest != b.Digest {
				t.Errorf("blob %s: %v", b.Digest, err)
			}
		}
	}
	if got != want || total != len(r.Blobs()) {
		t.Errorf("%d of %d damaged blobs among %d of %d", got, want, total, len(r.Blobs()))
	}
	if _, err := st.Finish(); err != nil {
		t.Errorf("the end of the file is whole: %v", err)
	}
	if _, err := st.Finish(); err != nil {
		t.Errorf("a second Finish: %v", err)
	}
	if _, _, err := st.Next(); err != io.EOF {
		t.Errorf("Next after Finish: %v", err)
	}
}

// Blobs that a caller does not read are checked all the same.
func TestStreamChecksWhatIsSkipped(t *testing.T) {
	s := small(t)
	p := readFile(t, s.write(t))
	g := s.plan.geo
	for i := range g.blobs {
		m := g.blob(i)
		bad := bytes.Clone(p)
		bad[m.pos+m.encodedLen()/2] ^= 4
		st, err := NewStream(bytes.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Load(); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Finish(); refused(err) != nil {
			t.Errorf("damage in blob %d was passed over: %v", i, err)
		}
	}
}
