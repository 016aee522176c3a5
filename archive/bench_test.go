package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BenchmarkSHA256 is the bound for all the others.
func BenchmarkSHA256(b *testing.B) {
	p := noise("x", 1<<20)
	b.SetBytes(int64(len(p)))
	perCPU(b, int64(len(p)))
	for b.Loop() {
		sha256.Sum256(p)
	}
}

// BenchmarkWrite fills raw blobs, one goroutine a CPU, and commits.
func BenchmarkWrite(b *testing.B) {
	const size = 64 << 20
	blobs := make([][]byte, 4)
	total := int64(0)
	for i := range blobs {
		blobs[i] = noise(fmt.Sprint(i), size)
		total += size
	}
	index := ocispec.Index{}
	s := &sample{content: map[digest.Digest][]byte{}}
	var list []Blob
	for _, p := range blobs {
		d := digest.FromBytes(p)
		s.content[d] = p
		list = append(list, Blob{Digest: d, Size: size})
	}
	var err error
	if s.plan, err = NewPlan(index, list, nil); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	b.SetBytes(total)
	perCPU(b, total)
	for b.Loop() {
		w, err := Create(filepath.Join(dir, "b"), s.plan, WriterOptions{})
		if err != nil {
			b.Fatal(err)
		}
		parallel(b, list, func(x Blob) error {
			return w.WriteBlob(context.Background(), x.Digest, s.open(x.Digest))
		})
		if err := w.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// perCPU makes a benchmark also report its speed for each second of CPU time,
// which says more than the clock where a machine is shared.
func perCPU(b *testing.B, bytes int64) {
	begin := cpuTime()
	b.Cleanup(func() {
		if used := (cpuTime() - begin).Seconds(); used > 0 {
			b.ReportMetric(float64(bytes)*float64(b.N)/1e6/used, "MB/cpu-s")
		}
	})
}

func parallel(b *testing.B, list []Blob, f func(Blob) error) {
	b.Helper()
	errs := make(chan error)
	for _, x := range list {
		go func() { errs <- f(x) }()
	}
	for range list {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify reads blobs from the page cache and hashes them: raw on one
// CPU, raw on all, packed on one.
func BenchmarkVerify(b *testing.B) {
	s := newSample(b, nil, noise("1", 48<<20), noise("2", 48<<20), text("packed", 48<<20))
	r, err := Open(s.write(b))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		b.Fatal(err)
	}
	list := r.Blobs()
	check := func(x Blob) error { return r.VerifyBlob(context.Background(), x.Digest, nil) }
	for name, which := range map[string][]Blob{"raw": list[:1], "raw-parallel": list[:2], "packed": list[2:]} {
		b.Run(name, func(b *testing.B) {
			n := int64(0)
			for _, x := range which {
				n += x.Size
			}
			b.SetBytes(n)
			perCPU(b, n)
			for b.Loop() {
				parallel(b, which, check)
			}
		})
	}
}

// BenchmarkReadAt reads a raw and a packed blob in sequence, in pieces of the
// size that io.Copy uses.
func BenchmarkReadAt(b *testing.B) {
	s := newSample(b, nil, noise("1", 48<<20), text("packed", 48<<20))
	r, err := Open(s.write(b))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		b.Fatal(err)
	}
	for i, name := range []string{"raw", "packed"} {
		for _, piece := range []int{32 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dK", name, piece>>10), func(b *testing.B) {
				br, err := r.Open(r.Blobs()[i].Digest)
				if err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, piece)
				b.SetBytes(br.Size())
				for b.Loop() {
					for off := int64(0); off < br.Size(); off += int64(piece) {
						if _, err := br.ReadAt(buf, off); err != nil && err != io.EOF {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// BenchmarkStream reads a bundle in one pass.
func BenchmarkStream(b *testing.B) {
	s := newSample(b, nil, noise("1", 48<<20))
	p := readFile(b, s.write(b))
	b.SetBytes(int64(len(p)))
	perCPU(b, int64(len(p)))
	for b.Loop() {
		if _, err := streamAll(bytes.NewReader(p)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMeasure packs content, which is what a build does once for each
// blob that is not compressed already.
func BenchmarkMeasure(b *testing.B) {
	for name, p := range map[string][]byte{"text": text("x", 16<<20), "noise": noise("x", 16<<20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := Measure(bytes.NewReader(p)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen must not grow with the size of the bundle, nor Load with
// anything but the number of blobs.
func BenchmarkOpen(b *testing.B) {
	for _, gib := range []int64{1, 10, 1024} {
		h := newHuge(b, gib<<30, 64)
		b.Run(fmt.Sprintf("%dGiB", gib), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := NewReader(h, h.size)
				if err != nil {
					b.Fatal(err)
				}
				if err := r.Load(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
