package push

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/google/go-containerregistry/pkg/authn"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// clock lets no test wait.
type clock struct{}

func (clock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }
func (clock) AfterFunc(time.Duration, func()) wire.Timer       { return idle{} }

type idle struct{}

func (idle) Reset(time.Duration) bool { return true }
func (idle) Stop() bool               { return true }

func testHTTP() wire.Options {
	return wire.Options{Clock: clock{}, Keychain: authn.NewMultiKeychain(), Retries: 3}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// registries are the real implementations that tests run against.
var registries = map[string]func(t *testing.T) http.Handler{
	"ggcr": func(*testing.T) http.Handler {
		return ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0)))
	},
	"distribution": func(t *testing.T) http.Handler { return distribution(t, "none") },
}

// distribution checks that the platforms of an index are there: "all" or
// "none" of them.
func distribution(t *testing.T, platforms string) http.Handler {
	logrus.SetOutput(io.Discard)
	conf := &configuration.Configuration{Storage: configuration.Storage{"inmemory": configuration.Parameters{}}}
	conf.Catalog.MaxEntries = 100
	conf.HTTP.Secret = "not a secret"
	conf.Log.Level = "panic"
	conf.Validation.Manifests.Indexes.Platforms = configuration.Platforms(platforms)
	return handlers.NewApp(t.Context(), conf)
}

// maker collects the content of a test's bundle.
type maker struct {
	t     *testing.T
	blobs []archive.Blob
	bytes map[digest.Digest][]byte
	index ocispec.Index
}

func newMaker(t *testing.T) *maker {
	return &maker{t: t, bytes: map[digest.Digest][]byte{}}
}

func (m *maker) blob(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if m.bytes[d.Digest] == nil {
		m.bytes[d.Digest] = b
		m.blobs = append(m.blobs, archive.Blob{Digest: d.Digest, Size: d.Size})
	}
	return d
}

func (m *maker) json(mediaType string, v any) ocispec.Descriptor {
	m.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.blob(mediaType, raw)
}

// image makes an image manifest of a config and layers.
func (m *maker) image(config string, layers ...[]byte) ocispec.Descriptor {
	x := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: m.blob(ocispec.MediaTypeImageConfig, []byte(config)), Layers: []ocispec.Descriptor{}}
	for _, l := range layers {
		x.Layers = append(x.Layers, m.blob(ocispec.MediaTypeImageLayer, l))
	}
	return m.json(ocispec.MediaTypeImageManifest, x)
}

// list makes an index; platforms go to the children in order.
func (m *maker) list(children ...ocispec.Descriptor) ocispec.Descriptor {
	return m.json(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex, Manifests: children})
}

func on(d ocispec.Descriptor, os, arch string) ocispec.Descriptor {
	d.Platform = &ocispec.Platform{OS: os, Architecture: arch}
	return d
}

// add puts an entry into the bundle's index.
func (m *maker) add(kind, ref string, d ocispec.Descriptor) {
	d.Platform = nil
	d.Annotations = map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	m.index.Manifests = append(m.index.Manifests, d)
}

// open writes the bundle and opens it.
func (m *maker) open() *archive.Reader {
	m.t.Helper()
	plan, err := archive.NewPlan(m.index, m.blobs, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	path := filepath.Join(m.t.TempDir(), "test.tar.zst")
	w, err := archive.Create(path, plan, archive.WriterOptions{Sparse: true})
	if err != nil {
		m.t.Fatal(err)
	}
	for d, b := range m.bytes {
		if err := w.WriteBlob(m.t.Context(), d, func(_ context.Context, off int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b[off:])), nil
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		m.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		m.t.Fatal(err)
	}
	r, err := archive.Open(path)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { r.Close() })
	if err := r.Load(); err != nil {
		m.t.Fatal(err)
	}
	return r
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// get fetches a path below a repository's API and its bytes.
func get(t *testing.T, addr, path, accept string) (int, []byte, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v2/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, raw, resp.Header
}

// mustHave checks that the registry gives want under path.
func mustHave(t *testing.T, addr, path, accept string, want []byte) {
	t.Helper()
	code, raw, _ := get(t, addr, path, accept)
	if code != http.StatusOK || !bytes.Equal(raw, want) {
		t.Errorf("GET %s: %d with %d bytes, want %d bytes", path, code, len(raw), len(want))
	}
}

// tap counts the requests that pass it, by method and kind of path.
type tap struct {
	inner http.Handler
	// before may answer itself and return true.
	before func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	count map[string]int
}

func newTap(h http.Handler) *tap { return &tap{inner: h, count: map[string]int{}} }

func (c *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := "other"
	switch {
	case strings.Contains(r.URL.Path, "/blobs/uploads/"):
		kind = "upload"
	case strings.Contains(r.URL.Path, "/blobs/"):
		kind = "blob"
	case strings.Contains(r.URL.Path, "/manifests/"):
		kind = "manifest"
	}
	c.mu.Lock()
	c.count[r.Method+" "+kind]++
	c.mu.Unlock()
	if c.before != nil && c.before(w, r) {
		return
	}
	c.inner.ServeHTTP(w, r)
}

func (c *tap) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[what]
}

func (c *tap) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for k, v := range c.count {
		if !strings.HasPrefix(k, "GET") && !strings.HasPrefix(k, "HEAD") {
			n += v
		}
	}
	return n
}
