package pull

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"bundle/manifest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func emptyIndex() v1.ImageIndex { return empty.Index }

// walk pulls whatever a source holds; hostile content may fail and may not
// panic, hang or give bytes that do not match their digest.
func walk(t *testing.T, src LocalSource, entries []entry) {
	p := &Puller{Sources: []Source{src}}
	for i, e := range entries {
		if i == 8 {
			break
		}
		images, err := p.Resolve(t.Context(), []Request{{Ref: manifest.Reference{Registry: "x", Repository: "y", Digest: e.desc.Digest}}})
		if err != nil {
			_ = err.Error()
			continue
		}
		for _, m := range images[0].Manifests {
			if digest.FromBytes(m.Bytes) != m.Desc.Digest {
				t.Errorf("manifest %s has other bytes", m.Desc.Digest)
			}
		}
		for _, b := range images[0].Blobs {
			r, err := b.Open(t.Context(), 0)
			if err != nil {
				continue
			}
			if n, _ := io.Copy(io.Discard, r); n > b.Desc.Size {
				t.Errorf("%d bytes came of a blob of %d", n, b.Desc.Size)
			}
			r.Close()
		}
	}
}

func fuzzArchive(f *testing.F, kind string) {
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := tryOpen(kind + ":" + path)
		if err != nil {
			return
		}
		defer src.Close()
		walk(t, src, src.(*local).list())
	})
}

func FuzzDockerArchive(f *testing.F) {
	files, _, _ := dockerSave(f)
	raw := tarOf(f, files...)
	f.Add(raw)
	f.Add(compressed(f, "gzip", raw))
	f.Add(compressed(f, "zstd", raw))
	f.Add(tarOf(f, file{name: "manifest.json", body: []byte(`[{"Config":"../../etc/passwd","Layers":["a"]}]`)}))
	f.Add(tarOf(f, file{name: "manifest.json", link: "manifest.json", hard: true}))
	f.Add(raw[:700])
	fuzzArchive(f, KindDockerArchive)
}

func FuzzOCIArchive(f *testing.F) {
	raw := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"mediaType":"x","digest":"` +
		digest.FromString("{}").String() + `","size":2},"layers":[]}`)
	d := digest.FromBytes(raw)
	whole := tarOf(f,
		file{name: "oci-layout", body: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		file{name: "index.json", body: []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + d.String() + `"}]}`)},
		file{name: blobPath(d), body: raw},
		file{name: blobPath(digest.FromString("{}")), body: []byte("{}")})
	f.Add(whole)
	f.Add(compressed(f, "zstd", whole))
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	fuzzArchive(f, KindOCIArchive)
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"oci:dir", "oci-archive:a:b", "docker-archive:/x", "bundle:", ":", "", "x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spec, err := ParseSource(s)
		if err != nil {
			return
		}
		if spec.String() != s {
			t.Errorf("%q was read as %q", s, spec)
		}
	})
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(tiny), ocispec.MediaTypeImageManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00"}]}`), ocispec.MediaTypeImageIndex)
	f.Add([]byte(`{"schemaVersion":1}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, hint string) {
		d, err := parseDocument(raw, hint)
		if err != nil {
			return
		}
		if !d.index && d.Config == nil || d.index && len(d.Layers) > 0 {
			t.Errorf("%q was taken as %+v", raw, d)
		}
		for _, l := range append(append([]ocispec.Descriptor{}, d.Layers...), d.Manifests...) {
			if l.Digest.Validate() != nil || l.Size < 0 {
				t.Errorf("%q names %+v", raw, l)
			}
		}
	})
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "linux/aarch64", "//", "a/b/c/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		if again, err := ParsePlatform(p); err != nil || again != p {
			t.Errorf("%q gives %q, which gives %q, %v", s, p, again, err)
		}
	})
}
