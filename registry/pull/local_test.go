package pull

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bundle/archive"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// file is one member of a test's archive.
type file struct {
	name string
	body []byte
	link string // symlink target
	hard bool
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body)), Typeflag: tar.TypeReg}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
			if f.hard {
				h.Typeflag = tar.TypeLink
			}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(t testing.TB, kind string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch kind {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, spec string) LocalSource {
	t.Helper()
	s, err := tryOpen(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func tryOpen(spec string) (LocalSource, error) {
	s, err := ParseSource(spec)
	if err != nil {
		return nil, err
	}
	return s.Open()
}

// layoutDir writes images under names into an OCI layout.
func layoutDir(t *testing.T, images map[string]v1.ImageIndex) string {
	t.Helper()
	dir := t.TempDir()
	p, err := ocilayout.Write(dir, emptyIndex())
	if err != nil {
		t.Fatal(err)
	}
	for n, idx := range images {
		if err := p.AppendIndex(idx, ocilayout.WithAnnotations(map[string]string{ocispec.AnnotationRefName: n})); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tarDir packs a folder.
func tarDir(t *testing.T, dir string) []byte {
	t.Helper()
	var files []file
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		files = append(files, file{name: "./" + filepath.ToSlash(rel), body: b})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t, files...)
}

func TestPullFromLayouts(t *testing.T) {
	idx, _ := indexOf(t, "linux/amd64", "linux/arm64")
	dir := layoutDir(t, map[string]v1.ImageIndex{"registry.k8s.io/app/web:1": idx})
	packed := tarDir(t, dir)
	sources := map[string]string{
		"folder": "oci:" + dir,
		"tar":    "oci-archive:" + write(t, "x.tar", packed),
		"gzip":   "oci-archive:" + write(t, "x.tar", compressed(t, "gzip", packed)),
		"zstd":   "oci-archive:" + write(t, "x.tar", compressed(t, "zstd", packed)),
	}
	for kind, spec := range sources {
		t.Run(kind, func(t *testing.T) {
			src := open(t, spec)
			if src.Name() != spec {
				t.Errorf("name %q, want %q", src.Name(), spec)
			}
			p := &Puller{Sources: []Source{src}, Platforms: []string{"linux/arm64"}}
			img := mustResolve(t, p, "registry.k8s.io/app/web:1")
			if img.Descriptor.Digest != hashOf(t, idx) || len(img.Manifests) != 2 || img.Source != spec {
				t.Errorf("got %s with %d manifests from %s", img.Descriptor.Digest, len(img.Manifests), img.Source)
			}
			readBlobs(t, img)
			for _, b := range img.Blobs {
				r, err := src.Blob(t.Context(), img.Ref, b.Desc, b.Desc.Size-3)
				if err != nil {
					t.Fatal(err)
				}
				rest, err := io.ReadAll(r)
				if err != nil || len(rest) != 3 {
					t.Errorf("the last 3 bytes came as %d, %v", len(rest), err)
				}
				r.Close()
			}
			// By digest alone, whatever the name.
			mustResolve(t, p, "other.example/x@"+hashOf(t, idx).String())
			_, err := resolveOne(t, p, "registry.k8s.io/app/web:2")
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "it holds registry.k8s.io/app/web:1") {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestLocalNames(t *testing.T) {
	tests := []struct {
		held, asked string
		want        bool
	}{
		{"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9", true},
		{"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.8", false},
		{"registry.k8s.io/pause:3.9", "sea.hub:5000/pause:3.9", true},
		{"registry.k8s.io/pause:3.9", "quay.io/pause:3.9", false},
		{"docker.io/library/nginx:1", "nginx:1", true},
		{"nginx:1", "docker.io/library/nginx:1", true},
		{"nginx:1", "quay.io/nginx:1", true},
		{"team/app:1", "harbor.local/team/app:1", true},
		{"docker.io/team/app:1", "harbor.local/team/app:1", false},
		{"v1", "docker.io/library/v1:latest", false},
		{"latest", "nginx:latest", false},
		{"NOT A NAME:", "nginx:latest", false},
	}
	for _, tt := range tests {
		entries := layoutEntries([]ocispec.Descriptor{{
			Digest: digest.FromString("x"), Annotations: map[string]string{ocispec.AnnotationRefName: tt.held},
		}})
		_, err := match(entries, mustRef(t, tt.asked))
		if (err == nil) != tt.want {
			t.Errorf("an image named %q answers to %q: %v, want %v", tt.held, tt.asked, err == nil, tt.want)
		}
	}
	two := layoutEntries([]ocispec.Descriptor{
		{Digest: digest.FromString("x"), Annotations: map[string]string{ocispec.AnnotationRefName: "quay.io/pause:3.9"}},
		{Digest: digest.FromString("y"), Annotations: map[string]string{ocispec.AnnotationRefName: "registry.k8s.io/pause:3.9"}},
	})
	if _, err := match(two, mustRef(t, "sea.hub:5000/pause:3.9")); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrNotFound) {
		t.Errorf("got error %v for a name that two images answer to", err)
	}
	if e, err := match(two, mustRef(t, "registry.k8s.io/pause:3.9")); err != nil || e.desc.Digest != digest.FromString("y") {
		t.Errorf("a full name was not preferred: %v", err)
	}
}

// dockerSave makes an archive as docker save does: uncompressed layers, the
// second a link to the first in another folder.
func dockerSave(t testing.TB) (files []file, config, layer []byte) {
	layer = tarOf(t, file{name: "etc/app.conf", body: bytes.Repeat([]byte("x"), 5000)})
	id := digest.FromBytes(layer)
	config = []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + id.String() + `","` + id.String() + `"]}}`)
	name := digest.FromBytes(config).Encoded() + ".json"
	return []file{
		{name: "aaa/layer.tar", body: layer},
		{name: "bbb/layer.tar", link: "../aaa/layer.tar"},
		{name: name, body: config},
		{name: "manifest.json", body: []byte(`[{"Config":"` + name + `","RepoTags":["team/app:1","quay.io/team/app:1"],"Layers":["aaa/layer.tar","bbb/layer.tar"]}]`)},
	}, config, layer
}

func TestPullFromDockerArchives(t *testing.T) {
	files, config, layer := dockerSave(t)
	raw := tarOf(t, files...)
	var first digest.Digest
	for _, kind := range []string{"plain", "gzip", "zstd"} {
		t.Run(kind, func(t *testing.T) {
			p := &Puller{Sources: []Source{open(t, "docker-archive:"+write(t, "x.tar", compressed(t, kind, raw)))}, Platforms: []string{"linux/amd64"}}
			img := mustResolve(t, p, "quay.io/team/app:1")
			got := readBlobs(t, img)
			sameBytes(t, got[digest.FromBytes(config)], config)
			sameBytes(t, got[digest.FromBytes(layer)], layer)
			if len(img.Blobs) != 2 {
				t.Errorf("%d blobs, want the config and one layer", len(img.Blobs))
			}
			doc, err := parseDocument(img.Manifests[0].Bytes, "")
			if err != nil || len(doc.Layers) != 2 || doc.Layers[0].MediaType != ocispec.MediaTypeImageLayer {
				t.Errorf("manifest %s, %v", img.Manifests[0].Bytes, err)
			}
			if first == "" {
				first = img.Descriptor.Digest
			}
			if img.Descriptor.Digest != first {
				t.Error("the same image got another digest from another compression")
			}
			mustResolve(t, p, "harbor.local/team/app:1")
		})
	}
}

func TestPullFromDockerArchiveWithCompressedLayers(t *testing.T) {
	img := imageFor(t, "linux", "amd64")
	path := filepath.Join(t.TempDir(), "x.tar")
	tag, err := name.NewTag("docker.io/library/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, tag, img); err != nil {
		t.Fatal(err)
	}
	got := mustResolve(t, &Puller{Sources: []Source{open(t, "docker-archive:"+path)}}, "app:1")
	readBlobs(t, got)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Blobs) != 1+len(layers) || got.Blobs[1].Desc.MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Errorf("blobs %+v", got.Blobs)
	}
}

func TestPullFromDockerArchiveWithLayoutInside(t *testing.T) {
	idx, _ := indexOf(t, "linux/amd64")
	dir := layoutDir(t, map[string]v1.ImageIndex{"docker.io/team/app:1": idx})
	files, _, layer := dockerSave(t)
	inner := []file{{name: "index.json"}, {name: "oci-layout"}}
	for i := range inner {
		b, err := os.ReadFile(filepath.Join(dir, inner[i].name))
		if err != nil {
			t.Fatal(err)
		}
		inner[i].body = b
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		raw, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		inner = append(inner, file{name: "blobs/sha256/" + filepath.Base(b), body: raw})
	}
	p := &Puller{Sources: []Source{open(t, "docker-archive:"+write(t, "x.tar", tarOf(t, append(inner, files...)...)))}}
	if img := mustResolve(t, p, "team/app:1"); img.Descriptor.Digest != hashOf(t, idx) {
		t.Errorf("got %s, want the manifest of the layout inside", img.Descriptor.Digest)
	}
	if got := readBlobs(t, mustResolve(t, p, "quay.io/team/app:1")); got[digest.FromBytes(layer)] == nil {
		t.Error("an image that only manifest.json names did not come from there")
	}
}

func TestSignaturesInLayoutsComeAlong(t *testing.T) {
	files, subject := signedLayout(t)
	img := mustResolve(t, &Puller{Sources: []Source{open(t, "oci-archive:"+write(t, "x.tar", tarOf(t, files...)))}}, "quay.io/app:1")
	if len(img.Attached) != 2 || img.Attached[0].Tag != attachedTag(subject, ".sig") || img.Attached[1].Tag != "" {
		t.Errorf("attached %+v, want a tagged signature and a referrer", img.Attached)
	}
	readBlobs(t, img)
}

// signedLayout is a layout with an image, a cosign signature and a referrer.
func signedLayout(t *testing.T) ([]file, digest.Digest) {
	var files []file
	add := func(b []byte, ref string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if ref != "" {
			d.Annotations = map[string]string{ocispec.AnnotationRefName: ref}
		}
		files = append(files, file{name: blobPath(d.Digest), body: b})
		return d
	}
	add(emptyJSON, "")
	app := add(manifestJSON(t, nil), "quay.io/app:1")
	sig := add(manifestJSON(t, func(m *ocispec.Manifest) { m.Annotations = map[string]string{"x": "sig"} }),
		"quay.io/app:"+attachedTag(app.Digest, ".sig"))
	sbom := add(manifestJSON(t, func(m *ocispec.Manifest) { m.Subject = &app }), "")
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{app, sig, sbom}}
	index.SchemaVersion = 2
	return append(files, file{name: "index.json", body: toJSON(t, index)}), app.Digest
}

func TestPullFromBundle(t *testing.T) {
	layer := noise(30, 100_000)
	config := []byte(`{"os":"linux","architecture":"amd64"}`)
	raw := manifestJSON(t, func(m *ocispec.Manifest) {
		m.Config = blobDesc(config)
		m.Config.MediaType = ocispec.MediaTypeImageConfig
		m.Layers = []ocispec.Descriptor{blobDesc(layer)}
	})
	contents := map[digest.Digest][]byte{}
	var blobs []archive.Blob
	for _, b := range [][]byte{raw, config, layer} {
		contents[digest.FromBytes(b)] = b
		blobs = append(blobs, archive.Blob{Digest: digest.FromBytes(b), Size: int64(len(b))})
	}
	d := rawManifest{raw: raw}.Descriptor(ocispec.MediaTypeImageManifest)
	d.Annotations = map[string]string{archive.AnnotationKind: archive.KindImage, archive.AnnotationRef: "quay.io/team/app:1"}
	plan, err := archive.NewPlan(ocispec.Index{Manifests: []ocispec.Descriptor{d}}, blobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.tar.zst")
	w, err := archive.Create(path, plan, archive.WriterOptions{Sparse: true})
	if err != nil {
		t.Fatal(err)
	}
	for d, b := range contents {
		if err := w.WriteBlob(t.Context(), d, func(_ context.Context, off int64) (io.ReadCloser, error) { return section(b, off), nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	p := &Puller{Sources: []Source{open(t, "bundle:"+path)}}
	for _, ref := range []string{"quay.io/team/app:1", "sea.hub:5000/team/app:1"} {
		if got := readBlobs(t, mustResolve(t, p, ref)); !bytes.Equal(got[digest.FromBytes(layer)], layer) {
			t.Errorf("%s: the layer came with other bytes", ref)
		}
	}
	if _, err := resolveOne(t, p, "quay.io/team/other:1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got error %v", err)
	}
}

func TestSourcesAreAskedInOrder(t *testing.T) {
	files, _, _ := dockerSave(t)
	local := open(t, "docker-archive:"+write(t, "x.tar", tarOf(t, files...)))
	addr := serve(t, registries["ggcr"](t))
	put(t, addr+"/only/there:1", imageFor(t, "linux", "amd64"))
	p := &Puller{Sources: []Source{local, newTestRemote(t, RemoteOptions{})}}
	if img := mustResolve(t, p, "quay.io/team/app:1"); img.Source != local.Name() {
		t.Errorf("came from %s although the archive has it", img.Source)
	}
	if img := mustResolve(t, p, addr+"/only/there:1"); img.Source == local.Name() {
		t.Errorf("came from %s", img.Source)
	}
	_, err := resolveOne(t, p, addr+"/no/where:1")
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), local.Name()) || !strings.Contains(err.Error(), addr) {
		t.Errorf("error %v does not name both places", err)
	}
}

func TestLocalSourcesThatAreRefused(t *testing.T) {
	files, _, _ := dockerSave(t)
	dir := t.TempDir()
	tests := map[string]struct {
		spec string
		want string
	}{
		"no kind":         {"images.tar", "is not KIND:PATH"},
		"unknown kind":    {"docker:nginx", "unknown kind"},
		"no path":         {"oci:", "is not KIND:PATH"},
		"missing file":    {"oci-archive:" + filepath.Join(dir, "none"), "no such file"},
		"empty folder":    {"oci:" + dir, "it has no index.json"},
		"folder for file": {"docker-archive:" + dir, "not a regular file"},
		"not a layout":    {"oci-archive:" + write(t, "a", tarOf(t, files...)), "it has no index.json"},
		"not a docker":    {"docker-archive:" + write(t, "b", tarOf(t, file{name: "x"})), "it has no manifest.json"},
		"not a tar":       {"docker-archive:" + write(t, "c", noise(1, 5000)), "not a whole tar"},
		"cut short":       {"docker-archive:" + write(t, "d", tarOf(t, files...)[:3000]), ""},
		"bad index":       {"oci-archive:" + write(t, "e", tarOf(t, file{name: "index.json", body: []byte("{")})), "not JSON"},
		"bad digest": {"oci-archive:" + write(t, "f", tarOf(t, file{name: "index.json",
			body: []byte(`{"manifests":[{"digest":"sha256:../../x","size":1}]}`)})), "malformed"},
		"layout of the future": {"oci-archive:" + write(t, "g", tarOf(t, file{name: "index.json", body: []byte("{}")},
			file{name: "oci-layout", body: []byte(`{"imageLayoutVersion":"2.0.0"}`)})), `"2.0.0"`},
		"links in a circle": {"oci-archive:" + write(t, "h", tarOf(t, file{name: "index.json", link: "b"},
			file{name: "b", link: "index.json"})), "link without end"},
		"layers do not match": {"docker-archive:" + write(t, "i", tarOf(t, file{name: "c.json", body: []byte(`{"rootfs":{"diff_ids":[]}}`)},
			file{name: "manifest.json", body: []byte(`[{"Config":"c.json","Layers":["x"]}]`)})), "names 0 layers, manifest.json 1"},
		"no such bundle": {"bundle:" + filepath.Join(dir, "none"), "no such file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := tryOpen(tt.spec)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLinksDoNotLeaveTheFolder(t *testing.T) {
	outside := write(t, "secret", []byte("secret"))
	dir := t.TempDir()
	d := digest.FromString("secret")
	index := `{"schemaVersion":2,"manifests":[{"digest":"` + d.String() + `","size":6,"annotations":{"org.opencontainers.image.ref.name":"quay.io/x:1"}}]}`
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, blobPath(d))); err != nil {
		t.Fatal(err)
	}
	src := open(t, "oci:"+dir)
	ref := mustRef(t, "quay.io/x:1")
	desc, err := src.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := src.Manifest(t.Context(), ref, desc); err == nil {
		t.Errorf("read %q through a link that leads out", raw)
	}
}

func TestLocalBytesThatAreWrong(t *testing.T) {
	files, subject := signedLayout(t)
	for i := range files {
		if files[i].name == blobPath(subject) {
			files[i].body = append(files[i].body[:len(files[i].body)-1], ' ')
		}
	}
	_, err := resolveOne(t, &Puller{Sources: []Source{open(t, "oci-archive:"+write(t, "x.tar", tarOf(t, files...)))}}, "quay.io/app:1")
	if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), subject.String()) {
		t.Errorf("got error %v", err)
	}
}
