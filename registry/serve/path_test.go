package serve

import (
	"io"
	"slices"
	"strings"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

const someHex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

var paths = []struct {
	path string
	kind nodeKind
}{
	{"/", nodeFixed},
	{"/docker/registry/v2", nodeFixed},
	{"/docker/registry/v2/blobs/sha256", nodeFixed},
	{"/docker/registry/v2/blobs/sha256/9f/" + someHex, nodeBlobDir},
	{"/docker/registry/v2/blobs/sha256/9f/" + someHex + "/data", nodeBlobData},
	{"/docker/registry/v2/blobs/sha256/00/" + someHex + "/data", nodeNone},
	{"/docker/registry/v2/blobs/sha256/9f", nodeNone},
	{"/docker/registry/v2/blobs/sha512/9f/" + someHex, nodeNone},
	{"/docker/registry/v2/repositories", nodeName},
	{"/docker/registry/v2/repositories/quay.io/a", nodeName},
	{"/docker/registry/v2/repositories/a/_layers", nodeLayers},
	{"/docker/registry/v2/repositories/a/_layers/sha256", nodeLayersAlgo},
	{"/docker/registry/v2/repositories/a/_layers/sha256/" + someHex, nodeLayer},
	{"/docker/registry/v2/repositories/a/_layers/sha256/" + someHex + "/link", nodeLayerLink},
	{"/docker/registry/v2/repositories/a/_layers/sha256/" + someHex + "/other", nodeNone},
	{"/docker/registry/v2/repositories/a/b/_manifests", nodeManifests},
	{"/docker/registry/v2/repositories/a/b/_manifests/revisions", nodeRevisions},
	{"/docker/registry/v2/repositories/a/b/_manifests/revisions/sha256/" + someHex + "/link", nodeRevisionLink},
	{"/docker/registry/v2/repositories/a/b/_manifests/tags", nodeTags},
	{"/docker/registry/v2/repositories/a/b/_manifests/tags/_x", nodeTag},
	{"/docker/registry/v2/repositories/a/b/_manifests/tags/..", nodeNone},
	{"/docker/registry/v2/repositories/a/b/_manifests/tags/1/current", nodeTagCurrent},
	{"/docker/registry/v2/repositories/a/b/_manifests/tags/1/current/link", nodeTagCurrentLink},
	{"/docker/registry/v2/repositories/a/b/_manifests/tags/1/index/sha256/" + someHex + "/link", nodeTagIndexLink},
	{"/docker/registry/v2/repositories/a/b/_uploads/1/data", nodeNone},
	{"/docker/registry/v2/repositories/_manifests", nodeNone},
	{"/docker/registry/v2/repositories/a/../b/_manifests", nodeNone},
	{"/docker/registry/v2/repositories//a", nodeNone},
	{"/etc/passwd", nodeNone},
	{"", nodeNone},
}

func TestPaths(t *testing.T) {
	for _, c := range paths {
		nd := parsePath(c.path)
		if nd.kind != c.kind {
			t.Errorf("%s: kind %d, want %d", c.path, nd.kind, c.kind)
		}
		if c.kind != nodeNone && nd.path() != c.path {
			t.Errorf("%s is spelled %s", c.path, nd.path())
		}
	}
}

// A path that is understood is spelled back the same, names no parent folder,
// and can be asked of the driver whatever it is.
func FuzzPath(f *testing.F) {
	for _, c := range paths {
		f.Add(c.path)
	}
	b := newFake("b")
	m := b.image([]byte("layer"))
	d := b.entry(f, "image", "quay.io/a/b:1", m.MediaType, m)
	f.Add(node{kind: nodeRevisionLink, repo: "a/b", digest: d.Digest}.path())
	f.Add(node{kind: nodeTagCurrentLink, repo: "a/b", tag: "1"}.path())
	s := newServer(f, Options{}, b)
	f.Fuzz(func(t *testing.T, p string) {
		nd := parsePath(p)
		if nd.kind != nodeNone {
			if got := nd.path(); got != p {
				t.Fatalf("%q is spelled %q", p, got)
			}
			if slices.Contains(strings.Split(p, "/"), "..") {
				t.Fatalf("%q leads upwards", p)
			}
		}
		info, err := s.driver.Stat(t.Context(), p)
		if (err == nil) != (info != nil) {
			t.Fatalf("Stat: %v, %v", info, err)
		}
		content, cerr := s.driver.GetContent(t.Context(), p)
		list, lerr := s.driver.List(t.Context(), p)
		if err != nil {
			if cerr == nil || lerr == nil {
				t.Fatalf("%q is not there, but has content or children", p)
			}
			return
		}
		if info.IsDir() == (cerr == nil) || info.IsDir() != (lerr == nil) {
			t.Fatalf("%q: folder %v, content %v, list %v", p, info.IsDir(), cerr, lerr)
		}
		if cerr == nil && int64(len(content)) != info.Size() {
			t.Fatalf("%q: %d bytes, size %d", p, len(content), info.Size())
		}
		for _, child := range list {
			if _, err := s.driver.Stat(t.Context(), child); err != nil {
				t.Fatalf("%q lists %q: %v", p, child, err)
			}
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		"/v2/", "/v2/_catalog", "/v2/a/manifests/1", "/v2/a/b/manifests/manifests/1", "/v2/a/blobs/sha256:" + someHex,
		"/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1", "/v2/a/tags/list", "/v2/tags/tags/list", "/v2/a/referrers/sha256:12", "/v2//tags/list", "/v2/manifests/1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if tg := parseTarget(p); tg.kind != targetOther && "/v2/"+tg.name+tg.tail != p {
			t.Fatalf("%q is taken for %+v", p, tg)
		}
	})
}

// The tree that the distribution project walks holds everything, and nothing
// that cannot be read.
func TestTreeIsWhole(t *testing.T) {
	f, _ := world(t)
	s := newServer(t, Options{}, f)
	links, folders := 0, 0
	err := s.driver.Walk(t.Context(), "/", func(info storagedriver.FileInfo) error {
		if info.IsDir() {
			folders++
			return nil
		}
		links++
		b, err := s.driver.GetContent(t.Context(), info.Path())
		if err != nil {
			return err
		}
		if _, err := digest.Parse(string(b)); err != nil {
			t.Errorf("%s holds %q", info.Path(), b)
		}
		rc, err := s.driver.Reader(t.Context(), info.Path(), 3)
		if err != nil {
			return err
		}
		defer func() { _ = rc.Close() }()
		rest, err := io.ReadAll(rc)
		if err != nil || string(rest) != string(b[3:]) {
			t.Errorf("%s from 3: %q, %v", info.Path(), rest, err)
		}
		if info.ModTime().IsZero() {
			t.Errorf("%s has no time", info.Path())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// pause, nginx, tool and the chart and the bundle, the first three twice,
	// and mine once: 2 links for the tag, 1 for the manifest, 1 for each blob.
	if want := 9*3 + 2*2 + 2*4 + 2*3 + 2 + 2 + 2; links != want {
		t.Errorf("%d links, want %d", links, want)
	}
	if folders == 0 {
		t.Error("no folders")
	}
}

func TestReadOnlyDriverRefusesWrites(t *testing.T) {
	f, _ := world(t)
	d := newServer(t, Options{}, f).driver
	p := "/docker/registry/v2/repositories/pause/_manifests/tags/3.9"
	_, werr := d.Writer(t.Context(), p, false)
	for name, err := range map[string]error{
		"PutContent": d.PutContent(t.Context(), p, nil),
		"Writer":     werr,
		"Move":       d.Move(t.Context(), p, p+"x"),
		"Delete":     d.Delete(t.Context(), p),
	} {
		if _, ok := err.(storagedriver.ErrUnsupportedMethod); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Reader(t.Context(), p, -1); err == nil {
		t.Error("a negative offset is taken")
	}
	if u, err := d.RedirectURL(nil, p); u != "" || err != nil {
		t.Errorf("RedirectURL: %q, %v", u, err)
	}
	if _, err := (driverFactory{}).Create(t.Context(), nil); err == nil {
		t.Error("a driver without bundles was made")
	}
}
