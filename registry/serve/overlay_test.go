package serve

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// files counts regular files below dir whose name is name.
func files(t *testing.T, dir, name string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == name {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tagsOf(t *testing.T, hs *httptest.Server, repo string) []string {
	t.Helper()
	var tags struct{ Tags []string }
	resp, body := get(t, hs, "GET", "/v2/"+repo+"/tags/list")
	if resp.StatusCode != 200 {
		t.Fatalf("tags of %s: %d", repo, resp.StatusCode)
	}
	if err := json.Unmarshal(body, &tags); err != nil {
		t.Fatal(err)
	}
	return tags.Tags
}

func TestOverlayTakesPushesBesideTheBundle(t *testing.T) {
	f := newFake("b")
	base := f.random(t, "quay.io/a/one:1", 5000, 2)
	dir := t.TempDir()
	s, hs := start(t, Options{Writable: dir}, f)

	img, err := random.Image(3000, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(on(t, hs, "quay.io/a/one:new"), img); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(on(t, hs, "team/app:1"), img); err != nil {
		t.Fatal(err)
	}
	// An image that the bundle has already is not stored again.
	before := files(t, dir, "data")
	if err := remote.Write(on(t, hs, "team/base:1"), base); err != nil {
		t.Fatal(err)
	}
	if after := files(t, dir, "data"); after != before {
		t.Errorf("pushing what the bundle holds stored %d blobs", after-before)
	}
	if got := tagsOf(t, hs, "quay.io/a/one"); !slices.Equal(got, []string{"1", "new"}) {
		t.Errorf("tags %q", got)
	}
	check := func(hs *httptest.Server) {
		t.Helper()
		for ref, want := range map[string]v1.Image{"quay.io/a/one:1": base, "quay.io/a/one:new": img, "team/app:1": img, "team/base:1": base} {
			got, err := remote.Image(on(t, hs, ref))
			if err != nil {
				t.Errorf("%s: %v", ref, err)
				continue
			}
			if err := readAll(got); err != nil {
				t.Errorf("%s: %v", ref, err)
			}
			w, _ := want.Digest()
			if g, _ := got.Digest(); g != w {
				t.Errorf("%s: %s, want %s", ref, g, w)
			}
		}
	}
	check(hs)
	var catalog struct{ Repositories []string }
	if got := pages(t, hs, "/v2/_catalog?n=2", &catalog, func() []string { return catalog.Repositories }); !slices.Equal(got, []string{"a/one", "quay.io/a/one", "team/app", "team/base"}) {
		t.Errorf("catalog %q", got)
	}
	// Everything is there after a restart, and gone without the overlay.
	hs.Close()
	_ = s.Close()
	_, hs = start(t, Options{Writable: dir}, f)
	check(hs)
	_, hs = start(t, Options{}, f)
	if resp, _ := get(t, hs, "GET", "/v2/team/app/manifests/1", "Accept", acceptAll); resp.StatusCode != 404 {
		t.Errorf("pushed image without the overlay: %d", resp.StatusCode)
	}
}

func TestOverlayMovesATagAndMirrorPushesGoToTheirRegistry(t *testing.T) {
	f := newFake("b")
	f.tagged(t, "quay.io/a/one:1", "old")
	_, hs := start(t, Options{Writable: t.TempDir()}, f)
	m, err := json.Marshal(f.image([]byte("old")))
	if err != nil {
		t.Fatal(err)
	}
	m = append(bytes.TrimSuffix(m, []byte("}")), `,"annotations":{"new":"yes"}}`...)
	resp, body := send(t, hs, "PUT", "/v2/a/one/manifests/1?ns=quay.io", bytes.NewReader(m), "Content-Type", ocispec.MediaTypeImageManifest)
	if resp.StatusCode != 201 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, _ = get(t, hs, "HEAD", "/v2/quay.io/a/one/manifests/1", "Accept", acceptAll)
	if got, want := resp.Header.Get("Docker-Content-Digest"), digest.FromBytes(m).String(); got != want {
		t.Errorf("the tag is at %s, want %s", got, want)
	}
	if resp, body := send(t, hs, "PUT", "/v2/localhost:5000/x/manifests/1", bytes.NewReader(m)); resp.StatusCode != 400 || !strings.Contains(string(body), "NAME_INVALID") {
		t.Errorf("a name nobody could ask for: %d %s", resp.StatusCode, body)
	}
}

func TestOverlayDeletesFromTheBundleForGood(t *testing.T) {
	f := newFake("b")
	one := f.tagged(t, "quay.io/a/one:1", "layer")
	f.entryAgain("quay.io/a/one:alias", one)
	keep := f.tagged(t, "quay.io/a/one:keep", "kept")
	dir := t.TempDir()
	s, hs := start(t, Options{Writable: dir}, f)
	gone := func(hs *httptest.Server, want int) {
		t.Helper()
		for _, p := range []string{"/manifests/1", "/manifests/alias", "/manifests/" + one.Digest.String()} {
			if resp, _ := get(t, hs, "GET", "/v2/quay.io/a/one"+p, "Accept", acceptAll); resp.StatusCode != want {
				t.Errorf("%s: %d, want %d", p, resp.StatusCode, want)
			}
		}
		if resp, _ := get(t, hs, "GET", "/v2/quay.io/a/one/manifests/keep", "Accept", acceptAll); resp.Header.Get("Docker-Content-Digest") != keep.Digest.String() {
			t.Errorf("the neighbour: %d", resp.StatusCode)
		}
	}
	gone(hs, 200)
	// A manifest goes with all of its tags.
	if resp, body := get(t, hs, "DELETE", "/v2/quay.io/a/one/manifests/"+one.Digest.String()); resp.StatusCode != 202 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	gone(hs, 404)
	if got := tagsOf(t, hs, "quay.io/a/one"); !slices.Equal(got, []string{"keep"}) {
		t.Errorf("tags %q", got)
	}
	if resp, _ := get(t, hs, "DELETE", "/v2/quay.io/a/one/manifests/"+one.Digest.String()); resp.StatusCode != 404 {
		t.Errorf("deleting twice: %d", resp.StatusCode)
	}
	// A blob goes from its repository only.
	layer := digest.FromString("layer").String()
	if resp, _ := get(t, hs, "DELETE", "/v2/quay.io/a/one/blobs/"+layer); resp.StatusCode != 202 {
		t.Errorf("deleting a blob: %d", resp.StatusCode)
	}
	if resp, _ := get(t, hs, "GET", "/v2/quay.io/a/one/blobs/"+layer); resp.StatusCode != 404 {
		t.Errorf("the deleted blob: %d", resp.StatusCode)
	}
	if resp, _ := get(t, hs, "GET", "/v2/a/one/blobs/"+layer); resp.StatusCode != 200 {
		t.Errorf("the blob in the other repository: %d", resp.StatusCode)
	}
	// A tag alone.
	if resp, _ := get(t, hs, "DELETE", "/v2/a/one/manifests/1"); resp.StatusCode != 202 {
		t.Errorf("deleting a tag: %d", resp.StatusCode)
	}
	if got := tagsOf(t, hs, "a/one"); !slices.Equal(got, []string{"alias", "keep"}) {
		t.Errorf("tags %q", got)
	}
	hs.Close()
	_ = s.Close()
	_, hs = start(t, Options{Writable: dir}, f)
	gone(hs, 404)

	// What was deleted can be pushed again.
	raw, _ := f.get(one.Digest)
	resp, body := send(t, hs, "PUT", "/v2/quay.io/a/one/manifests/1", bytes.NewReader(raw), "Content-Type", one.MediaType)
	if resp.StatusCode != 400 || !strings.Contains(string(body), "BLOB_UNKNOWN") {
		t.Errorf("a manifest without its deleted blob: %d %s", resp.StatusCode, body)
	}
	resp, body = send(t, hs, "POST", "/v2/quay.io/a/one/blobs/uploads/?mount="+layer+"&from=a/one", nil)
	if resp.StatusCode != 201 {
		t.Errorf("mounting the blob: %d %s", resp.StatusCode, body)
	}
	resp, body = send(t, hs, "PUT", "/v2/quay.io/a/one/manifests/1", bytes.NewReader(raw), "Content-Type", one.MediaType)
	if resp.StatusCode != 201 {
		t.Fatalf("pushing it again: %d %s", resp.StatusCode, body)
	}
	if err := pull(t, hs.URL, "quay.io/a/one:1"); err != nil {
		t.Error(err)
	}
}

func TestOverlayTakesOnlySHA256(t *testing.T) {
	f := newFake("b")
	_, hs := start(t, Options{Writable: t.TempDir()}, f)
	d := digest.SHA512.FromString("x").String()
	for _, c := range [][2]string{
		{"POST", "/v2/a/b/blobs/uploads/?digest=" + d},
		{"POST", "/v2/a/b/blobs/uploads/?from=c/d&mount=" + d},
		{"PUT", "/v2/a/b/blobs/uploads/1?digest=" + d},
		{"PUT", "/v2/a/b/manifests/" + d},
	} {
		if resp, body := send(t, hs, c[0], c[1], strings.NewReader("x")); resp.StatusCode != 400 || !strings.Contains(string(body), "only sha256") {
			t.Errorf("%s %s: %d %s", c[0], c[1], resp.StatusCode, body)
		}
	}
}

func TestOverlayThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake("b")
	if _, err := New([]Bundle{f.bundle()}, Options{Writable: filepath.Join(file, "sub")}); err == nil || !strings.Contains(err.Error(), "overlay") {
		t.Errorf("err = %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "o", whiteoutRoot), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "o", whiteoutRoot, "x"), []byte("/docker"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New([]Bundle{f.bundle()}, Options{Writable: filepath.Join(dir, "o")}); err == nil {
		t.Error("a mark that nobody made is believed")
	}
}

func TestReferrersOfBundleAndOverlay(t *testing.T) {
	f := newFake("b")
	img := f.tagged(t, "quay.io/a/one:1", "x")
	sbom := f.attach(t, "quay.io/a/one", img, "application/spdx+json", "sbom")
	sig := f.attach(t, "quay.io/a/one:sha256-"+img.Digest.Encoded()+".sig", img, "application/vnd.dev.sigstore.bundle.v0.3+json", "sig")
	f.tagged(t, "quay.io/a/two:1", "y")
	_, hs := start(t, Options{Writable: t.TempDir()}, f)
	list := func(path string) (ocispec.Index, string) {
		t.Helper()
		resp, body := get(t, hs, "GET", path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		var idx ocispec.Index
		if err := json.Unmarshal(body, &idx); err != nil {
			t.Fatal(err)
		}
		if idx.SchemaVersion != 2 || idx.MediaType != ocispec.MediaTypeImageIndex || !bytes.Contains(body, []byte(`"manifests":[`)) {
			t.Errorf("%s: %s", path, body)
		}
		return idx, resp.Header.Get("OCI-Filters-Applied")
	}
	digests := func(idx ocispec.Index) []string {
		all := []string{}
		for _, m := range idx.Manifests {
			all = append(all, m.Digest.String())
		}
		return all
	}
	both := []string{sbom.Digest.String(), sig.Digest.String()}
	slices.Sort(both)
	for _, repo := range []string{"quay.io/a/one", "a/one"} {
		idx, _ := list("/v2/" + repo + "/referrers/" + img.Digest.String())
		if !slices.Equal(digests(idx), both) {
			t.Errorf("%s: %q, want %q", repo, digests(idx), both)
		}
	}
	idx, applied := list("/v2/a/one/referrers/" + img.Digest.String() + "?ns=quay.io&artifactType=application%2Fspdx%2Bjson")
	if len(idx.Manifests) != 1 || applied != "artifactType" {
		t.Fatalf("filtered: %v %q", idx.Manifests, applied)
	}
	m := idx.Manifests[0]
	if m.Digest != sbom.Digest || m.Size != sbom.Size || m.ArtifactType != "application/spdx+json" || m.MediaType != ocispec.MediaTypeImageManifest || m.Annotations["content"] != "sbom" {
		t.Errorf("descriptor %+v", m)
	}
	if idx, _ := list("/v2/quay.io/a/two/referrers/" + img.Digest.String()); len(idx.Manifests) != 0 {
		t.Errorf("another repository: %v", idx.Manifests)
	}
	for path, want := range map[string]int{
		"/v2/no/such/referrers/" + img.Digest.String(): 404,
		"/v2/a/one/referrers/sha256:12":                400,
		"/v2/a/one/referrers/latest":                   400,
		"/v2/A/one/referrers/" + img.Digest.String():   404,
		"/v2/../x/referrers/" + img.Digest.String():    400,
	} {
		if resp, _ := get(t, hs, "GET", path); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, body := get(t, hs, "HEAD", "/v2/a/one/referrers/"+img.Digest.String()); resp.StatusCode != 200 || len(body) != 0 {
		t.Errorf("HEAD: %d", resp.StatusCode)
	}
	// The signature's tag answers like any other.
	if resp, _ := get(t, hs, "GET", "/v2/a/one/manifests/sha256-"+img.Digest.Encoded()+".sig", "Accept", acceptAll); resp.StatusCode != 200 {
		t.Errorf("signature tag: %d", resp.StatusCode)
	}

	// A referrer that is pushed counts at once, and until it is deleted.
	doc := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vex",
		Config:  f.blobOf(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers:  []ocispec.Descriptor{},
		Subject: &ocispec.Descriptor{MediaType: img.MediaType, Digest: img.Digest, Size: img.Size},
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	pushed := digest.FromBytes(raw).String()
	resp, body := send(t, hs, "PUT", "/v2/quay.io/a/one/manifests/"+pushed, bytes.NewReader(raw), "Content-Type", ocispec.MediaTypeImageManifest)
	if resp.StatusCode != 201 || resp.Header.Get("OCI-Subject") != img.Digest.String() {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	if idx, _ := list("/v2/quay.io/a/one/referrers/" + img.Digest.String()); !slices.Contains(digests(idx), pushed) || len(idx.Manifests) != 3 {
		t.Errorf("after the push: %q", digests(idx))
	}
	for _, d := range []string{pushed, sbom.Digest.String()} {
		if resp, _ := get(t, hs, "DELETE", "/v2/quay.io/a/one/manifests/"+d); resp.StatusCode != 202 {
			t.Errorf("deleting %s: %d", d, resp.StatusCode)
		}
	}
	if idx, _ := list("/v2/quay.io/a/one/referrers/" + img.Digest.String()); !slices.Equal(digests(idx), []string{sig.Digest.String()}) {
		t.Errorf("after the deletions: %q", digests(idx))
	}
	// A manifest that is refused says nothing of its subject.
	if resp, _ := send(t, hs, "PUT", "/v2/quay.io/a/one/manifests/"+pushed, bytes.NewReader(append(raw, ' ')), "Content-Type", ocispec.MediaTypeImageManifest); resp.StatusCode < 400 || resp.Header.Get("OCI-Subject") != "" {
		t.Errorf("a refused push: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := send(t, hs, "PUT", "/v2/quay.io/a/one/manifests/big", bytes.NewReader(make([]byte, maxManifest+2)), "Content-Type", ocispec.MediaTypeImageManifest); resp.StatusCode != 400 {
		t.Errorf("a manifest over the limit: %d", resp.StatusCode)
	}
}
