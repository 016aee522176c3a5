package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/registry/serve"
)

// repository is where the images of the test bundle answer, without a host as
// the suite asks for them.
const repository = "conformance/repo1"

// content is a bundle in the making.
type content struct {
	index ocispec.Index
	order []digest.Digest
	blobs map[digest.Digest][]byte
}

func (c *content) put(mediaType string, b []byte) ocispec.Descriptor {
	d := digest.FromBytes(b)
	if _, ok := c.blobs[d]; !ok {
		c.blobs[d] = b
		c.order = append(c.order, d)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (c *content) document(t *testing.T, mediaType string, doc any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return c.put(mediaType, b)
}

func (c *content) entry(kind, ref string, d ocispec.Descriptor) {
	d.Annotations = map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	c.index.Manifests = append(c.index.Manifests, d)
}

func (c *content) image(t *testing.T, arch string) ocispec.Descriptor {
	t.Helper()
	return c.document(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    c.put(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"`+arch+`","rootfs":{"type":"layers","diff_ids":[]}}`)),
		Layers: []ocispec.Descriptor{
			c.put(ocispec.MediaTypeImageLayerGzip, bytes.Repeat([]byte(arch+" small "), 100)),
			c.put(ocispec.MediaTypeImageLayerGzip, bytes.Repeat([]byte(arch+" large "), 400_000)),
		},
	})
}

// sample is what the suite looks at on the read-only server.
type sample struct {
	path      string // of the bundle file
	tags      []string
	manifests []string
	blobs     []string
	referrers []string // subjects
}

// newSample writes a bundle file with an image, a multi-platform image and
// attachments of the first.
func newSample(t *testing.T) sample {
	t.Helper()
	c := &content{blobs: map[digest.Digest][]byte{}}
	c.index.SchemaVersion = 2
	image := c.image(t, "amd64")
	arm := c.image(t, "arm64")
	multi := c.document(t, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{image, arm},
	})
	name := "registry.example/" + repository
	c.entry(archive.KindImage, name+":single", image)
	c.entry(archive.KindImage, name+":multi", multi)
	attached := make([]ocispec.Descriptor, 0, 2)
	for _, typ := range []string{"application/vnd.example.sbom", "application/vnd.example.signature"} {
		d := c.document(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: typ,
			Config:  c.put(ocispec.MediaTypeEmptyJSON, []byte("{}")),
			Layers:  []ocispec.Descriptor{c.put("text/plain", []byte(typ))},
			Subject: &image,
		})
		c.entry(archive.KindAttached, name, d)
		attached = append(attached, d)
	}
	s := sample{
		path:      write(t, c),
		tags:      []string{"single", "multi"},
		referrers: []string{image.Digest.String()},
	}
	for _, d := range append([]ocispec.Descriptor{image, arm, multi}, attached...) {
		s.manifests = append(s.manifests, d.Digest.String())
	}
	for _, d := range c.order {
		if !slices.Contains(s.manifests, d.String()) {
			s.blobs = append(s.blobs, d.String())
		}
	}
	return s
}

// write makes the bundle file.
func write(t *testing.T, c *content) string {
	t.Helper()
	blobs := make([]archive.Blob, 0, len(c.order))
	for _, d := range c.order {
		b, err := archive.Measure(bytes.NewReader(c.blobs[d]))
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	plan, err := archive.NewPlan(c.index, blobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sample.tar.zst")
	w, err := archive.Create(path, plan, archive.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.order {
		err := w.WriteBlob(t.Context(), d, func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(c.blobs[d][offset:])), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens a bundle file for serving until the test ends.
func open(t *testing.T, path string) serve.Bundle {
	t.Helper()
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	return serve.Bundle{Name: filepath.Base(path), Content: serve.Archive(r)}
}

// listen serves on loopback until the test ends and gives the address.
func listen(t *testing.T, b serve.Bundle, o serve.Options) string {
	t.Helper()
	s, err := serve.New([]serve.Bundle{b}, o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func words(s []string) string { return strings.Join(s, " ") }
