//go:build unix

package verify

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
)

// The bundle that is measured: 24 layers of 2 to 96 MiB, about 1 GiB, the
// shape of a bundle of images.
const benchLayers = 24

func benchSize(i int) int64 { return int64(2+(i*i*37)%95) << 20 }

// noise is content of layer i that no compressor could shrink.
func noise(i int, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(i)}), size)
}

func benchBundle(b *testing.B) (path string, bytes int64) {
	b.Helper()
	build := newBuilder(b)
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: build.blob(ocispec.MediaTypeImageConfig, build.config("amd64"))}
	layers := map[digest.Digest]int{}
	var list []archive.Blob
	for i := range benchLayers {
		h := sha256.New()
		if _, err := io.Copy(h, noise(i, benchSize(i))); err != nil {
			b.Fatal(err)
		}
		d := digest.NewDigest(digest.SHA256, h)
		layers[d] = i
		list = append(list, archive.Blob{Digest: d, Size: benchSize(i)})
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: benchSize(i)})
		bytes += benchSize(i)
	}
	build.image(pause, build.blob(ocispec.MediaTypeImageManifest, build.json(m)), "linux/amd64")
	build.contents.Images[0].NeededBy = []manifest.Source{"bench"}
	build.finish()
	for _, d := range build.order {
		list = append(list, archive.Blob{Digest: d, Size: int64(len(build.blobs[d]))})
	}
	p, err := archive.NewPlan(build.index, list, nil)
	if err != nil {
		b.Fatal(err)
	}
	path = filepath.Join(b.TempDir(), "bench.tar.zst")
	w, err := archive.Create(path, p, archive.WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for _, blob := range p.Blobs() {
		err := w.WriteBlob(b.Context(), blob.Digest, func(_ context.Context, off int64) (io.ReadCloser, error) {
			var r io.Reader
			if i, ok := layers[blob.Digest]; ok {
				r = noise(i, benchSize(i))
			} else {
				r = io.LimitReader(readerOf(build.blobs[blob.Digest]), blob.Size)
			}
			_, err := io.CopyN(io.Discard, r, off)
			return io.NopCloser(r), err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Commit(signIndex(b, signer(b), p.IndexBytes())); err != nil {
		b.Fatal(err)
	}
	return path, bytes
}

// BenchmarkVerify puts the parts side by side, on the same bytes from the
// page cache: SHA-256 alone on all CPUs, a file, a stream.
//
//	go test -run '^$' -bench Verify -benchtime 5x ./verify
func BenchmarkVerify(b *testing.B) {
	path, bytes := benchBundle(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	warm, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer warm.Close()
	if _, err := io.Copy(io.Discard, warm); err != nil {
		b.Fatal(err)
	}
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(info.Size())
		defer cpu(b)()
		for range b.N {
			hashAll(b, warm, info.Size())
		}
	})
	o := Options{SkipSignature: true}
	b.Run("file", func(b *testing.B) {
		b.SetBytes(bytes)
		defer cpu(b)()
		for range b.N {
			if _, err := Path(b.Context(), path, o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(bytes)
		defer cpu(b)()
		for range b.N {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Stream(b.Context(), f, o); err != nil {
				b.Fatal(err)
			}
			f.Close()
		}
	})
}

// cpu reports the processor time of a benchmark. It compares well even where
// other programs are running.
func cpu(b *testing.B) func() {
	used := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	before := used()
	return func() { b.ReportMetric((used()-before)/float64(b.N), "cpu-s/op") }
}

// hashAll hashes a file with one goroutine for each CPU: the best that any
// verifier could do.
func hashAll(b *testing.B, f *os.File, size int64) {
	const piece = 16 << 20
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		wg.Go(func() {
			buf := make([]byte, 1<<20)
			h := sha256.New()
			for at := int64(w) * piece; at < size; at += int64(n) * piece {
				if _, err := io.CopyBuffer(h, struct{ io.Reader }{io.NewSectionReader(f, at, min(piece, size-at))}, buf); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
