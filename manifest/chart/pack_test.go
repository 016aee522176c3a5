package chart

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/registry"
)

// TestPackageDeterministic: equal files give equal bytes, whatever their
// times and modes. The digest pins the format across versions of Go and of
// this tool: bundles of one lock must stay identical.
func TestPackageDeterministic(t *testing.T) {
	files := map[string]string{
		"Chart.yaml": chartYAML, "templates/中文.yaml": "a: 1", "values.yaml": "\ufeffb: 2",
		"files/" + string(bytes.Repeat([]byte("long/"), 60)) + "name": "x", "empty": "",
	}
	var all [][]byte
	for i := range 2 {
		dir := writeFolder(t, files)
		if i == 1 {
			if err := os.Chmod(filepath.Join(dir, "empty"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(filepath.Join(dir, "empty"), time.Unix(1, 0), time.Unix(2, 0)); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		data, err := Package(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Error("two packages differ")
	}
	const want = "sha256:bf45833f2eb864a4c5c8f3daafc1638b72ab732ea48687e9c3eac98889510907"
	if got := digest.FromBytes(all[0]); got != want {
		t.Errorf("the package is %s now, it was %s", got, want)
	}
}

// TestPackageLoads: Helm reads what we pack and renders the same from it.
func TestPackageLoads(t *testing.T) {
	c := aecp(t)
	data, err := c.Package()
	if err != nil {
		t.Fatal(err)
	}
	hc, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if hc.Name() != "aecp" || hc.Metadata.Version != c.Version || len(hc.Dependencies()) != 3 || len(hc.CRDObjects()) != 1 {
		t.Errorf("Helm reads %s %s", hc.Name(), hc.Metadata.Version)
	}
	d, err := LoadBytes("aecp.tgz", data)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := render(t, c, RenderOptions{}), render(t, d, RenderOptions{}); a != b {
		t.Error("the packed chart renders differently")
	}
	again, err := d.Package()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("an archive does not keep its bytes: %v", err)
	}
	// A changed archive is packed anew.
	e, err := d.WithFile("values.yaml", []byte("image: {tag: v2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := e.Package(); err != nil || bytes.Equal(changed, data) {
		t.Errorf("a changed chart keeps old bytes: %v", err)
	}
}

// TestStore covers content around the size of one stored block.
func TestStore(t *testing.T) {
	for _, n := range []int{0, 1, 65534, 65535, 65536, 131070, 200000} {
		data := bytes.Repeat([]byte("abc"), n)[:n]
		zr, err := gzip.NewReader(bytes.NewReader(store(data)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(zr)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestOCI: the artifact is what Helm's own client would push, without a time.
func TestOCI(t *testing.T) {
	a, err := OCI(aecp(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := OCI(aecp(t))
	if err != nil || !bytes.Equal(a.Manifest, b.Manifest) || !bytes.Equal(a.Config, b.Config) || !bytes.Equal(a.Layer, b.Layer) {
		t.Errorf("two artifacts differ: %v", err)
	}
	if MediaTypeConfig != registry.ConfigMediaType || MediaTypeLayer != registry.ChartLayerMediaType {
		t.Error("media types are not Helm's")
	}
	if a.Descriptor.Digest != digest.FromBytes(a.Manifest) || a.Descriptor.Size != int64(len(a.Manifest)) || a.Descriptor.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("descriptor %+v", a.Descriptor)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(a.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	if m.Config.MediaType != MediaTypeConfig || m.Config.Digest != digest.FromBytes(a.Config) || len(m.Layers) != 1 ||
		m.Layers[0].MediaType != MediaTypeLayer || m.Layers[0].Digest != digest.FromBytes(a.Layer) || m.Layers[0].Size != int64(len(a.Layer)) {
		t.Errorf("manifest %s", a.Manifest)
	}
	want := []string{
		"artifacthub.io/images", ocispec.AnnotationAuthors, ocispec.AnnotationDescription, ocispec.AnnotationSource,
		ocispec.AnnotationTitle, ocispec.AnnotationURL, ocispec.AnnotationVersion,
	}
	if got := slices.Sorted(maps.Keys(m.Annotations)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("annotations %v", got)
	}
	if m.Annotations[ocispec.AnnotationAuthors] != "平台组 (platform@example.com)" || m.Annotations[ocispec.AnnotationVersion] != "1.5.3+ce.1" {
		t.Errorf("annotations %v", m.Annotations)
	}
	var config struct{ Name, Version string }
	if err := json.Unmarshal(a.Config, &config); err != nil || config.Name != "aecp" || config.Version != "1.5.3+ce.1" {
		t.Errorf("config %s: %v", a.Config, err)
	}
	if hc, err := loader.LoadArchive(bytes.NewReader(a.Layer)); err != nil || hc.Name() != "aecp" {
		t.Errorf("layer: %v", err)
	}
	// A chart cannot lie about its own name and version.
	c, err := aecp(t).WithFile("Chart.yaml", []byte(chartYAML+"annotations: {org.opencontainers.image.title: x, org.opencontainers.image.url: u}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := annotations(c.meta); got[ocispec.AnnotationTitle] != "a" || got[ocispec.AnnotationURL] != "u" {
		t.Errorf("annotations %v", got)
	}
}
