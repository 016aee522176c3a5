package selftest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/registry/serve"
)

func openFile(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() == 0) {
		err = fmt.Errorf("%s is no file with something in it", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// registry serves a bundle on loopback until it is stopped.
type registry struct {
	url  string
	r    *archive.Reader
	stop func() error
}

func serving(ctx context.Context, path string, damage func()) (*registry, error) {
	r, err := archive.Open(path)
	if err != nil {
		return nil, err
	}
	if err := r.Load(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s, err := serve.New([]serve.Bundle{{Name: path, Content: serve.Archive(r)}}, serve.Options{OnDamage: func(string, digest.Digest, error) { damage() }})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close(), r.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	return &registry{url: "http://" + ln.Addr().String(), r: r, stop: func() error {
		cancel()
		return errors.Join(<-done, r.Close())
	}}, nil
}

// get gives what a client has that trusts every complete answer.
func get(ctx context.Context, url, header, value string) (body []byte, whole bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false
	}
	req.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return body, err == nil && resp.StatusCode < 300
}

const anyManifest = "application/vnd.oci.image.manifest.v1+json"

// blobsOfImage gives the digests of the image in the sample but for its manifest.
func (t *tester) blobURLs(reg *registry) (urls map[string]digest.Digest) {
	urls = map[string]digest.Digest{}
	for _, b := range reg.r.Blobs() {
		if b.Size != 0 {
			urls[reg.url+"/v2/registry.example/selftest/blobs/"+b.Digest.String()] = b.Digest
		}
	}
	return urls
}

func (t *tester) serves(ctx context.Context) (int, string, error) {
	reg, err := serving(ctx, t.s.path, func() {})
	if err != nil {
		return 0, "", err
	}
	n, bytes := 0, 0
	err = func() error {
		raw, whole := get(ctx, reg.url+"/v2/registry.example/selftest/manifests/1", "Accept", anyManifest)
		if !whole || len(raw) == 0 {
			return brokenf("the image's manifest cannot be pulled")
		}
		n++
		for url, d := range t.blobURLs(reg) {
			body, whole := get(ctx, url, "Accept", "*/*")
			if !whole {
				continue // of the bundle, not of the image
			}
			n++
			bytes += len(body)
			if digest.FromBytes(body) != d {
				return brokenf("other bytes came for %s", d)
			}
			from := t.rnd.IntN(len(body))
			to := from + t.rnd.IntN(len(body)-from)
			part, whole := get(ctx, url, "Range", fmt.Sprintf("bytes=%d-%d", from, to))
			if !whole || string(part) != string(body[from:to+1]) {
				return brokenf("other bytes came for a part of %s", d)
			}
			n++
		}
		if n < 8 {
			return brokenf("only %d of the image's parts can be pulled", n)
		}
		return nil
	}()
	return n, fmt.Sprintf("%d bytes pulled, each as it has to be", bytes), cmp.Or(err, reg.stop())
}

func (t *tester) damagedServing(ctx context.Context) (int, string, error) {
	path := filepath.Join(t.o.Dir, "served.tar.zst")
	if err := os.WriteFile(path, t.s.bytes, 0o600); err != nil {
		return 0, "", err
	}
	var told atomic.Int64
	reg, err := serving(ctx, path, func() { told.Add(1) })
	if err != nil {
		return 0, "", err
	}
	n := 0
	err = func() error {
		for url, d := range t.blobURLs(reg) {
			if _, whole := get(ctx, url, "Accept", "*/*"); !whole {
				continue
			}
			from, length := reg.r.Extent(d)
			if err := spoil(path, from+length/2); err != nil {
				return err
			}
			n++
			if body, whole := get(ctx, url, "Accept", "*/*"); whole && digest.FromBytes(body) != d {
				return brokenf("damaged bytes of %s came, and nothing said so", d)
			}
		}
		if n < 4 {
			return brokenf("only %d blobs could be damaged", n)
		}
		if told.Load() == 0 {
			return brokenf("the server did not notice")
		}
		return nil
	}()
	return n, "no damaged blob came whole", cmp.Or(err, reg.stop())
}

// spoil changes a byte of a file.
func spoil(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	if err == nil {
		b[0] ^= 0x10
		_, err = f.WriteAt(b[:], at)
	}
	return errors.Join(err, f.Close())
}
