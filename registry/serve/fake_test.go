package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// fake is a bundle in memory whose bytes a test can spoil.
type fake struct {
	name  string
	index ocispec.Index

	mu    sync.RWMutex
	blobs map[digest.Digest][]byte
	reads atomic.Int64 // of whole blobs
	bytes atomic.Int64 // given out by ReadAt
}

func newFake(name string) *fake {
	return &fake{name: name, blobs: map[digest.Digest][]byte{}}
}

func (f *fake) bundle() Bundle { return Bundle{Name: f.name, Content: f} }

func (f *fake) Index() *ocispec.Index { return &f.index }

func (f *fake) get(d digest.Digest) ([]byte, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b, ok := f.blobs[d]
	return b, ok
}

func (f *fake) Size(d digest.Digest) (int64, bool) {
	b, ok := f.get(d)
	return int64(len(b)), ok
}

func (f *fake) Open(d digest.Digest) (Blob, error) {
	if _, ok := f.get(d); !ok {
		return nil, archive.ErrMissing
	}
	return fakeBlob{f, d}, nil
}

func (f *fake) ReadBlob(d digest.Digest, limit int64) ([]byte, error) {
	f.reads.Add(1)
	b, ok := f.get(d)
	switch {
	case !ok:
		return nil, archive.ErrMissing
	case int64(len(b)) > limit:
		return nil, errors.New("too large")
	case digest.FromBytes(b) != d:
		return nil, archive.ErrDigest
	}
	return bytes.Clone(b), nil
}

type fakeBlob struct {
	f *fake
	d digest.Digest
}

func (b fakeBlob) Size() int64 { n, _ := b.f.Size(b.d); return n }

func (b fakeBlob) ReadAt(p []byte, off int64) (int, error) {
	raw, _ := b.f.get(b.d)
	if off > int64(len(raw)) {
		return 0, io.EOF
	}
	n := copy(p, raw[off:])
	b.f.bytes.Add(int64(n))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// put adds a blob that no descriptor of the index names.
func (f *fake) put(b []byte) ocispec.Descriptor {
	d := digest.FromBytes(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[d] = b
	return ocispec.Descriptor{Digest: d, Size: int64(len(b))}
}

// spoil flips one bit of a blob.
func (f *fake) spoil(d digest.Digest, at int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := bytes.Clone(f.blobs[d])
	b[at] ^= 1
	f.blobs[d] = b
}

// cut shortens a blob, as a truncated file would.
func (f *fake) set(d digest.Digest, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[d] = b
}

// entry adds a document under a name.
func (f *fake) entry(t testing.TB, kind, ref, mediaType string, doc any) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return f.rawEntry(kind, ref, mediaType, raw)
}

func (f *fake) rawEntry(kind, ref, mediaType string, raw []byte) ocispec.Descriptor {
	desc := f.put(raw)
	desc.MediaType = mediaType
	desc.Annotations = map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	f.index.Manifests = append(f.index.Manifests, desc)
	return desc
}

// blobOf makes a layer or config descriptor of content.
func (f *fake) blobOf(mediaType string, content []byte) ocispec.Descriptor {
	d := f.put(content)
	d.MediaType = mediaType
	return d
}

// image makes a small OCI image of the given layers.
func (f *fake) image(layers ...[]byte) ocispec.Manifest {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    f.blobOf(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)),
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, f.blobOf(ocispec.MediaTypeImageLayerGzip, l))
	}
	return m
}

// attach adds a referrer of subject to the repository ref.
func (f *fake) attach(t testing.TB, ref string, subject ocispec.Descriptor, artifactType, content string) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType,
		Config:       f.blobOf(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers:       []ocispec.Descriptor{f.blobOf("text/plain", []byte(content))},
		Subject:      &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:  map[string]string{"content": content},
	}
	return f.entry(t, archive.KindAttached, ref, ocispec.MediaTypeImageManifest, m)
}

// tagged adds a one-layer image under ref.
func (f *fake) tagged(t testing.TB, ref, layer string) ocispec.Descriptor {
	t.Helper()
	return f.entry(t, archive.KindImage, ref, ocispec.MediaTypeImageManifest, f.image([]byte(layer)))
}

// random adds a random image under ref and gives it.
func (f *fake) random(t testing.TB, ref string, size int64, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(size, layers)
	if err != nil {
		t.Fatal(err)
	}
	f.addImage(t, ref, img)
	return img
}

func (f *fake) addImage(t testing.TB, ref string, img v1.Image) {
	t.Helper()
	raw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mt, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	f.blobsOf(t, img)
	f.rawEntry(archive.KindImage, ref, string(mt), raw)
}

func (f *fake) blobsOf(t testing.TB, img v1.Image) {
	t.Helper()
	cfg, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	f.put(cfg)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		f.put(b)
	}
}

// bulk is n bytes that are not all alike.
func bulk(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// start serves bundles on loopback until the test ends.
func start(t testing.TB, o Options, bundles ...*fake) (*Server, *httptest.Server) {
	t.Helper()
	s := newServer(t, o, bundles...)
	hs := httptest.NewServer(s.Handler())
	t.Cleanup(hs.Close)
	return s, hs
}

func newServer(t testing.TB, o Options, bundles ...*fake) *Server {
	t.Helper()
	var all []Bundle
	for _, f := range bundles {
		all = append(all, f.bundle())
	}
	s, err := New(all, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// on gives a reference to an image of the server.
func on(t testing.TB, hs *httptest.Server, ref string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(strings.TrimPrefix(hs.URL, "http://") + "/" + ref)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", ref, err))
	}
	return r
}

// entryAgain names an entry that is there already once more.
func (f *fake) entryAgain(ref string, desc ocispec.Descriptor) {
	desc.Annotations = map[string]string{archive.AnnotationKind: archive.KindImage, archive.AnnotationRef: ref}
	f.index.Manifests = append(f.index.Manifests, desc)
}

func mustGet(f *fake, d digest.Digest) []byte { b, _ := f.get(d); return b }

// goneFake is a bundle whose medium was pulled out.
type goneFake struct{ *fake }

var errNoMedium = errors.New("no medium")

func (goneFake) Open(digest.Digest) (Blob, error) { return nil, errNoMedium }
