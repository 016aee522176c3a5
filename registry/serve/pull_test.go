package serve

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// get asks for a path and gives the answer with its whole body.
func get(t testing.TB, hs *httptest.Server, method, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	return send(t, hs, method, path, nil, header...)
}

func send(t testing.TB, hs *httptest.Server, method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, hs.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := hs.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, b
}

const acceptAll = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"

// world is a bundle with one of everything.
func world(t testing.TB) (*fake, map[string]v1.Image) {
	t.Helper()
	f := newFake("world.tar.zst")
	images := map[string]v1.Image{
		"registry.k8s.io/pause:3.9":        f.random(t, "registry.k8s.io/pause:3.9", 100, 1),
		"docker.io/library/nginx:1.25":     f.random(t, "docker.io/library/nginx:1.25", 2<<20, 3),
		"quay.io/deep/er/path/tool:v1.0-x": f.random(t, "quay.io/deep/er/path/tool:v1.0-x", 1<<20, 2),
		"localhost:5000/mine:latest":       f.random(t, "localhost:5000/mine:latest", 10, 1),
	}
	chart := f.image([]byte("chart"))
	chart.Config = f.blobOf("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"aecp"}`))
	f.entry(t, archive.KindChart, "charts/aecp:1.2.3+build.5", ocispec.MediaTypeImageManifest, chart)
	f.entry(t, archive.KindBundle, "bundle/world:1.0", ocispec.MediaTypeImageManifest, f.image([]byte("rootfs")))
	f.entry(t, archive.KindLayout, "", "application/vnd.bundle.layout.v1+json", map[string]int{"version": 1})
	return f, images
}

func TestEveryImagePullsByTagAndDigestWithAndWithoutRegistry(t *testing.T) {
	f, images := world(t)
	_, hs := start(t, Options{}, f)
	for ref, want := range images {
		parsed, err := name.ParseReference(ref)
		if err != nil {
			t.Fatal(err)
		}
		path := parsed.Context().RepositoryStr()
		wantDigest, err := want.Digest()
		if err != nil {
			t.Fatal(err)
		}
		tag := ":" + parsed.Identifier()
		names := []string{path + tag, path + "@" + wantDigest.String()}
		if host := parsed.Context().RegistryStr(); !strings.Contains(host, ":") {
			host = strings.Replace(host, "index.docker.io", "docker.io", 1)
			names = append(names, host+"/"+path+tag, host+"/"+path+"@"+wantDigest.String())
		}
		for _, n := range names {
			t.Run(n, func(t *testing.T) {
				got, err := remote.Image(on(t, hs, n))
				if err != nil {
					t.Fatal(err)
				}
				if d, err := got.Digest(); err != nil || d != wantDigest {
					t.Fatalf("got %v, %v; want %v", d, err, wantDigest)
				}
				if err := readAll(got); err != nil {
					t.Error(err)
				}
				if _, err := remote.Head(on(t, hs, n)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// readAll reads the config and every layer; the client checks their digests.
func readAll(img v1.Image) error {
	if _, err := img.RawConfigFile(); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, rc); err != nil {
			return err
		}
		if err := rc.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestChartsAndBundlesAnswer(t *testing.T) {
	f, _ := world(t)
	_, hs := start(t, Options{}, f)
	// Helm asks for the version with an underscore where a tag cannot hold it.
	for _, ref := range []string{"charts/aecp:1.2.3_build.5", "bundle/world:1.0"} {
		img, err := remote.Image(on(t, hs, ref))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%s: %d layers, %v", ref, len(layers), err)
		}
		rc, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(rc); err != nil {
			t.Error(err)
		}
	}
}

func TestSparseIndexServesThePlatformsItHas(t *testing.T) {
	f := newFake("b")
	idx, err := random.Index(1000, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	im, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := idx.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := idx.Image(im.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	childRaw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	f.put(childRaw)
	f.blobsOf(t, img)
	f.rawEntry(archive.KindImage, "quay.io/a/multi:1", string(im.MediaType), raw)
	_, hs := start(t, Options{}, f)

	resp, body := get(t, hs, "GET", "/v2/a/multi/manifests/1", "Accept", acceptAll)
	if resp.StatusCode != 200 || string(body) != string(raw) {
		t.Errorf("the index: %d", resp.StatusCode)
	}
	for i, m := range im.Manifests {
		want := 404
		if i == 1 {
			want = 200
		}
		resp, _ := get(t, hs, "GET", "/v2/a/multi/manifests/"+m.Digest.String(), "Accept", acceptAll)
		if resp.StatusCode != want {
			t.Errorf("child %d: %d, want %d", i, resp.StatusCode, want)
		}
	}
	got, err := remote.Image(on(t, hs, "a/multi@"+im.Manifests[1].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(got); err != nil {
		t.Error(err)
	}
}

func TestMirrorQueryResolvesWithinItsRegistry(t *testing.T) {
	f := newFake("b")
	k8s := f.tagged(t, "registry.k8s.io/pause:3.9", "k8s")
	quay := f.tagged(t, "quay.io/pause:3.9", "quay")
	hub := f.tagged(t, "docker.io/library/nginx:1", "hub")
	port := f.tagged(t, "localhost:5000/mine:1", "mine")
	s, hs := start(t, Options{LocalNames: []string{"registry.local"}}, f)
	for _, c := range []struct {
		path, ns string
		want     digest.Digest // empty: 404
	}{
		{"pause/manifests/3.9", "registry.k8s.io", k8s.Digest},
		{"pause/manifests/3.9", "quay.io", quay.Digest},
		{"pause/manifests/3.9", "", ""},          // whose?
		{"pause/manifests/3.9", "docker.io", ""}, // nobody's
		{"pause/manifests/3.9", "evil.io", ""},   // never another registry's image
		{"library/nginx/manifests/1", "evil.io", ""},
		{"library/nginx/manifests/1", "docker.io", hub.Digest},
		{"library/nginx/manifests/1", "registry-1.docker.io", hub.Digest},
		{"library/nginx/manifests/1", "index.docker.io", hub.Digest},
		{"nginx/manifests/1", "docker.io", hub.Digest},
		{"library/nginx/manifests/1", "sea.hub:5000", hub.Digest},
		{"library/nginx/manifests/1", "registry.local", hub.Digest},
		{"library/nginx/manifests/1", "", hub.Digest},
		{"mine/manifests/1", "localhost:5000", port.Digest},
		{"localhost:5000/mine/manifests/1", "", port.Digest},
		{"registry.k8s.io/pause/manifests/3.9", "", k8s.Digest},
		{"registry.k8s.io/pause/manifests/3.9", "registry.k8s.io", k8s.Digest},
		{"pause/manifests/" + k8s.Digest.String(), "registry.k8s.io", k8s.Digest},
		{"pause/manifests/" + quay.Digest.String(), "registry.k8s.io", ""},
		{"pause/manifests/" + quay.Digest.String(), "", quay.Digest}, // a digest is not ambiguous
	} {
		u := "/v2/" + c.path
		if c.ns != "" {
			u += "?ns=" + c.ns
		}
		resp, _ := get(t, hs, "GET", u, "Accept", acceptAll)
		switch {
		case c.want == "" && resp.StatusCode != 404:
			t.Errorf("%s: %d, want 404", u, resp.StatusCode)
		case c.want != "" && resp.Header.Get("Docker-Content-Digest") != c.want.String():
			t.Errorf("%s: %d %q, want %s", u, resp.StatusCode, resp.Header.Get("Docker-Content-Digest"), c.want)
		}
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "pause:3.9") || !strings.Contains(w[0], "quay.io") || !strings.Contains(w[0], "registry.k8s.io") {
		t.Errorf("warnings: %q", w)
	}
}

func TestBlobsAnswerOnlyWhereAManifestNamesThem(t *testing.T) {
	f := newFake("b")
	f.tagged(t, "quay.io/a/one:1", "layer of one")
	f.tagged(t, "quay.io/b/two:1", "layer of two")
	secret := f.put([]byte("named by nobody"))
	_, hs := start(t, Options{}, f)
	for path, want := range map[string]int{
		"/v2/a/one/blobs/" + digest.FromString("layer of one").String():         200,
		"/v2/quay.io/a/one/blobs/" + digest.FromString("layer of one").String(): 200,
		"/v2/a/one/blobs/" + digest.FromString("layer of two").String():         404,
		"/v2/a/one/blobs/" + secret.Digest.String():                             404,
		"/v2/no/such/blobs/" + digest.FromString("layer of one").String():       404,
		"/v2/a/one/blobs/" + digest.FromString("nothing").String():              404,
		"/v2/a/one/blobs/sha256:zz":                                             400,
		"/v2/a/one/manifests/2":                                                 404,
		"/v2/a/one/manifests/" + digest.FromString("layer of one").String():     404,
	} {
		if resp, _ := get(t, hs, "GET", path, "Accept", acceptAll); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestTagsAndCatalogInPages(t *testing.T) {
	f := newFake("b")
	for _, tag := range []string{"1.0", "1.1", "2", "latest", "a-b"} {
		f.tagged(t, "quay.io/a/one:"+tag, tag)
	}
	f.tagged(t, "ghcr.io/a/one:3", "x")
	f.tagged(t, "localhost:5000/odd:1", "odd")
	s, hs := start(t, Options{}, f)
	want := []string{"a/one", "ghcr.io/a/one", "odd", "quay.io/a/one"}
	if got := s.Repositories(); !slices.Equal(got, want) {
		t.Errorf("Repositories() = %q, want %q", got, want)
	}
	var catalog struct{ Repositories []string }
	if got := pages(t, hs, "/v2/_catalog?n=1", &catalog, func() []string { return catalog.Repositories }); !slices.Equal(got, want) {
		t.Errorf("catalog in pages: %q, want %q", got, want)
	}
	if got := pages(t, hs, "/v2/_catalog", &catalog, func() []string { return catalog.Repositories }); !slices.Equal(got, want) {
		t.Errorf("catalog: %q, want %q", got, want)
	}
	var tags struct{ Tags []string }
	for path, want := range map[string][]string{
		"/v2/quay.io/a/one/tags/list?n=2":          {"1.0", "1.1", "2", "a-b", "latest"},
		"/v2/quay.io/a/one/tags/list":              {"1.0", "1.1", "2", "a-b", "latest"},
		"/v2/a/one/tags/list":                      {"1.0", "1.1", "2", "3", "a-b", "latest"},
		"/v2/a/one/tags/list?n=3&last=1.1":         {"2", "3", "a-b", "latest"},
		"/v2/a/one/tags/list?ns=ghcr.io":           {"3"},
		"/v2/quay.io/a/one/tags/list?n=0":          {},
		"/v2/quay.io/a/one/tags/list?last=latest":  {},
		"/v2/quay.io/a/one/tags/list?last=nothing": {},
	} {
		if got := pages(t, hs, path, &tags, func() []string { return tags.Tags }); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if resp, _ := get(t, hs, "GET", "/v2/no/such/tags/list"); resp.StatusCode != 404 {
		t.Errorf("tags of an unknown repository: %d", resp.StatusCode)
	}
}

// pages follows Link headers and gives all the items.
func pages(t *testing.T, hs *httptest.Server, path string, into any, items func() []string) []string {
	t.Helper()
	all := []string{}
	for n := 0; path != ""; n++ {
		resp, body := get(t, hs, "GET", path)
		if resp.StatusCode != 200 || n > 20 {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatal(err)
		}
		all = append(all, items()...)
		path, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	}
	return all
}

func TestReadOnlyRefusesEveryWrite(t *testing.T) {
	f := newFake("b")
	d := f.tagged(t, "quay.io/a/one:1", "x")
	_, hs := start(t, Options{}, f)
	for _, c := range [][2]string{
		{"POST", "/v2/a/one/blobs/uploads/"},
		{"PATCH", "/v2/a/one/blobs/uploads/1"},
		{"PUT", "/v2/a/one/manifests/2"},
		{"DELETE", "/v2/a/one/manifests/" + d.Digest.String()},
		{"DELETE", "/v2/a/one/manifests/1"},
		{"DELETE", "/v2/a/one/blobs/" + d.Digest.String()},
		{"BREW", "/v2/"},
	} {
		resp, body := get(t, hs, c[0], c[1])
		if resp.StatusCode != 405 || !strings.Contains(string(body), `"UNSUPPORTED"`) || resp.Header.Get("Allow") == "" {
			t.Errorf("%s %s: %d %s", c[0], c[1], resp.StatusCode, body)
		}
	}
	if resp, _ := get(t, hs, "GET", "/v2/a/one/manifests/1", "Accept", acceptAll); resp.StatusCode != 200 {
		t.Errorf("the image is gone: %d", resp.StatusCode)
	}
}

func TestStartReadsNoManifest(t *testing.T) {
	f, _ := world(t)
	s := newServer(t, Options{}, f)
	if n := f.reads.Load() + f.bytes.Load(); n != 0 {
		t.Errorf("%d reads before the first request", n)
	}
	hs := httptest.NewServer(s.Handler())
	defer hs.Close()
	if resp, _ := get(t, hs, "GET", "/v2/pause/manifests/3.9", "Accept", acceptAll); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if n := f.reads.Load(); n > 1 {
		t.Errorf("the first manifest took %d reads of manifests", n)
	}
}

func TestManifestHeadersAndConditions(t *testing.T) {
	f := newFake("b")
	d := f.tagged(t, "quay.io/a/one:1", "x")
	_, hs := start(t, Options{}, f)
	for _, method := range []string{"GET", "HEAD"} {
		resp, body := get(t, hs, method, "/v2/a/one/manifests/1", "Accept", acceptAll)
		if resp.StatusCode != 200 || resp.Header.Get("Docker-Content-Digest") != d.Digest.String() || resp.ContentLength != d.Size ||
			resp.Header.Get("Content-Type") != d.MediaType || (method == "HEAD") != (len(body) == 0) {
			t.Errorf("%s: %d %v, %d bytes", method, resp.StatusCode, resp.Header, len(body))
		}
	}
	for _, accept := range [][]string{nil, {"Accept", "*/*"}, {"Accept", "text/html, */*;q=0.5"}} {
		if resp, _ := get(t, hs, "GET", "/v2/a/one/manifests/1", accept...); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != d.MediaType {
			t.Errorf("%q: %d %s", accept, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
	resp, _ := get(t, hs, "GET", "/v2/a/one/manifests/1", "Accept", acceptAll, "If-None-Match", `"`+d.Digest.String()+`"`)
	if resp.StatusCode != 304 {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	resp, _ = get(t, hs, "GET", "/v2/")
	if resp.StatusCode != 200 || resp.Header.Get("Docker-Distribution-API-Version") != "registry/2.0" || resp.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("/v2/: %d %v", resp.StatusCode, resp.Header)
	}
}
