package serve

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// file writes the bundle to disk as a real one.
func (f *fake) file(t testing.TB) string {
	t.Helper()
	var order []digest.Digest
	for d := range f.blobs {
		order = append(order, d)
	}
	slices.Sort(order)
	var blobs []archive.Blob
	for _, d := range order {
		b, err := archive.Measure(bytes.NewReader(f.blobs[d]))
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	index := f.index
	index.SchemaVersion = 2
	plan, err := archive.NewPlan(index, blobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), f.name+".tar.zst")
	w, err := archive.Create(path, plan, archive.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range order {
		if err := w.WriteBlob(t.Context(), d, func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(f.blobs[d][offset:])), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

// openFile opens a bundle file until the test ends.
func openFile(t testing.TB, path string) (Bundle, *archive.Reader) {
	t.Helper()
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	return Bundle{Name: filepath.Base(path), Content: Archive(r)}, r
}

func TestServeABundleFile(t *testing.T) {
	f := newFake("real")
	img := f.random(t, "quay.io/a/one:1", 3<<20, 2)
	text := bytes.Repeat([]byte("this packs well "), 1<<18)
	packed := f.entry(t, archive.KindImage, "quay.io/a/text:1", "application/vnd.oci.image.manifest.v1+json", f.image(text))
	path := f.file(t)
	b, r := openFile(t, path)
	s, err := New([]Bundle{b}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	addr, _ := serveOn(t, s)
	url := "http://" + addr
	hs := &testServer{url}
	got, err := remote.Image(hs.ref(t, "a/one:1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(got); err != nil {
		t.Error(err)
	}
	if err := pull(t, url, "quay.io/a/text:1"); err != nil {
		t.Error(err)
	}
	if _, status, _ := fetch(url+"/v2/a/text/manifests/"+packed.Digest.String(), "Accept", acceptAll); status != 200 {
		t.Errorf("%d", status)
	}
	d := digest.FromBytes(text)
	body, _, whole := fetch(url+"/v2/a/text/blobs/"+d.String(), "Range", "bytes=1048570-1048600")
	if !whole || !bytes.Equal(body, text[1048570:1048601]) {
		t.Error("a range of a packed blob is wrong")
	}
	if _, err := b.Content.Open(digest.FromString("nothing")); err == nil {
		t.Error("a blob that is not there opens")
	}

	// Somebody writes into the file behind our back.
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	hit := digest.Digest(h.String())
	off, n := r.Extent(hit)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	old := make([]byte, 1)
	if _, err := file.ReadAt(old, off+n/2); err != nil {
		t.Fatal(err)
	}
	old[0] ^= 0x40
	if _, err := file.WriteAt(old, off+n/2); err != nil {
		t.Fatal(err)
	}
	if _, _, whole := fetch(url + "/v2/a/one/blobs/" + hit.String()); whole {
		t.Error("the changed layer came as if all was well")
	}
	if err := pull(t, url, "quay.io/a/text:1"); err != nil {
		t.Errorf("another image: %v", err)
	}
}

// testServer is a server that is no httptest.Server.
type testServer struct{ url string }

func (s *testServer) host() string { return strings.TrimPrefix(s.url, "http://") }

// ref gives a reference to an image of the server.
func (s *testServer) ref(t testing.TB, ref string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s.host() + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
