package serve

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

func TestStackedBundlesAnswerTogether(t *testing.T) {
	a, b := newFake("base.tar.zst"), newFake("app.tar.zst")
	same := a.tagged(t, "quay.io/x/shared:1", "shared")
	b.tagged(t, "quay.io/x/shared:1", "shared")
	b.tagged(t, "quay.io/x/shared:2", "two")
	a.tagged(t, "quay.io/x/base:1", "base")
	b.tagged(t, "quay.io/x/app:1", "app")
	// Signatures grow: the later bundle has one more.
	a.entry(t, archive.KindAttached, "quay.io/x/shared:sha256-1.sig", ocispec.MediaTypeImageManifest, a.image([]byte("one signature")))
	sig := b.entry(t, archive.KindAttached, "quay.io/x/shared:sha256-1.sig", ocispec.MediaTypeImageManifest, b.image([]byte("two signatures")))
	s, hs := start(t, Options{}, a, b)
	for _, ref := range []string{"x/shared:1", "x/shared:2", "x/base:1", "x/app:1", "quay.io/x/app:1"} {
		if err := pull(t, hs.URL, ref); err != nil {
			t.Error(err)
		}
	}
	for ref, want := range map[string]digest.Digest{"1": same.Digest, "sha256-1.sig": sig.Digest} {
		resp, _ := get(t, hs, "HEAD", "/v2/quay.io/x/shared/manifests/"+ref, "Accept", acceptAll)
		if got := resp.Header.Get("Docker-Content-Digest"); got != want.String() {
			t.Errorf("%s is %s, want %s", ref, got, want)
		}
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "base.tar.zst") || !strings.Contains(w[0], "app.tar.zst") {
		t.Errorf("warnings %q", w)
	}
}

func TestBundlesThatDisagreeAreRefused(t *testing.T) {
	for _, c := range []struct{ kind, ref string }{
		{archive.KindImage, "quay.io/x/app:1"},
		{archive.KindChart, "charts/app:1.0.0"},
		{archive.KindBundle, "bundle/app:1.0.0"},
	} {
		a, b := newFake("first.tar.zst"), newFake("second.tar.zst")
		da := a.entry(t, c.kind, c.ref, ocispec.MediaTypeImageManifest, a.image([]byte("a")))
		db := b.entry(t, c.kind, c.ref, ocispec.MediaTypeImageManifest, b.image([]byte("b")))
		_, err := New([]Bundle{a.bundle(), b.bundle()}, Options{})
		if !errors.Is(err, ErrConflict) {
			t.Fatalf("%s: err = %v", c.ref, err)
		}
		for _, want := range []string{"first.tar.zst", "second.tar.zst", c.ref, da.Digest.String(), db.Digest.String()} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not name %s", err, want)
			}
		}
	}
}

func TestTagOfTwoRegistriesAnswersOnlyWithItsRegistry(t *testing.T) {
	a, b := newFake("a"), newFake("b")
	k := a.tagged(t, "registry.k8s.io/pause:3.9", "k")
	q := b.tagged(t, "quay.io/pause:3.9", "q")
	b.tagged(t, "quay.io/pause:3.10", "ten")
	// The same content under two registries is no conflict.
	a.tagged(t, "registry.k8s.io/etcd:1", "etcd")
	b.tagged(t, "quay.io/etcd:1", "etcd")
	_, hs := start(t, Options{}, a, b)
	for path, want := range map[string]int{
		"pause/manifests/3.9":                     404,
		"pause/manifests/3.10":                    200,
		"pause/manifests/" + k.Digest.String():    200,
		"pause/manifests/" + q.Digest.String():    200,
		"quay.io/pause/manifests/3.9":             200,
		"registry.k8s.io/pause/manifests/3.9":     200,
		"registry.k8s.io/pause/manifests/3.10":    404,
		"pause/manifests/3.9?ns=quay.io":          200,
		"pause/manifests/3.10?ns=registry.k8s.io": 404,
		"etcd/manifests/1":                        200,
		"charts/etcd/manifests/1":                 404,
	} {
		if resp, _ := get(t, hs, "GET", "/v2/"+path, "Accept", acceptAll); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestRealNameWinsOverAHostlessOne(t *testing.T) {
	f := newFake("b")
	chart := f.entry(t, archive.KindChart, "charts/app:1", ocispec.MediaTypeImageManifest, f.image([]byte("chart")))
	f.tagged(t, "quay.io/charts/app:1", "an image in a repository of the same path")
	two := f.tagged(t, "quay.io/charts/app:2", "two")
	_, hs := start(t, Options{}, f)
	for tag, want := range map[string]digest.Digest{"1": chart.Digest, "2": two.Digest} {
		resp, _ := get(t, hs, "HEAD", "/v2/charts/app/manifests/"+tag, "Accept", acceptAll)
		if got := resp.Header.Get("Docker-Content-Digest"); got != want.String() {
			t.Errorf("charts/app:%s is %s, want %s", tag, got, want)
		}
	}
}

func TestIndexesThatCannotBeServed(t *testing.T) {
	long := strings.Repeat("a/", 127) + "a"
	for _, c := range []struct{ kind, ref, digest, want string }{
		{archive.KindImage, "UPPER//x", "", "not an image reference"},
		{archive.KindImage, "", "", "not an image reference"},
		{archive.KindImage, "quay.io/" + long + ":1", "", "longer than"},
		{archive.KindChart, "charts/app", "", "does not name a chart"},
		{archive.KindChart, "charts/../app:1", "", "does not name a chart"},
		{archive.KindChart, "charts/app:1/../2", "", "does not name a chart"},
		{archive.KindBundle, ":1", "", "does not name a bundle"},
		{archive.KindImage, "quay.io/a/b:1", "sha256:12", "not a sha256 digest"},
		{archive.KindImage, "quay.io/a/b:1", "sha512:" + strings.Repeat("0", 128), "not a sha256 digest"},
	} {
		f := newFake("odd.tar.zst")
		f.tagged(t, "quay.io/good/one:1", "x")
		d := f.rawEntry(c.kind, c.ref, ocispec.MediaTypeImageManifest, []byte("{}"))
		if c.digest != "" {
			d.Digest = digest.Digest(c.digest)
			f.index.Manifests[1] = d
		}
		_, err := New([]Bundle{f.bundle()}, Options{})
		if !errors.Is(err, ErrIndex) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "odd.tar.zst") {
			t.Errorf("%s %q: err = %v", c.kind, c.ref, err)
		}
	}
	if _, err := New([]Bundle{{Name: "n", Content: nilIndex{}}}, Options{}); !errors.Is(err, ErrIndex) {
		t.Errorf("no index: %v", err)
	}
}

type nilIndex struct{ Content }

func (nilIndex) Index() *ocispec.Index { return nil }

func TestUnknownKindIsNotServed(t *testing.T) {
	f := newFake("b")
	f.entry(t, "future", "quay.io/a/b:1", ocispec.MediaTypeImageManifest, f.image([]byte("x")))
	s, hs := start(t, Options{}, f)
	if len(s.Repositories()) != 0 {
		t.Errorf("repositories %q", s.Repositories())
	}
	if resp, _ := get(t, hs, "GET", "/v2/a/b/manifests/1", "Accept", acceptAll); resp.StatusCode != 404 {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestImageKnownOnlyByDigest(t *testing.T) {
	f := newFake("b")
	m := f.image([]byte("x"))
	d := f.entry(t, archive.KindImage, "quay.io/a/b:1", ocispec.MediaTypeImageManifest, m)
	f.index.Manifests = f.index.Manifests[:0]
	f.entryAgain("quay.io/a/b@"+d.Digest.String(), d)
	_, hs := start(t, Options{}, f)
	if resp, _ := get(t, hs, "GET", "/v2/a/b/manifests/"+d.Digest.String(), "Accept", acceptAll); resp.StatusCode != 200 {
		t.Errorf("by digest: %d", resp.StatusCode)
	}
	if got := tagsOf(t, hs, "a/b"); len(got) != 0 {
		t.Errorf("tags %q", got)
	}
}

func TestHostileManifests(t *testing.T) {
	f := newFake("b")
	// An index that contains itself cannot exist, but a deep one can.
	inner := f.tagged(t, "quay.io/a/leaf:1", "leaf")
	for range 2 * maxDepth {
		inner = f.entry(t, archive.KindImage, "quay.io/a/deep:1", ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{{MediaType: inner.MediaType, Digest: inner.Digest, Size: inner.Size}}})
		f.index.Manifests = f.index.Manifests[:len(f.index.Manifests)-1]
	}
	f.entryAgain("quay.io/a/deep:1", inner)
	f.rawEntry(archive.KindImage, "quay.io/a/garbage:1", ocispec.MediaTypeImageManifest, []byte("not JSON"))
	f.rawEntry(archive.KindImage, "quay.io/a/array:1", ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"manifests":"x","layers":7}`))
	f.rawEntry(archive.KindImage, "quay.io/a/big:1", ocispec.MediaTypeImageManifest, make([]byte, maxManifest+1))
	f.rawEntry(archive.KindImage, "quay.io/a/odd:1", ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"x"},"layers":[{"digest":"../../etc"}]}`))
	_, hs := start(t, Options{}, f)
	for _, n := range []string{"deep", "garbage", "array", "big", "odd"} {
		for _, path := range []string{"/manifests/1", "/blobs/" + inner.Digest.String(), "/referrers/" + inner.Digest.String(), "/tags/list"} {
			// Whatever the answer, there is one.
			if _, status, _ := fetch(hs.URL+"/v2/a/"+n+path, "Accept", acceptAll); status == 0 {
				t.Errorf("%s%s: no answer", n, path)
			}
		}
	}
	if err := pull(t, hs.URL, "a/leaf:1"); err != nil {
		t.Error(err)
	}
}
