package archive

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"runtime"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// allocated is how many bytes of memory f asked for, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// patternReader gives n bytes without holding them.
type patternReader struct{ n int64 }

func (r *patternReader) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.n)]
	for i := range p {
		p[i] = byte(r.n) ^ byte(i)
	}
	r.n -= int64(len(p))
	return len(p), nil
}

// The memory for a blob does not depend on its size, written or read.
func TestMemoryIsConstant(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	const size = 96 << 20
	const most = 16 << 20 // buffers, and a compressor or decompressor
	within := func(what string, f func()) {
		t.Helper()
		if used := allocated(f); used > most {
			t.Errorf("%s a blob of %d bytes takes %d bytes of memory", what, size, used)
		}
	}
	var packed Blob
	var err error
	within("measuring", func() { packed, err = Measure(&patternReader{size}) })
	if err != nil {
		t.Fatal(err)
	}
	raw := packed
	raw.Frames, raw.Packed = nil, ""
	for name, b := range map[string]Blob{"raw": raw, "packed": packed} {
		t.Run(name, func(t *testing.T) {
			plan, err := NewPlan(ocispec.Index{}, []Blob{b}, nil)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "b")
			w, err := Create(path, plan, WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			within("writing", func() {
				err = w.WriteBlob(t.Context(), b.Digest, func(context.Context, int64) (io.ReadCloser, error) {
					return io.NopCloser(&patternReader{size}), nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Load(); err != nil {
				t.Fatal(err)
			}
			within("verifying", func() { err = r.VerifyBlob(t.Context(), b.Digest, nil) })
			if err != nil {
				t.Error(err)
			}
			within("reading", func() {
				br, _ := r.Open(b.Digest)
				_, err = io.Copy(io.Discard, br.Section(0, b.Size))
			})
			if err != nil {
				t.Error(err)
			}
			p := readFile(t, path)
			within("streaming", func() { _, err = streamAll(bytes.NewReader(p)) })
			if err != nil {
				t.Error(err)
			}
		})
	}
}
