package pull

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func resolveOne(t *testing.T, p *Puller, ref string) (Image, error) {
	t.Helper()
	images, err := p.Resolve(t.Context(), []Request{{Ref: mustRef(t, ref)}})
	if len(images) != 1 {
		return Image{}, err
	}
	return images[0], err
}

func mustResolve(t *testing.T, p *Puller, ref string) Image {
	t.Helper()
	img, err := resolveOne(t, p, ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func hashOf(t *testing.T, x interface{ Digest() (v1.Hash, error) }) digest.Digest {
	t.Helper()
	h, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.Digest(h.String())
}

func manifestDigests(img Image) []digest.Digest {
	var list []digest.Digest
	for _, m := range img.Manifests {
		list = append(list, m.Desc.Digest)
	}
	return list
}

func TestPullFromRegistries(t *testing.T) {
	for name, registry := range registries {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, registry(t))
			idx, children := indexOf(t, "linux/amd64", "linux/arm64", "linux/s390x")
			put(t, addr+"/app/web:1", idx)
			single := imageFor(t, "linux", "amd64")
			put(t, addr+"/app/job:1", single)

			p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}, Platforms: []string{"linux/amd64", "linux/aarch64"}}
			img := mustResolve(t, p, addr+"/app/web:1")
			upstream, err := idx.RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			sameBytes(t, img.Manifests[0].Bytes, upstream)
			want := []digest.Digest{hashOf(t, idx), hashOf(t, children["linux/amd64"]), hashOf(t, children["linux/arm64"])}
			if got := manifestDigests(img); !slices.Equal(got, want) {
				t.Errorf("manifests %v, want %v", got, want)
			}
			if !slices.Equal(img.Platforms, []string{"linux/amd64", "linux/arm64"}) {
				t.Errorf("platforms %v", img.Platforms)
			}
			if len(img.Blobs) != 6 {
				t.Errorf("%d blobs, want a config and two layers for each of two platforms", len(img.Blobs))
			}
			readBlobs(t, img)

			p.Platforms = []string{"linux/amd64"}
			img = mustResolve(t, p, addr+"/app/job:1")
			if img.Descriptor.Digest != hashOf(t, single) || !slices.Equal(img.Platforms, []string{"linux/amd64"}) {
				t.Errorf("got %s for %v", img.Descriptor.Digest, img.Platforms)
			}
			size := int64(len(img.Manifests[0].Bytes))
			for _, b := range readBlobs(t, img) {
				size += int64(len(b))
			}
			if img.Size() != size {
				t.Errorf("size %d, want %d", img.Size(), size)
			}

			p.Platforms = nil
			if img = mustResolve(t, p, addr+"/app/web:1"); len(img.Platforms) != 3 {
				t.Errorf("platforms %v, want all", img.Platforms)
			}
		})
	}
}

func TestPinnedDigestWinsOverTheTag(t *testing.T) {
	addr := serve(t, registries["ggcr"](t))
	old, current := imageFor(t, "linux", "amd64"), imageFor(t, "linux", "amd64")
	put(t, addr+"/app/web:1", old)
	put(t, addr+"/app/web:1", current)
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}}
	ref := mustRef(t, addr+"/app/web:1")
	images, err := p.Resolve(t.Context(), []Request{{Ref: ref, Digest: hashOf(t, old)}})
	if err != nil {
		t.Fatal(err)
	}
	if images[0].Descriptor.Digest != hashOf(t, old) || images[0].Ref != ref {
		t.Errorf("got %s as %s", images[0].Descriptor.Digest, images[0].Ref)
	}
	_, err = p.Resolve(t.Context(), []Request{{Ref: ref.WithDigest(hashOf(t, current)), Digest: hashOf(t, old)}})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "pinned to another digest") {
		t.Errorf("got error %v", err)
	}
}

func TestPlatformsThatAreNotThere(t *testing.T) {
	addr := serve(t, registries["ggcr"](t))
	idx, _ := indexOf(t, "linux/amd64", "linux/s390x")
	put(t, addr+"/app/web:1", idx)
	put(t, addr+"/app/job:1", imageFor(t, "linux", "arm64"))
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}, Platforms: []string{"linux/amd64", "linux/arm64"}}
	for ref, want := range map[string]string{
		addr + "/app/web:1": "it is not made for linux/arm64, only for linux/amd64, linux/s390x",
		addr + "/app/job:1": "it is not made for linux/amd64, only for linux/arm64",
	} {
		_, err := resolveOne(t, p, ref)
		if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", ref, err, want)
		}
	}
	p.Platforms = []string{"linux"}
	if _, err := resolveOne(t, p, addr+"/app/web:1"); err == nil || !strings.Contains(err.Error(), "OS/ARCH") {
		t.Errorf("got error %v for a platform that is none", err)
	}
}

func TestPlatformMatching(t *testing.T) {
	tests := []struct {
		want, have string
		runs       bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/x86_64", "linux/amd64/v1", true},
		{"linux/amd64", "linux/amd64/v3", false},
		{"linux/amd64/v3", "linux/amd64/v2", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm", "linux/arm/v7", true},
		{"linux/arm/v7", "linux/arm/v6", true},
		{"linux/arm/v6", "linux/arm/v7", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/amd64", "linux/amd64/odd", false},
		{"LINUX/AMD64", "linux/amd64", true},
	}
	for _, tt := range tests {
		want, err := parsePlatform(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		have, err := parsePlatform(tt.have)
		if err != nil {
			t.Fatal(err)
		}
		if got := want.runs(have) > 0; got != tt.runs {
			t.Errorf("a host of %s runs %s: %v, want %v", tt.want, tt.have, got, tt.runs)
		}
	}
	if s, err := ParsePlatform("linux/aarch64"); err != nil || s != "linux/arm64" {
		t.Errorf("got %q, %v", s, err)
	}
}

// manifestJSON is an OCI manifest of config and layers.
func manifestJSON(t *testing.T, change func(*ocispec.Manifest)) []byte {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{}}
	m.Config.Data = nil
	if change != nil {
		change(&m)
	}
	return toJSON(t, m)
}

// putRaw uploads blobs and then a manifest by hand.
func putRaw(t *testing.T, addr, repo, tag, mediaType string, raw []byte, blobs ...[]byte) {
	t.Helper()
	for _, b := range blobs {
		at := do(t, http.MethodPost, "http://"+addr+"/v2/"+repo+"/blobs/uploads/", "application/octet-stream", nil)
		q := at.Query()
		q.Set("digest", digest.FromBytes(b).String())
		at.RawQuery = q.Encode()
		do(t, http.MethodPut, at.String(), "application/octet-stream", b)
	}
	if tag == "" {
		tag = digest.FromBytes(raw).String()
	}
	do(t, http.MethodPut, "http://"+addr+"/v2/"+repo+"/manifests/"+tag, mediaType, raw)
}

// do sends a request that must succeed and returns the Location it gives.
func do(t *testing.T, method, target, mediaType string, body []byte) *url.URL {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s", method, target, resp.Status)
	}
	at, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

var emptyJSON = []byte("{}")

func TestAttestationsOfChosenPlatformsComeAlong(t *testing.T) {
	addr := serve(t, registries["ggcr"](t))
	idx, children := indexOf(t, "linux/amd64", "linux/arm64")
	attest := func(of v1.Image, text string) v1.Image {
		img, err := mutate.AppendLayers(imageFor(t, "unknown", "unknown"), static.NewLayer([]byte(text), types.MediaType("application/vnd.in-toto+json")))
		if err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				annotationReferenceDigest: hashOf(t, of).String(),
				annotationReferenceType:   "attestation-manifest",
			},
		}})
		return img
	}
	mine := attest(children["linux/amd64"], `{"for":"amd64"}`)
	other := attest(children["linux/arm64"], `{"for":"arm64"}`)
	put(t, addr+"/app/web:1", idx)
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}, Platforms: []string{"linux/amd64"}}
	img := mustResolve(t, p, addr+"/app/web:1")
	got := manifestDigests(img)
	if !slices.Contains(got, hashOf(t, mine)) || slices.Contains(got, hashOf(t, other)) {
		t.Errorf("manifests %v, want the attestation of linux/amd64 and not the other", got)
	}
	if !slices.Equal(img.Platforms, []string{"linux/amd64"}) {
		t.Errorf("platforms %v", img.Platforms)
	}
	found := false
	for _, b := range readBlobs(t, img) {
		found = found || string(b) == `{"for":"amd64"}`
	}
	if !found {
		t.Error("the attestation came without its statement")
	}
}

func TestSignaturesComeAlong(t *testing.T) {
	for name, registry := range registries {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, registry(t))
			idx, children := indexOf(t, "linux/amd64", "linux/arm64")
			put(t, addr+"/app/web:1", idx)
			payload := []byte(`{"critical":{}}`)
			sig := manifestJSON(t, func(m *ocispec.Manifest) {
				m.Layers = []ocispec.Descriptor{{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Digest: digest.FromBytes(payload), Size: int64(len(payload))}}
			})
			sigTag := attachedTag(hashOf(t, idx), ".sig")
			putRaw(t, addr, "app/web", sigTag, ocispec.MediaTypeImageManifest, sig, emptyJSON, payload)

			child := hashOf(t, children["linux/amd64"])
			raw, err := children["linux/amd64"].RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			subject := &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: child, Size: int64(len(raw))}
			sbom := manifestJSON(t, func(m *ocispec.Manifest) {
				m.ArtifactType, m.Subject = "application/spdx+json", subject
			})
			putRaw(t, addr, "app/web", "", ocispec.MediaTypeImageManifest, sbom, emptyJSON)
			if name == "distribution" {
				// It has no referrers API: clients keep a list under a tag.
				list := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
					Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(sbom), Size: int64(len(sbom)), ArtifactType: "application/spdx+json"}}}
				putRaw(t, addr, "app/web", attachedTag(child, ""), ocispec.MediaTypeImageIndex, toJSON(t, list))
			}

			p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}, Platforms: []string{"linux/amd64"}}
			img := mustResolve(t, p, addr+"/app/web:1")
			if len(img.Attached) != 2 {
				t.Fatalf("attached %+v, want a signature and an SBOM", img.Attached)
			}
			if a := img.Attached[0]; a.Tag != sigTag || a.Digest != digest.FromBytes(sig) || a.Subject != hashOf(t, idx) {
				t.Errorf("signature %+v", a)
			}
			if a := img.Attached[1]; a.Tag != "" || a.ArtifactType != "application/spdx+json" || a.Subject != child {
				t.Errorf("SBOM %+v", a)
			}
			if got := readBlobs(t, img); string(got[digest.FromBytes(payload)]) != string(payload) {
				t.Error("the signature came without its payload")
			}

			p.NoAttached = true
			if img := mustResolve(t, p, addr+"/app/web:1"); len(img.Attached) != 0 {
				t.Errorf("attached %+v although none was wanted", img.Attached)
			}
		})
	}
}

func TestMirrorWithoutSignaturesDoesNotNeedTheOrigin(t *testing.T) {
	mirror := serve(t, registries["ggcr"](t))
	put(t, mirror+"/app/web:1", imageFor(t, "linux", "amd64"))
	origin := closedAddr(t)
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{Mirrors: map[string]string{origin: mirror}})}}
	img := mustResolve(t, p, origin+"/app/web:1")
	if img.Ref.Registry != origin {
		t.Errorf("recorded as %s, the name must stay the origin's", img.Ref)
	}
	readBlobs(t, img)
}

// oneManifest serves raw as every manifest and nothing else.
func oneManifest(t *testing.T, raw []byte, typ string) string {
	return serve(t, &hold{raw: raw, typ: typ})
}

func TestManifestsThatAreRefused(t *testing.T) {
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("x"), Size: 1}
	many := make([]ocispec.Descriptor, maxLayers+1)
	for i := range many {
		many[i] = d
	}
	tests := map[string]struct {
		raw   []byte
		typ   string
		class error
		want  string
	}{
		"schema 1":     {[]byte(`{"schemaVersion":1,"name":"x"}`), mediaTypeDockerSigned1, ErrUnsupported, "schema 1"},
		"not JSON":     {[]byte(`<html>`), ocispec.MediaTypeImageManifest, ErrInvalid, "not JSON"},
		"both":         {[]byte(`{"schemaVersion":2,"config":{},"manifests":[{}]}`), ocispec.MediaTypeImageManifest, ErrInvalid, "at once"},
		"unknown type": {[]byte(`{"schemaVersion":2,"mediaType":"x/y"}`), "x/y", ErrUnsupported, `"x/y"`},
		"no version":   {[]byte(`{}`), ocispec.MediaTypeImageManifest, ErrInvalid, "schema version 0"},
		"wrong shape":  {[]byte(`{"schemaVersion":2,"layers":[{}]}`), ocispec.MediaTypeImageIndex, ErrInvalid, "shape"},
		"no config":    {[]byte(`{"schemaVersion":2}`), ocispec.MediaTypeImageManifest, ErrInvalid, "no config"},
		"too many": {manifestJSON(t, func(m *ocispec.Manifest) { m.Layers = many }), ocispec.MediaTypeImageManifest,
			ErrInvalid, "10001 entries"},
		"sha512": {manifestJSON(t, func(m *ocispec.Manifest) { m.Config.Digest = digest.SHA512.FromString("x") }), ocispec.MediaTypeImageManifest,
			ErrUnsupported, "not SHA-256"},
		"path as digest": {manifestJSON(t, func(m *ocispec.Manifest) { m.Config.Digest = "sha256:../../etc/passwd" }), ocispec.MediaTypeImageManifest,
			ErrInvalid, "malformed"},
		"negative size": {manifestJSON(t, func(m *ocispec.Manifest) { m.Config.Size = -1 }), ocispec.MediaTypeImageManifest,
			ErrInvalid, "negative"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr := oneManifest(t, tt.raw, tt.typ)
			p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}}
			_, err := resolveOne(t, p, addr+"/app/web:1")
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %v with %q", err, tt.class, tt.want)
			}
		})
	}
}

func TestForeignLayers(t *testing.T) {
	addr := serve(t, registries["ggcr"](t))
	layer := []byte("windows base")
	raw := manifestJSON(t, func(m *ocispec.Manifest) {
		m.Layers = []ocispec.Descriptor{{
			MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromBytes(layer),
			Size: int64(len(layer)), URLs: []string{"https://mcr.invalid/layer"},
		}}
	})
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}}
	putRaw(t, addr, "app/lacks", "1", ocispec.MediaTypeImageManifest, raw, emptyJSON)
	_, err := resolveOne(t, p, addr+"/app/lacks:1")
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "https://mcr.invalid/layer") {
		t.Errorf("got error %v", err)
	}
	putRaw(t, addr, "app/has", "1", ocispec.MediaTypeImageManifest, raw, emptyJSON, layer)
	readBlobs(t, mustResolve(t, p, addr+"/app/has:1"))
}

func TestAllFailuresAndAllImages(t *testing.T) {
	addr := serve(t, registries["ggcr"](t))
	put(t, addr+"/app/a:1", imageFor(t, "linux", "amd64"))
	put(t, addr+"/app/c:1", imageFor(t, "linux", "amd64"))
	var reported atomic.Int32
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}, Jobs: 2,
		Failed: func(Failure) { reported.Add(1) }, Resolved: func(*Image) { reported.Add(100) }}
	requests := []Request{
		{Ref: mustRef(t, addr+"/app/a:1")},
		{Ref: mustRef(t, addr+"/app/b:1"), Name: "b as I wrote it"},
		{Ref: mustRef(t, addr+"/app/c:1")},
		{Ref: mustRef(t, closedAddr(t)+"/app/d:1")},
	}
	images, err := p.Resolve(t.Context(), requests)
	if len(images) != 2 || images[0].Ref != requests[0].Ref || images[1].Ref != requests[2].Ref {
		t.Errorf("images %v, want a and c in order", images)
	}
	f, ok := errors.AsType[*Failures](err)
	if !ok || len(f.List) != 2 || f.Total != 4 {
		t.Fatalf("got error %v", err)
	}
	if !errors.Is(err, ErrNotFound) || !errors.Is(err, ErrUnavailable) {
		t.Error("the causes are not in the error's tree")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "2 of 4 images") || !strings.Contains(lines[2], "b as I wrote it") {
		t.Errorf("table:\n%s", err)
	}
	if reported.Load() != 202 {
		t.Errorf("hooks were called %d times, want 2 and 2", reported.Load())
	}
}

func TestBlobsOfSeveralImagesAreListedOnce(t *testing.T) {
	addr := serve(t, registries["ggcr"](t))
	base := imageFor(t, "linux", "amd64")
	put(t, addr+"/app/a:1", base)
	more, err := mutate.AppendLayers(base, static.NewLayer([]byte("more"), types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	put(t, addr+"/app/b:1", more)
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}}
	images, err := p.Resolve(t.Context(), []Request{{Ref: mustRef(t, addr+"/app/a:1")}, {Ref: mustRef(t, addr+"/app/b:1")}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Blobs(images)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3+2 {
		t.Errorf("%d blobs, want 5: two configs and three layers", len(all))
	}
	images[1].Blobs[0].Desc.Size++
	images[1].Blobs[0].Desc.Digest = images[0].Blobs[0].Desc.Digest
	if _, err := Blobs(images); !errors.Is(err, ErrInvalid) {
		t.Errorf("got error %v for two sizes of one blob", err)
	}
}

func TestResolveEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	var once sync.Once
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { cancel(cause) })
		<-r.Context().Done()
	}))
	p := &Puller{Sources: []Source{newTestRemote(t, RemoteOptions{})}, Jobs: 1}
	_, err := p.Resolve(ctx, []Request{{Ref: mustRef(t, addr+"/a:1")}, {Ref: mustRef(t, addr+"/b:1")}})
	if !errors.Is(err, cause) {
		t.Errorf("got error %v, want the cause of the end", err)
	}
	if f, ok := errors.AsType[*Failures](err); ok {
		t.Errorf("an interrupt was reported as a failure of images: %v", f)
	}
}
