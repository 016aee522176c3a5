package rehearse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/registry/serve"
)

const (
	maxManifest = 8 << 20
	maxConfig   = 16 << 20
	// firstBytes of a layer are read where not all are.
	firstBytes = 512
)

// registry is the bundle's own, running on loopback, and a client of it.
type registry struct {
	addr   string
	client *http.Client
	full   bool
	read   atomic.Int64
	stop   func()

	mu sync.Mutex
	// damage are the blobs in which the server found some.
	damage map[digest.Digest]bool
	// blobs are those that were read already, or are being read.
	blobs map[digest.Digest]*blobResult
}

type blobResult struct {
	once sync.Once
	err  error
}

// start serves the bundles on a free port of loopback.
func start(ctx context.Context, in Input) (*registry, error) {
	r := &registry{full: in.Full, damage: map[digest.Digest]bool{}, blobs: map[digest.Digest]*blobResult{}}
	var bundles []serve.Bundle
	for _, b := range in.Bundles {
		bundles = append(bundles, serve.Bundle{Name: b.Name, Content: serve.Archive(b.Reader)})
	}
	s, err := serve.New(bundles, serve.Options{LocalNames: in.Local, OnDamage: func(_ string, d digest.Digest, _ error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.damage[d] = true
	}})
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("the rehearsal finds no port on loopback: %w", err)
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(serving, ln) }()
	// No proxy: it asks nobody but the port above.
	t := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	r.addr, r.client = ln.Addr().String(), &http.Client{Transport: t, Timeout: 30 * time.Minute}
	r.stop = func() { t.CloseIdleConnections(); cancel(); <-done }
	// A machine without loopback must not make every image look damaged.
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("the rehearsal cannot reach its own port on loopback, bring it up (ip link set lo up): %w", err)
	}
	_ = c.Close()
	return r, nil
}

// errAbsent says that the registry answers 404.
var errAbsent = errors.New("is not in the bundle")

// do sends one request as containerd does to a mirror: ns is the registry that
// the reference names, empty where it names ours.
func (r *registry) do(ctx context.Context, method, path, ns, bytesRange string) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: r.addr, Path: "/v2/" + path}
	if ns != "" {
		u.RawQuery = url.Values{"ns": {ns}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if bytesRange != "" {
		req.Header.Set("Range", bytesRange)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, lost(err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, errAbsent
	}
	return nil, fmt.Errorf("%w: the registry answers %s", errBroken, resp.Status)
}

// errBroken says that the registry gives out something wrong.
var errBroken = errors.New("is damaged")

// lost says what cut an answer off; the server does that where bytes are not
// what their digest says.
func lost(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("%w: the registry breaks off (%w)", errBroken, err)
}

var accept = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
	"*/*",
}, ", ")

// get reads a small answer whole. Where want is set its digest must be that.
func (r *registry) get(ctx context.Context, path, ns string, want digest.Digest, limit int64) ([]byte, digest.Digest, error) {
	resp, err := r.do(ctx, http.MethodGet, path, ns, "")
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	r.read.Add(int64(len(body)))
	switch {
	case err != nil:
		return nil, "", lost(err)
	case int64(len(body)) > limit:
		return nil, "", fmt.Errorf("%w: it has more than %d bytes", errBroken, limit)
	}
	d := digest.FromBytes(body)
	if want != "" && d != want {
		return nil, "", fmt.Errorf("%w: the registry gives out %s for %s", errBroken, d, want)
	}
	return body, d, nil
}

// layer asks for a layer, once however many images have it: is it there, is
// it as long as the manifest says, do its bytes come.
func (r *registry) layer(ctx context.Context, repository, ns string, l ocispec.Descriptor) error {
	r.mu.Lock()
	b := r.blobs[l.Digest]
	if b == nil {
		b = &blobResult{}
		r.blobs[l.Digest] = b
	}
	r.mu.Unlock()
	b.once.Do(func() { b.err = r.readLayer(ctx, repository, ns, l) })
	return b.err
}

func (r *registry) readLayer(ctx context.Context, repository, ns string, l ocispec.Descriptor) error {
	path := repository + "/blobs/" + l.Digest.String()
	resp, err := r.do(ctx, http.MethodHead, path, ns, "")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.ContentLength != l.Size {
		return fmt.Errorf("%w: it has %d bytes, and the manifest says %d", errBroken, resp.ContentLength, l.Size)
	}
	if l.Size == 0 {
		return nil
	}
	part := ""
	if !r.full {
		part = fmt.Sprintf("bytes=0-%d", min(firstBytes, l.Size)-1)
	}
	if resp, err = r.do(ctx, http.MethodGet, path, ns, part); err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	r.read.Add(n)
	switch {
	case err != nil:
		return lost(err)
	case r.full && l.Digest.Encoded() != hex.EncodeToString(sum.Sum(nil)):
		return fmt.Errorf("%w: its bytes are not those of its digest", errBroken)
	case r.full && n != l.Size, !r.full && n != min(firstBytes, l.Size):
		return fmt.Errorf("%w: %d bytes came", errBroken, n)
	}
	return nil
}

// damaged tells whether the server itself found a blob damaged.
func (r *registry) damaged(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.damage[d]
}
