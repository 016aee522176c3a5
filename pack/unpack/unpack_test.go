package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// bundleOf makes a bundle of one image and a root file system of one layer.
func bundleOf(t *testing.T, mediaType string, layer []byte) (*archive.Reader, *ocispec.Manifest, string) {
	t.Helper()
	content := map[digest.Digest][]byte{}
	var blobs []archive.Blob
	put := func(mediaType string, data []byte) ocispec.Descriptor {
		d := digest.FromBytes(data)
		if content[d] == nil {
			content[d] = data
			blobs = append(blobs, archive.Blob{Digest: d, Size: int64(len(data))})
		}
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	manifest := func(m ocispec.Manifest) ocispec.Descriptor {
		m.SchemaVersion, m.MediaType = 2, ocispec.MediaTypeImageManifest
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return put(m.MediaType, raw)
	}
	m := ocispec.Manifest{Config: put(ocispec.MediaTypeImageConfig, []byte(`{"a":1}`)), Layers: []ocispec.Descriptor{put(mediaType, layer)}}
	image := manifest(ocispec.Manifest{Config: put(ocispec.MediaTypeImageConfig, []byte(`{"b":1}`)), Layers: []ocispec.Descriptor{put(ocispec.MediaTypeImageLayer, []byte("image layer"))}})
	chart := manifest(ocispec.Manifest{Config: put("application/vnd.cncf.helm.config.v1+json", []byte(`{"c":1}`)), Layers: []ocispec.Descriptor{put("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart"))}})
	var index ocispec.Index
	for _, e := range []struct {
		d         ocispec.Descriptor
		kind, ref string
	}{{manifest(m), archive.KindBundle, "bundle/x:1"}, {image, archive.KindImage, "r.io/app:1"}, {chart, archive.KindChart, "charts/shop:0.1.0"}} {
		e.d.Annotations = map[string]string{archive.AnnotationKind: e.kind, archive.AnnotationRef: e.ref}
		index.Manifests = append(index.Manifests, e.d)
	}
	plan, err := archive.NewPlan(index, blobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "b.tar.zst")
	w, err := archive.Create(path, plan, archive.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		err := w.WriteBlob(t.Context(), b.Digest, func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content[b.Digest][offset:])), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return open(t, path), &m, path
}

func open(t *testing.T, path string) *archive.Reader {
	t.Helper()
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	return r
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, h := range headers {
		body := ""
		if h.Typeflag == tar.TypeReg {
			body = "content of " + h.Name
			h.Size = int64(len(body))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestFilesStayInside extracts layers that try to write elsewhere: by name, by
// a link that leads out, and by a link in place of a folder.
func TestFilesStayInside(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"name":          {{Typeflag: tar.TypeReg, Name: "../../evil"}},
		"absolute":      {{Typeflag: tar.TypeReg, Name: "/evil"}},
		"link":          {{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "../../.."}, {Typeflag: tar.TypeReg, Name: "a/evil"}},
		"absolute link": {{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/"}, {Typeflag: tar.TypeReg, Name: "a/tmp/evil"}},
		"link to file":  {{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "../victim"}, {Typeflag: tar.TypeReg, Name: "a"}},
	} {
		r, m, _ := bundleOf(t, ocispec.MediaTypeImageLayer, tarOf(t, headers...))
		top := t.TempDir()
		dir := filepath.Join(top, "x", "out")
		victim := filepath.Join(top, "x", "victim")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		// It may end in an error or inside; it may not touch anything else.
		_, _ = Files(t.Context(), r, m, "", dir)
		if got, err := os.ReadFile(victim); err != nil || string(got) != "mine" {
			t.Errorf("%s: the file beside the folder is now %q, %v", name, got, err)
		}
		err := filepath.Walk(top, func(p string, _ os.FileInfo, err error) error {
			if err == nil && filepath.Base(p) == "evil" && !strings.HasPrefix(p, dir+string(filepath.Separator)) {
				t.Errorf("%s: wrote %s", name, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFiles(t *testing.T) {
	plain := tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "etc/"}, tar.Header{Typeflag: tar.TypeReg, Name: "etc/a", Mode: 0o644},
		tar.Header{Typeflag: tar.TypeReg, Name: "etcetera"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "etc/l", Linkname: "a"})
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for mediaType, layer := range map[string][]byte{
		ocispec.MediaTypeImageLayer: plain, ocispec.MediaTypeImageLayerZstd: enc.EncodeAll(plain, nil),
	} {
		r, m, _ := bundleOf(t, mediaType, layer)
		dir := t.TempDir()
		n, err := Files(t.Context(), r, m, "/etc", dir)
		if err != nil || n != 3 {
			t.Fatalf("%s: %d files, %v", mediaType, n, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "etc", "l")); err != nil || string(got) != "content of etc/a" {
			t.Errorf("%s: etc/l is %q, %v", mediaType, got, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "etcetera")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file that nobody asked for is there", mediaType)
		}
		if _, err := Files(t.Context(), r, m, "none", dir); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", mediaType, err)
		}
	}
}

// TestDamageIsNotExtracted flips one byte of a layer and of a chart and wants
// nothing of them on disk under their names.
func TestDamageIsNotExtracted(t *testing.T) {
	_, m, path := bundleOf(t, ocispec.MediaTypeImageLayer, tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "file"}))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"content of file", "image layer", "chart"} {
		broken := bytes.Clone(data)
		at := bytes.LastIndex(broken, []byte(what))
		if at < 0 {
			t.Fatalf("%q is not in the file", what)
		}
		broken[at] ^= 1
		p := filepath.Join(t.TempDir(), "broken.tar.zst")
		if err := os.WriteFile(p, broken, 0o644); err != nil {
			t.Fatal(err)
		}
		r, dir := open(t, p), t.TempDir()
		switch what {
		case "content of file":
			_, err = Files(t.Context(), r, m, "file", dir)
		case "image layer":
			err = Image(t.Context(), r, "r.io/app:1", dir, nil)
		default:
			_, err = Chart(r, "shop", "", dir)
		}
		if !errors.Is(err, archive.ErrDamaged) && !errors.Is(err, archive.ErrDigest) {
			t.Errorf("%s: %v", what, err)
		}
		for _, left := range []string{"file", "shop-0.1.0.tgz", "index.json"} {
			if _, err := os.Lstat(filepath.Join(dir, left)); err == nil {
				t.Errorf("%s is damaged and %s is there", what, left)
			}
		}
	}
}

func TestLayout(t *testing.T) {
	r, _, _ := bundleOf(t, ocispec.MediaTypeImageLayer, tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "file"}))
	dir := t.TempDir()
	var done int64
	if err := Layout(t.Context(), r, dir, func(n int64) { done += n }); err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil || !bytes.Equal(index, r.IndexBytes()) {
		t.Errorf("index.json differs: %v", err)
	}
	for _, b := range r.Blobs() {
		data, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", b.Digest.Encoded()))
		if err != nil || digest.FromBytes(data) != b.Digest {
			t.Errorf("blob %s: %v", b.Digest, err)
		}
		done -= b.Size
	}
	if done < 0 {
		t.Errorf("progress misses %d bytes", -done)
	}
	// A blob that a bad disk changed meanwhile is written anew.
	p := filepath.Join(dir, "blobs", "sha256", r.Blobs()[0].Digest.Encoded())
	if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Layout(t.Context(), r, dir, nil); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(p); err != nil || digest.FromBytes(data) != r.Blobs()[0].Digest {
		t.Errorf("a damaged blob was kept: %v", err)
	}
	if err := Image(t.Context(), r, "r.io/none:1", dir, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	if got, err := Chart(r, "shop", "0.1.0", dir); err != nil || filepath.Base(got) != "shop-0.1.0.tgz" {
		t.Errorf("chart: %s, %v", got, err)
	}
}
