package push

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// full is a bundle with one of everything.
type full struct {
	*maker
	big                                       []byte
	amd, arm, web, job, sig, sbom, chart, own ocispec.Descriptor
}

func newFull(t *testing.T) *full {
	m := newMaker(t)
	f := &full{maker: m, big: noise(1, 3<<20)}
	f.amd = m.image(`{"os":"linux","architecture":"amd64"}`, f.big, []byte("amd layer"))
	f.arm = m.image(`{"os":"linux","architecture":"arm64"}`, []byte("arm layer"))
	f.web = m.list(on(f.amd, "linux", "amd64"), on(f.arm, "linux", "arm64"))
	m.add(archive.KindImage, "registry.k8s.io/app/web:1", f.web)
	f.job = m.image(`{"os":"linux","architecture":"amd64","x":1}`, f.big)
	m.add(archive.KindImage, "quay.io/app/job:2", f.job)
	f.sig = m.image(`{}`, []byte("signature"))
	m.add(archive.KindAttached, "registry.k8s.io/app/web:sha256-"+f.web.Digest.Encoded()+".sig", f.sig)
	f.sbom = m.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/spdx+json", Config: m.blob(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers:  []ocispec.Descriptor{m.blob("text/spdx", []byte("sbom"))},
		Subject: &ocispec.Descriptor{MediaType: f.amd.MediaType, Digest: f.amd.Digest, Size: f.amd.Size},
	})
	m.add(archive.KindAttached, "registry.k8s.io/app/web", f.sbom)
	f.chart = m.image(`{"name":"db"}`, []byte("chart"))
	m.add(archive.KindChart, "charts/db:1.2.3+build.5", f.chart)
	f.own = m.image(`{"schemaVersion":1}`, []byte("rootfs"))
	m.add(archive.KindBundle, "bundle/Shop:7.0.0", f.own)
	return f
}

func mustPush(t *testing.T, b Bundle, target string, o Options) Result {
	t.Helper()
	to, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	o.HTTP = testHTTP()
	r, err := Push(t.Context(), b, to, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func push(t *testing.T, b Bundle, target string, o Options) (Result, error) {
	t.Helper()
	to, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	if o.HTTP.Clock == nil {
		o.HTTP = testHTTP()
	}
	return Push(t.Context(), b, to, o)
}

func TestPushEverything(t *testing.T) {
	for name, registry := range registries {
		t.Run(name, func(t *testing.T) {
			f := newFull(t)
			tap := newTap(registry(t))
			addr := serve(t, tap)
			var sent atomic.Int64
			r := mustPush(t, f.open(), addr+"/site/a", Options{Sent: func(n int64) { sent.Add(n) }})

			mustHave(t, addr, "site/a/app/web/manifests/1", ocispec.MediaTypeImageIndex, f.bytes[f.web.Digest])
			mustHave(t, addr, "site/a/app/web/manifests/"+f.arm.Digest.String(), ocispec.MediaTypeImageManifest, f.bytes[f.arm.Digest])
			mustHave(t, addr, "site/a/app/web/blobs/"+digest.FromBytes(f.big).String(), "*/*", f.big)
			mustHave(t, addr, "site/a/app/job/manifests/2", ocispec.MediaTypeImageManifest, f.bytes[f.job.Digest])
			mustHave(t, addr, "site/a/app/job/blobs/"+digest.FromBytes(f.big).String(), "*/*", f.big)
			mustHave(t, addr, "site/a/app/web/manifests/sha256-"+f.web.Digest.Encoded()+".sig", ocispec.MediaTypeImageManifest, f.bytes[f.sig.Digest])
			mustHave(t, addr, "site/a/charts/db/manifests/1.2.3_build.5", ocispec.MediaTypeImageManifest, f.bytes[f.chart.Digest])
			mustHave(t, addr, "site/a/bundle/shop/manifests/7.0.0", ocispec.MediaTypeImageManifest, f.bytes[f.own.Digest])

			referrers := "site/a/app/web/referrers/" + f.amd.Digest.String()
			if name == "distribution" {
				referrers = "site/a/app/web/manifests/sha256-" + f.amd.Digest.Encoded()
			}
			code, raw, _ := get(t, addr, referrers, ocispec.MediaTypeImageIndex)
			var list ocispec.Index
			if err := json.Unmarshal(raw, &list); err != nil || code != http.StatusOK {
				t.Fatalf("%s: %d, %v", referrers, code, err)
			}
			if len(list.Manifests) != 1 || list.Manifests[0].Digest != f.sbom.Digest {
				t.Errorf("referrers %+v, want the SBOM", list.Manifests)
			}

			if len(r.Items) != 6 || r.Items[0].Target != addr+"/site/a/app/web:1" || r.Items[0].Present {
				t.Errorf("items %+v", r.Items)
			}
			// 15 blobs are named; two of them in a second place.
			if r.Uploaded != 13 || r.Mounted+r.Skipped != 2 {
				t.Errorf("counts %+v, want 13 sent and 2 that were there by then", r.Counts)
			}
			if sent.Load() != r.UploadedBytes {
				t.Errorf("%d bytes were reported as they left, %d in the result", sent.Load(), r.UploadedBytes)
			}

			// Again: everything is there, nothing may be sent.
			before := tap.of("POST upload")
			r = mustPush(t, f.open(), addr+"/site/a", Options{})
			if r.Uploaded+r.Mounted != 0 || r.Skipped != 15 || tap.of("POST upload") != before {
				t.Errorf("a second push gave %+v and %d uploads", r.Counts, tap.of("POST upload")-before)
			}
			for _, it := range r.Items {
				if !it.Present {
					t.Errorf("%s was not found to be there already", it.Target)
				}
			}
			if _, raw, _ = get(t, addr, referrers, ocispec.MediaTypeImageIndex); strings.Count(string(raw), f.sbom.Digest.Encoded()) != 1 {
				t.Errorf("after a second push the list of referrers is %s", raw)
			}
		})
	}
}

func TestSharedBlobIsMountedNotSentTwice(t *testing.T) {
	f := newFull(t)
	addr := serve(t, distribution(t, "none"))
	r := mustPush(t, f.open(), addr, Options{})
	if r.Mounted == 0 {
		t.Errorf("counts %+v: the layer of both images was sent twice", r.Counts)
	}
	size := int64(len(f.big))
	if r.UploadedBytes >= 2*size {
		t.Errorf("%d bytes were sent, the shared layer has %d", r.UploadedBytes, size)
	}
}

func TestDryRunSendsNothing(t *testing.T) {
	f := newFull(t)
	tap := newTap(distribution(t, "none"))
	addr := serve(t, tap)
	b := f.open()
	dry := mustPush(t, b, addr, Options{DryRun: true})
	if n := tap.writes(); n != 0 {
		t.Fatalf("a dry run sent %d requests that write", n)
	}
	wet := mustPush(t, b, addr, Options{})
	if dry.Counts != wet.Counts {
		t.Errorf("the dry run promised %+v, the push did %+v", dry.Counts, wet.Counts)
	}
	if len(dry.Items) != len(wet.Items) {
		t.Errorf("the dry run lists %d items, the push %d", len(dry.Items), len(wet.Items))
	}
}

func TestNames(t *testing.T) {
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1}
	tests := []struct {
		kind, ref, target string
		keep              bool
		want              string
	}{
		{archive.KindImage, "registry.k8s.io/pause:3.9", "h:5000", false, "h:5000/pause:3.9"},
		{archive.KindImage, "docker.io/library/nginx:1", "h/p", false, "h/p/library/nginx:1"},
		{archive.KindImage, "sea.hub:5000/a/b:1", "h/p", true, "h/p/sea.hub-5000/a/b:1"},
		{archive.KindAttached, "quay.io/a/b:sha256-00.sig", "h", true, "h/quay.io/a/b:sha256-00.sig"},
		{archive.KindAttached, "sea.hub:5000/a/b", "h", false, "h/a/b@" + d.Digest.String()},
		{archive.KindChart, "charts/db:1.0.0+x", "h/p", true, "h/p/charts/db:1.0.0_x"},
		{archive.KindBundle, "bundle/shop:1", "h", false, "h/bundle/shop:1"},
	}
	for _, tt := range tests {
		to, err := ParseTarget(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		d.Annotations = map[string]string{archive.AnnotationKind: tt.kind, archive.AnnotationRef: tt.ref}
		list, err := items(&ocispec.Index{Manifests: []ocispec.Descriptor{d}}, to, tt.keep)
		if err != nil || len(list) != 1 || list[0].name(to) != tt.want {
			t.Errorf("%s to %s: got %v, %v, want %s", tt.ref, tt.target, list, err, tt.want)
		}
	}
}

func TestTwoImagesOfOneName(t *testing.T) {
	m := newMaker(t)
	m.add(archive.KindImage, "docker.io/app/web:1", m.image(`{"a":1}`))
	m.add(archive.KindImage, "quay.io/app/web:1", m.image(`{"b":1}`))
	tap := newTap(registries["ggcr"](t))
	addr := serve(t, tap)
	b := m.open()
	_, err := push(t, b, addr, Options{})
	if !errors.Is(err, ErrCollision) || !strings.Contains(err.Error(), "--keep-host") {
		t.Errorf("got error %v", err)
	}
	if len(tap.count) != 0 {
		t.Errorf("requests were sent before: %v", tap.count)
	}
	mustPush(t, b, addr, Options{KeepHost: true})
	if code, _, _ := get(t, addr, "quay.io/app/web/manifests/1", "*/*"); code != http.StatusOK {
		t.Errorf("the second image is not there: %d", code)
	}
}

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]Target{
		"harbor.local":              {Registry: "harbor.local"},
		"https://harbor.local/a/b/": {Registry: "harbor.local", Prefix: "a/b"},
		"127.0.0.1:5000/x":          {Registry: "127.0.0.1:5000", Prefix: "x"},
	} {
		if got, err := ParseTarget(s); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/a", "h/UP", "h/a//b", "u@h", "h/../x", "h/a:1"} {
		if got, err := ParseTarget(s); !errors.Is(err, ErrTarget) {
			t.Errorf("%q was taken as %+v, %v", s, got, err)
		}
	}
}

// sparse is a bundle whose image index lists a platform that is absent.
func sparse(t *testing.T, present ...string) (*maker, ocispec.Descriptor, []ocispec.Descriptor) {
	m := newMaker(t)
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 6}
	children := []ocispec.Descriptor{on(absent, "linux", "s390x")}
	var images []ocispec.Descriptor
	for _, p := range present {
		img := m.image(`{"os":"linux","architecture":"`+p+`"}`, []byte(p))
		images = append(images, img)
		children = append(children, on(img, "linux", p))
	}
	idx := m.list(children...)
	m.add(archive.KindImage, "quay.io/app/web:1", idx)
	return m, idx, images
}

func TestSparseIndex(t *testing.T) {
	t.Run("is kept where the registry takes it", func(t *testing.T) {
		m, idx, _ := sparse(t, "amd64")
		addr := serve(t, distribution(t, "none"))
		mustPush(t, m.open(), addr, Options{})
		mustHave(t, addr, "app/web/manifests/1", ocispec.MediaTypeImageIndex, m.bytes[idx.Digest])
	})
	t.Run("is a clear error where the registry does not", func(t *testing.T) {
		m, _, _ := sparse(t, "amd64")
		_, err := push(t, m.open(), serve(t, distribution(t, "all")), Options{})
		if !errors.Is(err, ErrSparse) || !strings.Contains(err.Error(), "--trim-indexes") {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("trimmed to the only platform", func(t *testing.T) {
		m, _, images := sparse(t, "amd64")
		addr := serve(t, distribution(t, "all"))
		r := mustPush(t, m.open(), addr, Options{TrimIndexes: true})
		mustHave(t, addr, "app/web/manifests/1", ocispec.MediaTypeImageManifest, m.bytes[images[0].Digest])
		if !r.Items[0].Trimmed || r.Items[0].Digest != images[0].Digest {
			t.Errorf("item %+v does not say that it was trimmed", r.Items[0])
		}
	})
	t.Run("trimmed to the present platforms", func(t *testing.T) {
		m, _, images := sparse(t, "amd64", "arm64")
		addr := serve(t, distribution(t, "all"))
		r := mustPush(t, m.open(), addr, Options{TrimIndexes: true})
		_, raw, _ := get(t, addr, "app/web/manifests/1", ocispec.MediaTypeImageIndex)
		var idx ocispec.Index
		if err := json.Unmarshal(raw, &idx); err != nil {
			t.Fatal(err)
		}
		if len(idx.Manifests) != 2 || idx.Manifests[0].Digest != images[0].Digest || idx.Manifests[1].Platform.Architecture != "arm64" {
			t.Errorf("index %s", raw)
		}
		if r.Items[0].Digest != digest.FromBytes(raw) {
			t.Errorf("item says %s, the registry has %s", r.Items[0].Digest, digest.FromBytes(raw))
		}
	})
}

// absent hides blobs, as a delta leaves them out.
type absent struct {
	Bundle
	gone digest.Digest
}

func (a absent) Stat(d digest.Digest) (archive.Blob, bool) {
	if d == a.gone {
		return archive.Blob{}, false
	}
	return a.Bundle.Stat(d)
}

func TestDeltaNeedsItsBase(t *testing.T) {
	f := newFull(t)
	addr := serve(t, registries["ggcr"](t))
	whole := f.open()
	delta := absent{whole, digest.FromBytes(f.big)}
	r, err := push(t, delta, addr, Options{})
	if !errors.Is(err, archive.ErrMissing) || !strings.Contains(err.Error(), "push the bundle that it builds on first") {
		t.Fatalf("got error %v", err)
	}
	all, ok := errors.AsType[*Failures](err)
	if !ok || len(all.List) != 2 || all.Total != 6 || len(r.Items) != 4 {
		t.Errorf("%d items, failures %v; want the two images with the layer to fail and the rest to be there", len(r.Items), err)
	}
	mustPush(t, whole, addr, Options{})
	mustPush(t, delta, addr, Options{})
}

func TestDamagedBlobIsNeverStored(t *testing.T) {
	for name, registry := range registries {
		for _, size := range []int{1000, 3 << 20} {
			t.Run(name, func(t *testing.T) {
				m := newMaker(t)
				layer := noise(7, size)
				m.add(archive.KindImage, "quay.io/app/web:1", m.image(`{}`, layer))
				b := m.open()
				off, _ := b.Extent(digest.FromBytes(layer))
				flip(t, b.Path(), off+900)
				addr := serve(t, registry(t))
				_, err := push(t, b, addr, Options{})
				if !errors.Is(err, archive.ErrDigest) && !errors.Is(err, archive.ErrDamaged) {
					t.Fatalf("got error %v, want one about damage", err)
				}
				if errors.Is(err, wire.ErrUnavailable) {
					t.Errorf("damage was taken for a fault of the registry: %v", err)
				}
				if !strings.Contains(err.Error(), digest.FromBytes(layer).Encoded()) {
					t.Errorf("error %q does not name the blob", err)
				}
				if code, _, _ := get(t, addr, "app/web/blobs/"+digest.FromBytes(layer).String(), "*/*"); code != http.StatusNotFound {
					t.Errorf("the damaged blob is there: %d", code)
				}
				if code, _, _ := get(t, addr, "app/web/manifests/1", "*/*"); code != http.StatusNotFound {
					t.Errorf("the image was named although a blob is damaged: %d", code)
				}
			})
		}
	}
}

// flip changes one byte of a file.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}
