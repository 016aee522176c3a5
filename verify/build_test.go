package verify

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/verify/sign"
	"bundle/verify/walk"
)

// builder makes small bundles as pack does, and lets a test put anything
// into them.
type builder struct {
	t        testing.TB
	blobs    map[digest.Digest][]byte
	order    []digest.Digest
	group    map[digest.Digest]int
	pack     map[digest.Digest]bool
	index    ocispec.Index
	contents manifest.Contents
	docker   []byte
	// rootfs are the layers of the bundle's own manifest.
	rootfs []ocispec.Descriptor
	// left are blobs that are reached and not stored.
	left map[digest.Digest]bool
	// backwards puts the blobs into the file in the least handy order.
	backwards bool
}

func newBuilder(t testing.TB) *builder {
	b := &builder{t: t, blobs: map[digest.Digest][]byte{}, group: map[digest.Digest]int{}, pack: map[digest.Digest]bool{}, left: map[digest.Digest]bool{}}
	b.index = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Annotations: map[string]string{archive.AnnotationName: "cnstack-ce", archive.AnnotationVersion: "1.1.0"}}
	b.contents = manifest.Contents{SchemaVersion: 1, Name: "cnstack-ce", Version: "1.1.0", Platforms: []string{"linux/amd64"}, Images: []manifest.Image{}}
	return b
}

func (b *builder) json(v any) []byte {
	b.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

func (b *builder) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if b.blobs[d.Digest] == nil {
		b.blobs[d.Digest] = data
		b.order = append(b.order, d.Digest)
		b.group[d.Digest] = 1
		if walk.IsManifest(mediaType) {
			b.group[d.Digest] = 0
		}
	}
	return d
}

// manifest makes an image manifest of a config and layers.
func (b *builder) manifest(config []byte, layers ...string) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: b.blob(ocispec.MediaTypeImageConfig, config)}
	for _, l := range layers {
		m.Layers = append(m.Layers, b.blob(ocispec.MediaTypeImageLayerGzip, []byte(l)))
	}
	return b.blob(ocispec.MediaTypeImageManifest, b.json(m))
}

func (b *builder) config(arch string) []byte {
	return []byte(`{"architecture":"` + arch + `","os":"linux"}`)
}

func (b *builder) entry(d ocispec.Descriptor, kind, ref string) {
	d.Annotations = map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	b.index.Manifests = append(b.index.Manifests, d)
}

// image lists an image in the index and in the inventory.
func (b *builder) image(name string, d ocispec.Descriptor, platforms ...string) {
	b.entry(d, archive.KindImage, name)
	b.contents.Images = append(b.contents.Images, manifest.Image{Name: name, Digest: d.Digest, MediaType: d.MediaType,
		Platforms: append([]string{}, platforms...), Size: d.Size, NeededBy: []manifest.Source{"imageList:1"}})
}

func child(d ocispec.Descriptor, arch, variant string) ocispec.Descriptor {
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant}
	return d
}

func (b *builder) list(children ...ocispec.Descriptor) ocispec.Descriptor {
	return b.blob(ocispec.MediaTypeImageIndex, b.json(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex, Manifests: children}))
}

func (b *builder) chart(name, version string) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: b.blob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"`+name+`"}`)),
		Layers: []ocispec.Descriptor{b.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart "+name+version))}}
	d := b.blob(ocispec.MediaTypeImageManifest, b.json(m))
	b.entry(d, archive.KindChart, "charts/"+name+":"+version)
	b.contents.Charts = append(b.contents.Charts, manifest.Chart{Name: name, Version: version, Digest: d.Digest, Size: d.Size, NeededBy: []manifest.Source{"Kubefile:3"}})
	return d
}

// files adds a layer of the root file system, stored packed.
func (b *builder) files(files map[string]string) {
	d := b.layer("application/vnd.oci.image.layer.v1.tar", func(p []byte) []byte { return p }, files)
	b.pack[d.Digest] = true
}

// layer adds a layer of the root file system, compressed by wrap. A file that
// an earlier layer has is replaced in the inventory.
func (b *builder) layer(mediaType string, wrap func([]byte) []byte, files map[string]string) ocispec.Descriptor {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			b.t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			b.t.Fatal(err)
		}
		b.contents.Files = slices.DeleteFunc(b.contents.Files, func(f manifest.File) bool { return f.Path == name })
		b.contents.Files = append(b.contents.Files, manifest.File{Path: name, Type: "file", Mode: 0o644, Size: int64(len(files[name])), Digest: digest.FromString(files[name])})
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	d := b.blob(mediaType, wrap(buf.Bytes()))
	b.rootfs = append(b.rootfs, d)
	return d
}

// stored is gzip that leaves the content readable.
func stored(p []byte) []byte {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.NoCompression)
	if err == nil {
		_, err = w.Write(p)
	}
	if err != nil || w.Close() != nil {
		panic(err)
	}
	return buf.Bytes()
}

// storedZstd is one zstd frame of raw blocks with a checksum.
func storedZstd(p []byte) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x84, 0x38}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(p)))
	for at := 0; at < len(p); at += 1 << 10 {
		n := min(1<<10, len(p)-at)
		h := uint32(n) << 3
		if at+n == len(p) {
			h |= 1
		}
		out = append(out, byte(h), byte(h>>8), byte(h>>16))
		out = append(out, p[at:at+n]...)
	}
	return binary.LittleEndian.AppendUint32(out, uint32(xxhash.Sum64(p)))
}

// finish adds the bundle's own manifest.
func (b *builder) finish() {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.bundle.v1", Config: b.blob(mediaTypeContents, b.json(b.contents)), Layers: b.rootfs}
	b.entry(b.blob(ocispec.MediaTypeImageManifest, b.json(m)), archive.KindBundle, "bundle/cnstack-ce:1.1.0")
}

func (b *builder) plan() *archive.Plan {
	b.t.Helper()
	// Manifests first, as pack does.
	order := slices.Clone(b.order)
	slices.SortStableFunc(order, func(x, y digest.Digest) int {
		return cmp.Compare(b.group[x], b.group[y])
	})
	if b.backwards {
		slices.Reverse(order)
	}
	var list []archive.Blob
	for _, d := range order {
		if b.left[d] {
			continue
		}
		blob := archive.Blob{Digest: d, Size: int64(len(b.blobs[d]))}
		if b.pack[d] {
			var err error
			if blob, err = archive.Measure(bytes.NewReader(b.blobs[d])); err != nil {
				b.t.Fatal(err)
			}
		}
		list = append(list, blob)
	}
	p, err := archive.NewPlan(b.index, list, b.docker)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// write finishes the bundle and makes the file, signed by all signers.
func (b *builder) write(signers ...*sign.Signer) string {
	b.t.Helper()
	b.finish()
	return b.writePlan(b.plan(), signers...)
}

// writePlan makes the file of a plan.
func (b *builder) writePlan(p *archive.Plan, signers ...*sign.Signer) string {
	b.t.Helper()
	var signatures [][]byte
	for _, s := range signers {
		signatures = append(signatures, signIndex(b.t, s, p.IndexBytes()))
	}
	return b.commit(p, signatures...)
}

func signIndex(t testing.TB, s *sign.Signer, index []byte) []byte {
	t.Helper()
	sig, err := sign.SignIndex(context.Background(), s, index)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (b *builder) commit(p *archive.Plan, signatures ...[]byte) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "bundle.tar.zst")
	w, err := archive.Create(path, p, archive.WriterOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Close()
	for _, blob := range p.Blobs() {
		err := w.WriteBlob(context.Background(), blob.Digest, func(_ context.Context, off int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.blobs[blob.Digest][off:])), nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Commit(signatures...); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// Names of what standard holds.
const (
	pause   = "registry.k8s.io/pause:3.9"
	nginx   = "docker.io/library/nginx:1.25"
	coredns = "registry.k8s.io/coredns/coredns:v1.11.1"
)

// standard makes a bundle with one of everything: two images that share a
// layer, an index of which one platform was left out, an attached signature,
// a chart, and files.
func standard(t testing.TB) *builder {
	b := newBuilder(t)
	pauseDesc := b.manifest(b.config("amd64"), "base layer", "pause layer", "third layer")
	b.image(pause, pauseDesc, "linux/amd64")
	amd := b.manifest(b.config("amd64"), "base layer", "nginx for amd64")
	arm := b.manifest(b.config("arm64"), "nginx for arm64")
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("s390x"), Size: 7}
	attest := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("attest"), Size: 7,
		Platform: &ocispec.Platform{OS: "unknown", Architecture: "unknown"}, Annotations: map[string]string{"vnd.docker.reference.digest": string(gone.Digest)}}
	b.image(nginx, b.list(child(amd, "amd64", ""), child(arm, "arm64", "v8"), child(gone, "s390x", ""), attest), "linux/amd64", "linux/arm64")
	b.image(coredns, b.manifest(b.config("amd64"), "coredns layer"), "linux/amd64")
	sig := b.manifest([]byte(`{}`), `{"critical":{}}`)
	tag := strings.Replace(string(pauseDesc.Digest), ":", "-", 1) + ".sig"
	b.entry(sig, archive.KindAttached, "registry.k8s.io/pause:"+tag)
	b.contents.Images[0].Attached = []manifest.Attached{{Digest: sig.Digest, Tag: tag}}
	b.chart("aecp", "1.0.0")
	b.files(map[string]string{"charts/aecp/values.yaml": strings.Repeat("replicas: 3\n", 40), "etc/config": strings.Repeat("x", 900)})
	b.files(map[string]string{"bin/tool": strings.Repeat("tool ", 300)})
	b.docker = []byte(`[{"Config":"x"}]`)
	return b
}

func signer(t testing.TB) *sign.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.NewSigner("test.key", key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines writes problems one a line, for comparing.
func lines(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s %s: %s\n", p.Kind, p.Object, p.Reason)
	}
	return b.String()
}

func unmarshal(t testing.TB, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

func readerOf(data []byte) io.Reader { return bytes.NewReader(data) }
