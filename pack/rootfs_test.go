package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// contextOf makes a folder with files of these names and contents.
func contextOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func layerBytes(t *testing.T, r *rootfs) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := r.writeLayer(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestLayerIsReproducible wants the same bytes from the same files, whatever
// their times, their owners' bits and the order in which they were added.
func TestLayerIsReproducible(t *testing.T) {
	files := map[string]string{"a/x": "1", "a/y/z": "2", "b": "3"}
	one, two := newRootfs(), newRootfs()
	first, second := contextOf(t, files), contextOf(t, files)
	if err := os.Chtimes(filepath.Join(second, "b"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(second, "b"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, add := range []struct {
		r        *rootfs
		dir, src string
	}{{one, first, "a"}, {one, first, "b"}, {two, second, "b"}, {two, second, "a"}} {
		if err := add.r.copyTree(filepath.Join(add.dir, add.src), "root/"+add.src, "Kubefile:1"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(layerBytes(t, one), layerBytes(t, two)) {
		t.Error("the same files give different layers")
	}
	tr := tar.NewReader(bytes.NewReader(layerBytes(t, one)))
	var names []string
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if got, want := strings.Join(names, " "), "root/ root/a/ root/a/x root/a/y/ root/a/y/z root/b"; got != want {
		t.Errorf("layer holds %s, want %s", got, want)
	}
}

// TestContextChangedMeanwhile wants a build to stop when a file is not what it
// was when the layout was made.
func TestContextChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]string{"other content": "34", "shorter": "3", "longer": "345", "gone": ""} {
		dir := contextOf(t, map[string]string{"f": "12"})
		r := newRootfs()
		if err := r.copyTree(dir, "", "Kubefile:2"); err != nil {
			t.Fatal(err)
		}
		layerBytes(t, r)
		p := filepath.Join(dir, "f")
		err := os.Remove(p)
		if err == nil && change != "" {
			err = os.WriteFile(p, []byte(change), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = r.writeLayer(io.Discard)
		if change == "" {
			if err == nil || !strings.Contains(err.Error(), "Kubefile:2") || !strings.Contains(err.Error(), "does not exist") {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, errContextChanged) || !strings.Contains(err.Error(), "Kubefile:2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingLeavesTheTree wants every destination to stay inside.
func TestNothingLeavesTheTree(t *testing.T) {
	for in, want := range map[string]string{
		"": ".", ".": ".", "/": ".", "../..": ".", "a/../..": ".", "/etc/x": "etc/x", "../../etc": "etc", "./a//b/": "a/b",
	} {
		if got := cleanRootPath(in); got != want {
			t.Errorf("cleanRootPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	dir := contextOf(t, map[string]string{"file": "x", "folder/y": "z"})
	r := newRootfs()
	if err := r.copyTree(filepath.Join(dir, "none"), "a", "Kubefile:3"); err == nil || !strings.Contains(err.Error(), "Kubefile:3: COPY: ") || !strings.Contains(err.Error(), "none does not exist") {
		t.Errorf("missing source: %v", err)
	}
	if err := r.copyTree(filepath.Join(dir, "file"), "etc", "Kubefile:4"); err != nil {
		t.Fatal(err)
	}
	if err := r.copyTree(filepath.Join(dir, "folder"), "etc/sub", "Kubefile:5"); err == nil || !strings.Contains(err.Error(), "which is a file (Kubefile:4)") {
		t.Errorf("a folder below a file: %v", err)
	}
}
