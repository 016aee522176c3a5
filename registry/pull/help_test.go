package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"bundle/manifest"
	"bundle/registry/wire"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// clock lets no test wait: sleeps return at once and are recorded, timers
// fire when the test says so.
type clock struct {
	mu     sync.Mutex
	slept  []time.Duration
	timers []*timer
	// armed, if set, is told whenever a timer starts to run again.
	armed chan struct{}
}

type timer struct {
	clock *clock
	mu    sync.Mutex
	f     func()
	done  bool
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	return ctx.Err()
}

func (c *clock) AfterFunc(_ time.Duration, f func()) wire.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{clock: c, f: f}
	c.timers = append(c.timers, t)
	return t
}

func (t *timer) Reset(time.Duration) bool {
	t.mu.Lock()
	t.done = false
	t.mu.Unlock()
	select {
	case t.clock.armed <- struct{}{}:
	default:
	}
	return true
}

func (t *timer) Stop() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = true
	return true
}

// fire lets every running timer run out.
func (c *clock) fire() {
	c.mu.Lock()
	timers := c.timers
	c.mu.Unlock()
	for _, t := range timers {
		t.mu.Lock()
		done := t.done
		t.mu.Unlock()
		if !done {
			t.f()
		}
	}
}

func (c *clock) waits() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.slept...)
}

// testHTTP are options that neither wait nor look at the user's files.
func testHTTP() wire.Options {
	return wire.Options{Clock: &clock{}, Keychain: authn.NewMultiKeychain(), Retries: 3}
}

func newTestRemote(t *testing.T, o RemoteOptions) *Remote {
	t.Helper()
	if o.HTTP.Clock == nil {
		retries, keys := o.HTTP.Retries, o.HTTP.Keychain
		o.HTTP.Clock = &clock{}
		if o.HTTP.Retries = retries; retries == 0 {
			o.HTTP.Retries = 3
		}
		if o.HTTP.Keychain = keys; keys == nil {
			o.HTTP.Keychain = authn.NewMultiKeychain()
		}
	}
	r, err := NewRemote(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// serve runs h on loopback and returns its address.
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
	"distribution": func(t *testing.T) http.Handler {
		logrus.SetOutput(io.Discard)
		conf := &configuration.Configuration{Storage: configuration.Storage{
			"inmemory": configuration.Parameters{},
			"delete":   configuration.Parameters{"enabled": true},
		}}
		conf.Catalog.MaxEntries = 100
		conf.HTTP.Secret = "not a secret"
		conf.Log.Level = "panic"
		conf.Validation.Manifests.Indexes.Platforms = "none"
		return handlers.NewApp(t.Context(), conf)
	},
}

// imageFor makes a small image for os/arch.
func imageFor(t *testing.T, os, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(2000, 2)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = os, arch
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

// indexOf makes an index of images for "os/arch".
func indexOf(t *testing.T, platforms ...string) (v1.ImageIndex, map[string]v1.Image) {
	t.Helper()
	var idx v1.ImageIndex = empty.Index
	images := map[string]v1.Image{}
	for _, p := range platforms {
		os, arch, _ := strings.Cut(p, "/")
		images[p] = imageFor(t, os, arch)
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{
			Add:        images[p],
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}},
		})
	}
	return idx, images
}

func put(t *testing.T, ref string, what any) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	switch x := what.(type) {
	case v1.Image:
		err = remote.Write(r, x)
	case v1.ImageIndex:
		err = remote.WriteIndex(r, x)
	case remote.Taggable:
		err = remote.Put(r, x)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rawManifest is a manifest that a test wrote by hand.
type rawManifest struct {
	raw []byte
	typ string
}

func (m rawManifest) RawManifest() ([]byte, error) { return m.raw, nil }
func (m rawManifest) MediaType() (string, error)   { return m.typ, nil }
func (m rawManifest) Digest() digest.Digest        { return digest.FromBytes(m.raw) }
func (m rawManifest) Descriptor(t string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: t, Digest: m.Digest(), Size: int64(len(m.raw))}
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustRef(t *testing.T, s string) manifest.Reference {
	t.Helper()
	r, err := manifest.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readBlobs reads every blob of an image and checks its digest.
func readBlobs(t *testing.T, img Image) map[digest.Digest][]byte {
	t.Helper()
	got := map[digest.Digest][]byte{}
	for _, b := range img.Blobs {
		r, err := b.Open(t.Context(), 0)
		if err != nil {
			t.Fatalf("open %s: %v", b.Desc.Digest, err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("read %s: %v", b.Desc.Digest, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if digest.FromBytes(raw) != b.Desc.Digest || int64(len(raw)) != b.Desc.Size {
			t.Errorf("blob %s came with other bytes", b.Desc.Digest)
		}
		got[b.Desc.Digest] = raw
	}
	return got
}

// noise is content that does not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func blobDesc(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func sameBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; they differ", len(got), len(want))
	}
}
