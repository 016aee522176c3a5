package overview

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/internal/page"
	"bundle/manifest"
	"bundle/verify"
)

// content is a bundle in the making.
type content struct {
	t     *testing.T
	index ocispec.Index
	order []digest.Digest
	blobs map[digest.Digest][]byte
}

func newContent(t *testing.T) *content {
	c := &content{t: t, blobs: map[digest.Digest][]byte{}}
	c.index.SchemaVersion = 2
	return c
}

func (c *content) put(mediaType, what string, size int) ocispec.Descriptor {
	b := bytes.Repeat([]byte(what), size/len(what)+1)[:size]
	return c.raw(mediaType, b)
}

func (c *content) raw(mediaType string, b []byte) ocispec.Descriptor {
	d := digest.FromBytes(b)
	if _, ok := c.blobs[d]; !ok {
		c.blobs[d], c.order = b, append(c.order, d)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (c *content) entry(kind, ref string, layers ...ocispec.Descriptor) digest.Digest {
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: c.raw(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"amd64","ref":"`+ref+`"}`)), Layers: layers,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	d := c.raw(ocispec.MediaTypeImageManifest, raw)
	d.Annotations = map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	c.index.Manifests = append(c.index.Manifests, d)
	return d.Digest
}

func (c *content) open() *archive.Reader {
	c.t.Helper()
	var blobs []archive.Blob
	for _, d := range c.order {
		b, err := archive.Measure(bytes.NewReader(c.blobs[d]))
		if err != nil {
			c.t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	plan, err := archive.NewPlan(c.index, blobs, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.t.TempDir(), "b.tar.zst")
	w, err := archive.Create(path, plan, archive.WriterOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, b := range plan.Blobs() {
		err := w.WriteBlob(c.t.Context(), b.Digest, func(_ context.Context, off int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(c.blobs[b.Digest][off:])), nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		c.t.Fatal(err)
	}
	r, err := archive.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = r.Close() })
	if err := r.Load(); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// sample has two images that share a layer, a third name of the first, a chart
// and files.
func sample(t *testing.T) (*archive.Reader, *manifest.Contents) {
	c := newContent(t)
	shared := c.put(ocispec.MediaTypeImageLayerGzip, "shared", 50_000)
	a := c.entry(archive.KindImage, "registry.example/a:1", shared, c.put(ocispec.MediaTypeImageLayerGzip, "of a", 30_000))
	b := c.entry(archive.KindImage, "registry.example/b:1", shared, c.put(ocispec.MediaTypeImageLayerGzip, "of b", 10_000))
	again := c.index.Manifests[0]
	again.Annotations = map[string]string{archive.AnnotationKind: archive.KindImage, archive.AnnotationRef: "mirror.example/a:1"}
	c.index.Manifests = append(c.index.Manifests, again)
	c.entry(archive.KindChart, "charts/app:1", c.put("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "chart", 4_000))
	c.entry(archive.KindBundle, "bundle/x:1", c.put(ocispec.MediaTypeImageLayer, "files", 7_000))
	return c.open(), &manifest.Contents{
		Name: "x", Version: "1", Platforms: []string{"linux/amd64"},
		Images: []manifest.Image{
			{Name: "registry.example/a:1", Digest: a, Platforms: []string{"linux/amd64"}, Size: 80_000, NeededBy: []manifest.Source{"imageList:1", "chart app templates/a.yaml"}},
			{Name: "registry.example/b:1", Digest: b, Size: 60_000, NeededBy: []manifest.Source{"imageList:2"}},
			{Name: "mirror.example/a:1", Digest: a, Size: 80_000},
		},
		Charts: []manifest.Chart{{Name: "app", Version: "1", Size: 4_000}},
		Files:  []manifest.File{{Path: "etc", Type: "dir"}, {Path: "etc/x", Type: "file", Size: 6_000, Source: "Kubefile:2"}},
		Steps:  []manifest.Step{{ID: "x-01", Phase: "x", Kind: "helm.release", Summary: "Install app", Source: "Kubefile:3", Run: "helm install app"}},
	}
}

// TestEveryByteIsCountedOnce and for the right one.
func TestEveryByteIsCountedOnce(t *testing.T) {
	r, contents := sample(t)
	o, err := Of(t.Context(), "b.tar.zst", r, contents)
	if err != nil {
		t.Fatal(err)
	}
	var all, tiles, sums int64
	for _, b := range r.Blobs() {
		all += b.Size
	}
	for _, b := range o.tiles {
		tiles += b.Value
	}
	of := map[Class]int64{}
	for _, s := range o.Sums {
		sums += s.Bytes
		of[s.Class] = s.Bytes
	}
	if o.Bytes != all || tiles != all || sums != all || o.Blobs != len(r.Blobs()) {
		t.Errorf("%d bytes in %d blobs: counted %d in %d, drawn %d, summed up %d", all, len(r.Blobs()), o.Bytes, o.Blobs, tiles, sums)
	}
	if of[Shared] != 50_000 || o.Saved != 50_000 {
		t.Errorf("shared %d, saved %d, want 50000 each", of[Shared], o.Saved)
	}
	if of[Files] != 7_000 || of[Charts] < 4_000 || of[Charts] > 5_000 {
		t.Errorf("files %d, charts %d", of[Files], of[Charts])
	}
	a, b, again := o.Images[0], o.Images[1], o.Images[2]
	if a.Own < 30_000 || a.Own > 31_000 || a.Shared != 50_000 || b.Own < 10_000 || b.Own > 11_000 || b.Shared != 50_000 || again.Own != a.Own {
		t.Errorf("images need %+v, %+v, %+v", a, b, again)
	}
}

// Whatever a page could ask a network for is in a tag or in its style.
var (
	tags  = regexp.MustCompile(`<[a-zA-Z][^>]*>`)
	leads = regexp.MustCompile(`(?i)\b(?:src|href|action|data|poster|srcset)="([^"]*)"`)
	loads = regexp.MustCompile(`(?i)<style>[^<]*(url\(|@import)`)
)

func write(t *testing.T, lang page.Lang, list ...*Overview) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, lang, list...); err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags.FindAllString(b.String(), -1) {
		for _, m := range leads.FindAllStringSubmatch(tag, -1) {
			if m[1] == "" || m[1][0] != '#' && !strings.HasPrefix(m[1], "data:image/svg+xml,") {
				t.Errorf("the page leads to %q", m[1])
			}
		}
	}
	if loads.MatchString(b.String()) {
		t.Error("the style sheet loads something")
	}
	if b.Len() > 500_000 {
		t.Errorf("the page has %d bytes", b.Len())
	}
	return b.String()
}

func TestPageSaysTheFacts(t *testing.T) {
	if missing := pageTemplate.Untranslated(); len(missing) > 0 {
		t.Errorf("these words have no Chinese: %q", missing)
	}
	for c, name := range classNames {
		if pageTemplate.Word(page.Chinese, name) == name {
			t.Errorf("%s has no Chinese name", c)
		}
	}
	r, contents := sample(t)
	o, err := Of(t.Context(), "b.tar.zst", r, contents)
	if err != nil {
		t.Fatal(err)
	}
	o.Signature = Signature{Claims: []verify.Claim{{Name: "signatures/1.sigstore.json", KeyID: strings.Repeat("ab", 32), ThisIndex: true}}}
	en := write(t, page.English, o)
	for _, want := range []string{
		"registry.example/a:1", contents.Images[1].Digest.String(), "chart app templates/a.yaml", "Kubefile:3", "helm install app",
		"etc/x", "Signed, not checked", "bundle verify b.tar.zst", `id="image-3"`, `href="#image-1"`, "abababababababab",
	} {
		if !strings.Contains(en, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	o.Signature = Signature{Judged: &verify.Signature{Status: verify.StatusVerified, Signers: []verify.Signer{{KeyID: "k", Identity: "release.pub"}}}}
	zh := write(t, page.Chinese, o, o)
	for _, want := range []string{"签名已校验", "release.pub", "镜像", `id="bundle-2"`} {
		if !strings.Contains(zh, want) {
			t.Errorf("the Chinese page does not say %q", want)
		}
	}
	if strings.Contains(zh, "bundle verify b.tar.zst") || strings.Contains(write(t, page.English, &Overview{Contents: &manifest.Contents{}}), "Signature verified") {
		t.Error("the state of the signature is wrong")
	}
}

// TestPageOfHostileBundle stays harmless and small whatever a bundle holds.
func TestPageOfHostileBundle(t *testing.T) {
	const evil = `</style></title><script src=//evil.example/x.js></script><img onerror=alert(1)>" onload="x`
	r, _ := sample(t)
	contents := &manifest.Contents{Name: evil, Version: evil, Labels: map[string]string{evil: evil}}
	for n := range 4000 {
		name := fmt.Sprintf("%s%d", evil, n)
		contents.Images = append(contents.Images, manifest.Image{Name: name, Digest: digest.FromString(name), NeededBy: []manifest.Source{evil, evil}, Attached: []manifest.Attached{{Tag: evil}}})
		contents.Steps = append(contents.Steps, manifest.Step{Summary: name, Phase: evil, Run: evil, Source: evil})
		contents.Files = append(contents.Files, manifest.File{Path: name, Type: "symlink", Link: evil})
		contents.Charts = append(contents.Charts, manifest.Chart{Name: name, Path: evil})
		contents.Candidates = append(contents.Candidates, manifest.Candidate{Ref: name, FoundIn: []manifest.Source{evil}})
	}
	o, err := Of(t.Context(), evil, r, contents)
	if err != nil {
		t.Fatal(err)
	}
	o.Signature = Signature{Claims: []verify.Claim{{Name: evil, Identity: evil, Issuer: evil, KeyID: evil}}}
	got := write(t, page.English, o)
	if strings.Contains(got, "<script") || strings.Contains(got, "<img") || strings.Contains(got, `" onload`) {
		t.Error("what the bundle says became part of the page's code")
	}
	if !strings.Contains(got, "and 3") {
		t.Error("the page does not say that there is more")
	}
}
