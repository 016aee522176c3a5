package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Many writers at once, several of them on the same blob, make the same file
// as one.
func TestParallelWritersMakeTheSameFile(t *testing.T) {
	var blobs [][]byte
	for i := range 40 {
		blobs = append(blobs, noise(fmt.Sprint(i), 1000*i), text(fmt.Sprint(i), 70_000+i))
	}
	s := newSample(t, nil, append(blobs, noise("large", rawFrame+rawChunk))...)
	want := readFile(t, s.write(t))
	path := filepath.Join(t.TempDir(), "b")
	w, err := Create(path, s.plan, WriterOptions{SyncBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var wg sync.WaitGroup
	list := w.plan.Blobs()
	for g := range 8 {
		wg.Go(func() {
			for i := range list {
				b := list[(i*(2*g+1)+g*11)%len(list)]
				if err := w.WriteBlob(t.Context(), b.Digest, s.open(b.Digest)); err != nil {
					t.Error(err)
				}
				if !w.Done(b.Digest) {
					t.Errorf("blob %s is not done", b.Digest)
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, b := range list {
		total += b.Size
	}
	if w.Written() != total || w.Resumed() != 0 {
		t.Errorf("%d bytes written, %d resumed, of %d", w.Written(), w.Resumed(), total)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, path), want) {
		t.Error("the file differs from what one writer makes")
	}
	if int64(len(want)) != s.plan.Size() {
		t.Errorf("the file has %d bytes, the plan said %d", len(want), s.plan.Size())
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left: %v", len(entries), err)
	}
}

// failingReader breaks off after n bytes.
type failingReader struct {
	r   io.Reader
	n   int64
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	if f.n <= 0 {
		return 0, f.err
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.n)])
	f.n -= int64(n)
	return n, err
}

// A transfer that breaks off goes on where it stopped, within a run and in
// the next one.
func TestBrokenTransferGoesOn(t *testing.T) {
	content := noise("long", 3*rawFrame)
	s := newSample(t, nil, content)
	d := digest.FromBytes(content)
	want := readFile(t, s.write(t))
	path := filepath.Join(t.TempDir(), "b")
	broken := errors.New("connection lost")
	var offsets []int64
	step := int64(rawFrame + 3*rawChunk + 5)
	open := func(_ context.Context, off int64) (io.ReadCloser, error) {
		offsets = append(offsets, off)
		return io.NopCloser(&failingReader{bytes.NewReader(content[off:]), step, broken}), nil
	}
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.WriteBlob(t.Context(), d, open); !errors.Is(err, broken) {
			t.Fatalf("a broken transfer gives %v", err)
		}
	}
	if err := w.Commit(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "1 of 1") {
		t.Errorf("Commit without the blob: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteBlob(t.Context(), d, open); !errors.Is(err, os.ErrClosed) {
		t.Errorf("WriteBlob after Close: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	told := 0
	w, err = Create(path, s.plan, WriterOptions{Workers: 1, Verified: func(n int) { told += n }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Resumed() < 2*rawFrame || int64(told) != w.Resumed() || w.Written() != w.Resumed() {
		t.Errorf("%d bytes resumed, %d told of, %d written", w.Resumed(), told, w.Written())
	}
	if err := w.WriteBlob(t.Context(), d, open); err != nil {
		t.Fatal(err)
	}
	for i, off := range offsets[1:] {
		if off <= offsets[i] || off < int64(i+1)*rawFrame {
			t.Errorf("the transfers began at %v", offsets)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, path), want) {
		t.Error("the file differs from one that was made in one go")
	}
}

// What is delivered must be the blob, neither more nor less nor other.
func TestWrongContentIsRefused(t *testing.T) {
	for name, content := range map[string][]byte{"raw": noise("x", 2*rawChunk+7), "packed": text("x", 2*packFrame+7)} {
		t.Run(name, func(t *testing.T) {
			s := newSample(t, nil, content)
			d := digest.FromBytes(content)
			w, err := Create(filepath.Join(t.TempDir(), "b"), s.plan, WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			give := func(p []byte) func(context.Context, int64) (io.ReadCloser, error) {
				return func(_ context.Context, off int64) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(p[min(off, int64(len(p))):])), nil
				}
			}
			other := bytes.Clone(content)
			other[len(other)-1] ^= 1
			early := bytes.Clone(content)
			early[0] ^= 1
			for what, p := range map[string][]byte{"other": other, "early": early, "longer": append(bytes.Clone(content), 0)} {
				err := w.WriteBlob(t.Context(), d, give(p))
				if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), d.String()) {
					t.Errorf("%s content: %v", what, err)
				}
				if w.Done(d) || w.Written() != 0 {
					t.Errorf("%s content: done %v, %d bytes written", what, w.Done(d), w.Written())
				}
			}
			if err := w.WriteBlob(t.Context(), d, give(content[:len(content)-9])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("short content: %v", err)
			}
			sorry := errors.New("sorry")
			if err := w.WriteBlob(t.Context(), d, func(context.Context, int64) (io.ReadCloser, error) { return nil, sorry }); !errors.Is(err, sorry) {
				t.Errorf("a source that does not open: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := w.WriteBlob(ctx, d, give(content)); !errors.Is(err, context.Canceled) {
				t.Errorf("after the end of the context: %v", err)
			}
			if err := w.WriteBlob(t.Context(), d, give(content)); err != nil {
				t.Errorf("the right content at last: %v", err)
			}
			if err := w.WriteBlob(t.Context(), digest.FromString("another"), give(content)); !errors.Is(err, ErrUnexpected) {
				t.Errorf("a blob that was not planned: %v", err)
			}
			if l := w.plan.geo.layout.digest; !w.Done(l) || w.WriteBlob(t.Context(), l, nil) != nil {
				t.Error("the layout blob is not taken care of by itself")
			}
			if w.Done("sha256:none") {
				t.Error("an unknown blob is done")
			}
		})
	}
}

// A prefix that came from a wrong source is thrown away when the digest shows
// it, and the blob is fetched anew in the same call.
func TestWrongPrefixIsFetchedAnew(t *testing.T) {
	content := noise("right", rawFrame+rawChunk)
	wrong := bytes.Clone(content)
	wrong[99] ^= 1
	s := newSample(t, nil, content)
	d := digest.FromBytes(content)
	path := filepath.Join(t.TempDir(), "b")
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("lost")
	err = w.WriteBlob(t.Context(), d, func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(&failingReader{bytes.NewReader(wrong), rawFrame + 5, lost}), nil
	})
	if !errors.Is(err, lost) {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w, err = Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Resumed() == 0 {
		t.Fatal("nothing was resumed, so nothing is tested")
	}
	if err := w.WriteBlob(t.Context(), d, s.open(d)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := verifyAll(readFile(t, path)); err != nil {
		t.Error(err)
	}
}

// Bytes that changed on the disk between two runs are found, and only those
// blobs are written again.
func TestResumeTrustsNothing(t *testing.T) {
	s := newSample(t, nil, noise("a", 5000), noise("b", 5000), text("c", 5000), noise("d", 5000), noise("e", 2*rawFrame))
	want := readFile(t, s.write(t))
	path := filepath.Join(t.TempDir(), "b")
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list := s.plan.Blobs()
	for _, b := range list[:3] {
		if err := w.WriteBlob(t.Context(), b.Digest, s.open(b.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	big := list[4]
	_ = w.WriteBlob(t.Context(), big.Digest, func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(&failingReader{bytes.NewReader(s.content[big.Digest]), rawFrame + 3*rawChunk, io.ErrClosedPipe}), nil
	})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path+partSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// One byte in the second blob, one in the packed third, and one behind the
	// first frame of the large one.
	for _, at := range []int64{s.plan.geo.pos[1] + 700, s.plan.geo.pos[2] + 530, s.plan.geo.pos[4] + rawFrame + rawChunk} {
		if _, err := f.WriteAt([]byte{0xAA}, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// A journal that claims a blob that was never written.
	j, err := os.OpenFile(path+journalSuffix, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(j, sealLine("done 3"), "done 0 torn")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w, err = Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i, want := range []bool{true, false, false, false, false} {
		if got := w.Done(list[i].Digest); got != want {
			t.Errorf("blob %d done: %v", i, got)
		}
	}
	if w.Resumed() != 5000+rawFrame-tarBlock {
		t.Errorf("%d bytes resumed", w.Resumed())
	}
	s.fill(t, w)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, path), want) {
		t.Error("the file differs from one that was made in one go")
	}
}

// The leftovers of another plan are thrown away.
func TestAnotherPlanStartsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	for i := range 3 {
		s := newSample(t, nil, noise(fmt.Sprint(i), 9000-i*4000))
		w, err := Create(path, s.plan, WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if w.Resumed() != 0 {
			t.Errorf("%d bytes of another plan were resumed", w.Resumed())
		}
		s.fill(t, w)
		if i < 2 {
			err = w.Close()
		} else {
			err = w.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := verifyAll(readFile(t, path)); err != nil {
		t.Error(err)
	}
}

// Two builds of the same file do not write into each other's.
func TestSecondWriterIsTurnedAway(t *testing.T) {
	s := small(t)
	path := filepath.Join(t.TempDir(), "b")
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, s.plan, WriterOptions{}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second writer: %v", err)
	}
	s.fill(t, w)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	f, err := osFS{}.open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.lock(); err != nil {
		t.Fatal(err)
	}
	if err := AppendSignature(path, []byte("x")); !errors.Is(err, ErrBusy) {
		t.Errorf("signing a file that is in use: %v", err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if err := AppendSignature(path, []byte("x")); err != nil {
		t.Error(err)
	}
}

// A file that cannot fit is not begun, and the error has the numbers.
func TestNoSpace(t *testing.T) {
	s := small(t)
	fs := newMemFS()
	fs.space = s.plan.Size() - 1
	err := s.build(fs)
	if !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	for _, want := range []string{"b.part", fmt.Sprint(s.plan.Size()), fmt.Sprint(fs.space)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
	if len(fs.names) > 0 {
		t.Errorf("a build without room left %d files", len(fs.names))
	}
	fs = newMemFS()
	fs.space = s.plan.Size()
	if err := s.build(fs); err != nil {
		t.Error(err)
	}
	// On a real file system nobody has a petabyte to spare.
	large, err := NewPlan(ocispec.Index{}, []Blob{{Digest: digest.FromString("x"), Size: maxBlobSize}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(t.TempDir(), "b"), large, WriterOptions{}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a bundle of a petabyte: %v", err)
	}
	w, err := Create(filepath.Join(t.TempDir(), "b"), newHuge(t, 1<<35, 4).plan, WriterOptions{Sparse: true})
	if err != nil {
		t.Fatalf("a sparse file: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// The room is really set aside before the first byte is written.
func TestRoomIsSetAside(t *testing.T) {
	s := newSample(t, nil, noise("x", 8<<20))
	path := filepath.Join(t.TempDir(), "b")
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	size, has, err := w.part.size()
	if err != nil || size != s.plan.Size() {
		t.Errorf("the file has %d of %d bytes: %v", size, s.plan.Size(), err)
	}
	if has == 0 {
		t.Skip("this file system does not set room aside")
	}
	if has < size {
		t.Errorf("%d bytes are set aside for %d", has, size)
	}
}
