package chart

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestChartOfAnFSIsTheChartOfTheDisk(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"app/Chart.yaml":                 "apiVersion: v2\nname: app\nversion: 1.0.0\n",
		"app/values.yaml":                "a: 1\n",
		"app/.helmignore":                "*.bak\n",
		"app/templates/a.yaml":           "kind: ConfigMap\n",
		"app/templates/a.yaml.bak":       "not this",
		"app/charts/sub/Chart.yaml":      "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
		"app/charts/sub/templates/b.yml": "kind: Secret\n",
	}
	for name, text := range files {
		p := dir + "/" + name
		if err := os.MkdirAll(p[:strings.LastIndexByte(p, '/')], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	disk, err := Load(dir + "/app")
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadFS(os.DirFS(dir), "app")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(disk.Files(), c.Files()) {
		t.Errorf("disk has %v, the FS %v", disk.Files(), c.Files())
	}
	if disk.Digest() != c.Digest() {
		t.Error("the digest depends on where the chart was loaded from")
	}
	tgz, err := c.Package()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := LoadFS(fstest.MapFS{"charts/app.tgz": {Data: tgz}}, "charts/app.tgz")
	if err != nil {
		t.Fatal(err)
	}
	if packed.Digest() != c.Digest() {
		t.Error("the digest changes when the chart is packed")
	}
	changed, err := c.WithFile("values.yaml", []byte("a: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	if changed.Digest() == c.Digest() {
		t.Error("the digest does not see a changed value")
	}
}

func TestChartOfAnFSIsBoundedAndNamed(t *testing.T) {
	fsys := fstest.MapFS{
		"big/Chart.yaml": {Data: []byte("apiVersion: v2\nname: big\nversion: 1.0.0\n")},
		"big/x":          {Data: make([]byte, 1000)},
		"file":           {Data: []byte("x")},
	}
	if _, err := (Loader{MaxBytes: 500}).LoadFS(fsys, "big"); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a chart above the limit gave %v", err)
	}
	if _, err := LoadFS(fsys, "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent chart gave %v", err)
	}
	if _, err := LoadFS(fsys, "file"); err == nil {
		t.Error("a file that is no chart was loaded")
	}
}
