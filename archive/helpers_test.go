package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// noise gives n bytes that do not compress, the same for the same seed.
func noise(seed string, n int) []byte {
	out := make([]byte, 0, n+32)
	for i := uint64(0); len(out) < n; i++ {
		s := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, s[:]...)
	}
	return out[:n]
}

// text gives n bytes that compress well.
func text(seed string, n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%s line %d of a file that compresses\n", seed, i)
	}
	return b.Bytes()[:n]
}

// sample is a bundle's content in memory.
type sample struct {
	plan    *Plan
	content map[digest.Digest][]byte
}

// newSample plans a bundle with the given blobs, each measured.
func newSample(t testing.TB, docker []byte, blobs ...[]byte) *sample {
	t.Helper()
	s := &sample{content: map[digest.Digest][]byte{}}
	index := ocispec.Index{Annotations: map[string]string{AnnotationName: "sample", AnnotationVersion: "1.0"}}
	var list []Blob
	for _, p := range blobs {
		b, err := Measure(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
		s.content[b.Digest] = p
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: "application/octet-stream", Digest: b.Digest, Size: b.Size,
			Annotations: map[string]string{AnnotationKind: KindImage},
		})
	}
	var err error
	if s.plan, err = NewPlan(index, list, docker); err != nil {
		t.Fatal(err)
	}
	return s
}

// small is a bundle with every kind of member in as few bytes as possible.
func small(t testing.TB) *sample {
	return newSample(t, []byte(`[{"Config":"x"}]`), []byte("tiny blob"), []byte{}, text("packed", 1024), text("packed with padding", 3000), noise("raw", 700))
}

// open gives the source of a blob's content, as WriteBlob wants it.
func (s *sample) open(d digest.Digest) func(context.Context, int64) (io.ReadCloser, error) {
	return func(_ context.Context, off int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(s.content[d][off:])), nil
	}
}

// fill writes all blobs.
func (s *sample) fill(t testing.TB, w *Writer) {
	t.Helper()
	for _, b := range s.plan.Blobs() {
		if err := w.WriteBlob(t.Context(), b.Digest, s.open(b.Digest)); err != nil {
			t.Fatal(err)
		}
	}
}

// write makes the file and returns its path.
func (s *sample) write(t testing.TB, signatures ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.tar.zst")
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.fill(t, w)
	if err := w.Commit(signatures...); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verifyAll reads a whole bundle as a Reader does, and checks every byte.
func verifyAll(p []byte) error {
	r, err := NewReader(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		return err
	}
	if err := r.Load(); err != nil {
		return err
	}
	ctx := context.Background()
	if err := r.VerifyFraming(ctx); err != nil {
		return err
	}
	for _, b := range r.Blobs() {
		if err := r.VerifyBlob(ctx, b.Digest, nil); err != nil {
			return err
		}
	}
	return nil
}

// streamAll reads a whole bundle as a Stream does, and checks every byte.
func streamAll(r io.Reader) ([][]byte, error) {
	s, err := NewStream(r)
	if err != nil {
		return nil, err
	}
	if err := s.Load(); err != nil {
		return nil, err
	}
	var first error
	for {
		_, in, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, in); err != nil && first == nil {
			first = err
		}
	}
	sigs, err := s.Finish()
	if first != nil {
		err = first
	}
	return sigs, err
}
