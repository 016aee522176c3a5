package chart

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestValuesFile(t *testing.T) {
	dir := t.TempDir()
	write := func(content string) string {
		name := filepath.Join(dir, "values.yaml")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	v, err := ValuesFile(write("\ufeff# 值\na: {b: 1}\n---\na: {c: x}"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := v["a"].(map[string]any)
	if a["b"] != 1.0 || a["c"] != "x" {
		t.Errorf("got %v", v)
	}
	if v, err := ValuesFile(write("")); err != nil || len(v) != 0 {
		t.Errorf("empty: %v, %v", v, err)
	}
	for content, text := range map[string]string{"a: [": "line 1", "- a": "cannot unmarshal", "a: " + strings.Repeat("x", maxValuesBytes): "larger than 16 MiB"} {
		_, err := ValuesFile(write(content))
		if !errors.Is(err, ErrValues) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "values.yaml") {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	if _, err := ValuesFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := ValuesFile(dir); err == nil {
		t.Error("read a folder")
	}
}

// TestApplyConfigOverwrite: a Config replaces the whole file, and the user is
// told which of the chart's defaults are gone.
func TestApplyConfigOverwrite(t *testing.T) {
	old := []byte("image: x\ndataStorageClass: local\nnested: {a: 1}\n")
	for _, strategy := range []string{"", Overwrite} {
		a, err := ApplyConfig(old, strategy, []byte("dataStorageClass: open-local-lvm\nextra: 1\n"))
		if err != nil {
			t.Fatal(err)
		}
		if string(a.Data) != "dataStorageClass: open-local-lvm\nextra: 1\n" || !slices.Equal(a.Dropped, []string{"image", "nested"}) {
			t.Errorf("got %q, dropped %v", a.Data, a.Dropped)
		}
	}
	if a, err := ApplyConfig(nil, Overwrite, []byte("a: 1")); err != nil || string(a.Data) != "a: 1" || a.Dropped != nil {
		t.Errorf("new file: %v, %v", a, err)
	}
	if a, err := ApplyConfig([]byte("no: [mapping"), Overwrite, []byte("a: 1")); err != nil || a.Dropped != nil {
		t.Errorf("not YAML: %v, %v", a, err)
	}
}

// TestApplyConfigMerge holds what mergo v0.3 with WithOverride, sealer's
// library, was seen to do, one line a case.
func TestApplyConfigMerge(t *testing.T) {
	tests := []struct{ old, data, want string }{
		{"a: 1", "a: 2", "a: 2\n"},
		{"a: true", "a: false", "a: false\n"},
		{"a: 5", "a: 0", "a: 0\n"},
		{"a: x", "a: ''", "a: \"\"\n"},
		{"a: x", "a: null", "a: null\n"},
		{"a: [1, 2]", "a: [3]", "a:\n- 3\n"},
		{"a: [1, 2]", "a: []", "a: []\n"},
		{"a: {b: 1, c: 2}", "a: {b: 3}", "a:\n  b: 3\n  c: 2\n"},
		{"a: {b: true}", "a: {b: false}", "a:\n  b: false\n"},
		{"a: {b: 1}", "a: {}", "a:\n  b: 1\n"},
		{"a: {b: 1}", "a: 7", "a: 7\n"},
		{"a: 7", "a: {b: 1}", "a: 7\n"},
		{"b: 1", "a: {c: {d: 1}}", "a:\n  c:\n    d: 1\nb: 1\n"},
		{"a: null", "a: {c: 1}", "a:\n  c: 1\n"},
		{"a: {b: 1}", "a: null", "a: null\n"},
		{"a: [1]", "a: x", "a: x\n"},
		{"a: {b: {c: 1}}", "a: {b: {d: false}}", "a:\n  b:\n    c: 1\n    d: false\n"},
		{"---\na: 1\n---\n# 空\n---\nb: 2", "c: {d: 3}", "a: 1\nc:\n  d: 3\n---\nb: 2\nc:\n  d: 3\n"},
		{"", "a: 1", "a: 1\n"},
		{"a: 1", "", "a: 1\n"},
	}
	for _, tt := range tests {
		a, err := ApplyConfig([]byte(tt.old), Merge, []byte(tt.data))
		if err != nil || string(a.Data) != tt.want || a.Dropped != nil {
			t.Errorf("%q over %q: got %q, %v, want %q", tt.data, tt.old, a.Data, err, tt.want)
		}
	}
	if a, err := ApplyConfig(nil, Merge, []byte("a: 1 # kept")); err != nil || string(a.Data) != "a: 1 # kept" {
		t.Errorf("new file: %q, %v", a.Data, err)
	}
	for _, tt := range []struct{ old, strategy, data, text string }{
		{"a: 1", Merge, "- b", "the data of the Config: not usable values"},
		{"a: 1\n---\n- b", Merge, "a: 1", "document 2 of the file to merge into"},
		{"a: 1", "patch", "a: 1", `"patch" is neither overwrite nor merge`},
	} {
		if _, err := ApplyConfig([]byte(tt.old), tt.strategy, []byte(tt.data)); !errors.Is(err, ErrValues) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("got %v, want %q", err, tt.text)
		}
	}
}

// TestApplyConfigProfile: an override turns on a part of the chart whose image
// nobody sees with the defaults; and an overwrite loses the values that the
// chart requires.
func TestApplyConfigProfile(t *testing.T) {
	c := aecp(t)
	old, _ := c.File("values.yaml")
	a, err := ApplyConfig(old, Merge, []byte("monitor: {enabled: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.WithFile("values.yaml", a.Data)
	if err != nil {
		t.Fatal(err)
	}
	if got := render(t, d, RenderOptions{}); !strings.Contains(got, "ecp/prometheus:v2.30.0") {
		t.Error("the override has no effect")
	}
	a, err = ApplyConfig(old, Overwrite, []byte("storageClass: open-local-lvm\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(a.Dropped, "image") {
		t.Errorf("dropped %v", a.Dropped)
	}
	if d, err = c.WithFile("values.yaml", a.Data); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Render(t.Context(), RenderOptions{}); !errors.Is(err, ErrRender) {
		t.Errorf("a chart without its defaults: %v", err)
	}
}

func FuzzApplyConfig(f *testing.F) {
	f.Add("a: {b: 1}\n---\nc: 2", "a: {b: {c: 3}}")
	f.Add("- a", "b")
	f.Add("a: &a [*a]", "? x\n: y")
	f.Fuzz(func(t *testing.T, old, data string) {
		a, err := ApplyConfig([]byte(old), Merge, []byte(data))
		if err != nil {
			if !errors.Is(err, ErrValues) {
				t.Errorf("unclassed error %v", err)
			}
			return
		}
		// Putting the same over the result again changes nothing.
		b, err := ApplyConfig(a.Data, Merge, []byte(data))
		if err != nil || string(b.Data) != string(a.Data) {
			t.Errorf("%q over %q: %q, then %q, %v", data, old, a.Data, b.Data, err)
		}
		if _, err := ApplyConfig([]byte(old), Overwrite, []byte(data)); err != nil {
			t.Error(err)
		}
	})
}
