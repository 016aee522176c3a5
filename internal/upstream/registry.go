package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/google/go-containerregistry/pkg/registry"
)

// ErrNotLoopback is returned by [Start] for an address that others could reach.
var ErrNotLoopback = errors.New("not a loopback address")

// Options say where the registry lives. The zero value is good.
type Options struct {
	// Addr to listen on, loopback only; default 127.0.0.1:0, a free port.
	Addr string
	// Dir keeps the blobs; default a temporary folder that Close removes.
	Dir string
	// Go is the go command that compiles the images' program; default "go".
	Go string
	// LayerBytes is the size of the layer that each image has for itself, in
	// bytes that do not compress; default 64 KiB.
	LayerBytes int64
	// Wrap, if set, sees every request first; tests use it to fail some.
	Wrap func(http.Handler) http.Handler
}

// Registry is a running registry. Its methods are safe for concurrent use.
type Registry struct {
	opts      Options
	addr      string
	dir       string
	own       bool // dir is ours to remove
	key       *ecdsa.PrivateKey
	server    *http.Server
	done      chan struct{}
	requests  atomic.Int64
	referrers referrers
}

// Start runs a registry until Close is called or ctx ends. Errors wrap
// [ErrNotLoopback] or say what of the system failed.
func Start(ctx context.Context, o Options) (*Registry, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Go == "" {
		o.Go = "go"
	}
	if o.LayerBytes <= 0 {
		o.LayerBytes = 64 << 10
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("the upstream's address %q is no HOST:PORT: %w", o.Addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("the upstream's address %q is %w", o.Addr, ErrNotLoopback)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	r := &Registry{opts: o, dir: o.Dir, key: key, done: make(chan struct{})}
	if r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "upstream-"); err != nil {
			return nil, err
		}
		r.own = true
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		r.removeOwn()
		return nil, err
	}
	r.addr = l.Addr().String()
	blobs := registry.NewDiskBlobHandler(r.dir)
	h := r.referrers.handler(ranges(blobs, registry.New(
		registry.Logger(log.New(io.Discard, "", 0)),
		registry.WithBlobHandler(blobs),
		registry.WithReferrersSupport(true),
	)))
	if o.Wrap != nil {
		h = o.Wrap(h)
	}
	r.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.requests.Add(1)
			h.ServeHTTP(w, req)
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = r.server.Close() })
	go func() {
		defer close(r.done)
		defer stop()
		_ = r.server.Serve(l)
	}()
	return r, nil
}

// Addr is where the registry listens, as HOST:PORT.
func (r *Registry) Addr() string { return r.addr }

// Requests counts the HTTP requests answered so far, Populate's own included.
func (r *Registry) Requests() int64 { return r.requests.Load() }

// CosignPublicKey verifies the cosign signatures of this registry's images,
// as PEM.
func (r *Registry) CosignPublicKey() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&r.key.PublicKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Close stops the registry and removes what it kept in a folder of its own.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.done
	r.removeOwn()
	return err
}

func (r *Registry) removeOwn() {
	if r.own {
		_ = os.RemoveAll(r.dir)
	}
}

var blobPath = regexp.MustCompile(`^/v2/.+/blobs/(sha256:[0-9a-f]{64})$`)

// ranges answers blob reads in place of next: real registries take an open
// range ("bytes=100-"), which a pull that goes on after a cut asks for, and
// next takes only closed ones.
func ranges(blobs registry.BlobHandler, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		m := blobPath.FindStringSubmatch(req.URL.Path)
		if req.Method != http.MethodGet || m == nil {
			next.ServeHTTP(w, req)
			return
		}
		hash, err := v1.NewHash(m[1])
		if err != nil {
			next.ServeHTTP(w, req)
			return
		}
		rc, err := blobs.Get(req.Context(), "", hash)
		if err != nil {
			next.ServeHTTP(w, req)
			return
		}
		defer func() { _ = rc.Close() }()
		rs, ok := rc.(io.ReadSeeker)
		if !ok {
			next.ServeHTTP(w, req)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Docker-Content-Digest", m[1])
		w.Header().Set("ETag", `"`+m[1]+`"`)
		http.ServeContent(w, req, "", time.Time{}, rs)
	})
}
