package scale

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// client is a node's side of a registry with several addresses: it asks them in
// its order, as containerd does with the hosts of a hosts.toml, and goes on at
// the next where one fails, in the middle of a blob, too.
type client struct {
	addrs []string
	http  http.Client
	bytes *atomic.Int64 // counts what came, if set
	over  *atomic.Int64 // counts the failures that another address made good, if set
}

// get asks the addresses in order for path from offset on.
func (c *client) get(ctx context.Context, path, accept string, take func(body io.Reader, offset int64) (int64, error)) error {
	var at int64
	var failed []error
	for _, addr := range c.addrs {
		n, err := c.getFrom(ctx, addr, path, accept, at, take)
		at += n
		if err == nil {
			if len(failed) > 0 && c.over != nil {
				c.over.Add(1)
			}
			return nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func (c *client) getFrom(ctx context.Context, addr, path, accept string, at int64, take func(body io.Reader, offset int64) (int64, error)) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, err
	}
	want := http.StatusOK
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		want = http.StatusPartialContent
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return 0, fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return take(resp.Body, at)
}

func (c *client) manifest(ctx context.Context, repo, tag string) ([]descriptor, error) {
	var m struct {
		Config descriptor
		Layers []descriptor
	}
	err := c.get(ctx, "/v2/"+repo+"/manifests/"+tag, mediaManifest, func(body io.Reader, _ int64) (int64, error) {
		return 0, json.NewDecoder(body).Decode(&m)
	})
	return append([]descriptor{m.Config}, m.Layers...), err
}

// blob pulls a blob and makes sure that it is the one that was asked for.
func (c *client) blob(ctx context.Context, repo string, d descriptor) error {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	err := c.get(ctx, "/v2/"+repo+"/blobs/"+d.Digest, "", func(body io.Reader, offset int64) (int64, error) {
		var n int64
		for {
			k, err := body.Read(buf)
			_, _ = h.Write(buf[:k])
			n += int64(k)
			if c.bytes != nil {
				c.bytes.Add(int64(k))
			}
			switch {
			case err == io.EOF && offset+n == d.Size:
				return n, nil
			case err == io.EOF:
				return n, io.ErrUnexpectedEOF
			case err != nil:
				return n, err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", d.Digest, repo, err)
	}
	if got := "sha256:" + sum(h); got != d.Digest {
		return fmt.Errorf("%s of %s came as %s", d.Digest, repo, got)
	}
	return nil
}

// all pulls every image, beginning with the one that is the node's turn, so
// that not all nodes want the same at the same moment.
func (c *client) all(ctx context.Context, names []string, turn int) error {
	for i := range names {
		repo, tag, _ := strings.Cut(strings.TrimPrefix(names[(i+turn)%len(names)], "registry.test/"), ":")
		blobs, err := c.manifest(ctx, repo, tag)
		if err != nil {
			return fmt.Errorf("manifest of %s: %w", repo, err)
		}
		for _, d := range blobs {
			if err := c.blob(ctx, repo, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// fleetBundle is a bundle of images images whose layers have size bytes.
func fleetBundle(t *testing.T, images, size int) (file, pub string, names []string) {
	t.Helper()
	key, pub := keys(t)
	dir := t.TempDir()
	l, err := newLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range images {
		d, err := l.noise(size)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.add(fmt.Sprintf("registry.test/fleet/app-%02d:1", i), d); err != nil {
			t.Fatal(err)
		}
	}
	file, _ = build(t, l, dir, key)
	return file, pub, l.names
}

// fleet has nodes pull everything at once, each with the client that it is
// given.
func fleet(t *testing.T, nodes int, names []string, of func(i int) *client) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			c := of(i)
			defer c.http.CloseIdleConnections()
			c.http.Transport = &http.Transport{}
			if err := c.all(t.Context(), names, i); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// TestManyNodes has 200 nodes pull from one registry at once.
func TestManyNodes(t *testing.T) {
	const nodes, images, size = 200, 16, 4 << 20
	file, pub, names := fleetBundle(t, images, size)
	v := serve(t, file, pub)
	var bytes atomic.Int64
	start := time.Now()
	fleet(t, nodes, names, func(int) *client { return &client{addrs: []string{v.addr}, bytes: &bytes} })
	wall := time.Since(start)
	u := v.stop(t)
	t.Logf("%d nodes pulled %.1f GB in %s, %.0f MB/s; the registry took %s of CPU and %d MB",
		nodes, float64(bytes.Load())/1e9, wall.Round(time.Millisecond), float64(bytes.Load())/1e6/wall.Seconds(), u.cpu.Round(time.Millisecond), u.rss/1e6)
	if least := int64(nodes * images * size); bytes.Load() < least {
		t.Errorf("the nodes got %d bytes of %d", bytes.Load(), least)
	}
	check(t, "serve", u, 0)
}

// TestReplicaDies spreads 40 nodes over two registries on the same file and
// kills one when half of all bytes have come. No pull may fail.
func TestReplicaDies(t *testing.T) {
	const nodes, images, size = 40, 16, 4 << 20
	file, pub, names := fleetBundle(t, images, size)
	a, b := serve(t, file, pub), serve(t, file, pub)
	var bytes, over atomic.Int64
	half, done := int64(nodes*images*size/2), make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for bytes.Load() < half {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
		a.kill()
	}()
	fleet(t, nodes, names, func(i int) *client {
		addrs := []string{a.addr, b.addr}
		if i%2 == 1 {
			addrs = []string{b.addr, a.addr}
		}
		return &client{addrs: addrs, bytes: &bytes, over: &over}
	})
	close(done)
	<-killed
	if !a.ended {
		t.Error("all was pulled before a registry could die; nothing was tried")
	}
	if over.Load() == 0 {
		t.Error("no node had to ask the other registry; nothing was tried")
	}
	t.Logf("%d nodes pulled %.1f GB; one of two registries died halfway, %d requests were answered by the other", nodes, float64(bytes.Load())/1e9, over.Load())
	b.stop(t)
}
