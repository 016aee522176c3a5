package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"bundle/manifest"
)

func TestView(t *testing.T) {
	root := memory{
		"charts/a/Chart.yaml":  "name: a\n",
		"charts/a/values.yaml": "old",
		"x:bin/kubectl":        "elf",
		"etc/abs":              "->/charts/a/values.yaml",
		"etc/up":               "->../../../../charts",
		"etc/self":             "->self",
		"etc/gone":             "->/root/.ssh/id_rsa",
		"empty/":               "",
	}
	v := View(root, Result{Files: []File{
		{Path: "charts/a/values.yaml", Mode: 0o600, Data: []byte("new")},
		{Path: "manifests/n.yaml", Mode: 0o644, Data: []byte("n")},
	}})
	if err := fstest.TestFS(v, "charts/a/values.yaml", "bin/kubectl", "manifests/n.yaml", "empty"); err != nil {
		// Package fstest wants every entry to open; two links lead nowhere.
		var dangling bool
		for _, e := range unjoin(err) {
			dangling = dangling || !errors.Is(e, fs.ErrNotExist) && !errors.Is(e, errLoop)
		}
		if dangling {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{
		"charts/a/values.yaml": "new", "etc/abs": "new", "etc/up/a/Chart.yaml": "name: a\n", "manifests/n.yaml": "n",
	} {
		got, err := v.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		f, err := v.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err = io.ReadAll(f)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if f.Close() != nil {
			t.Error("cannot be closed")
		}
		if _, err := f.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	for name, want := range map[string]error{
		"etc/self": errLoop, "etc/gone": fs.ErrNotExist, "none": fs.ErrNotExist, "../x": fs.ErrInvalid, "/etc": fs.ErrInvalid,
		"bin": errIsDir, "bin/kubectl/x": fs.ErrNotExist,
	} {
		if _, err := v.ReadFile(name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	for name, want := range map[string]fs.FileMode{
		"bin/kubectl": 0o755, "charts/a/values.yaml": 0o600, "charts/a/Chart.yaml": 0o644, "etc/abs": 0o600, "etc/up": 0o755 | fs.ModeDir, ".": 0o755 | fs.ModeDir,
	} {
		i, err := v.Stat(name)
		if err != nil || i.Mode() != want {
			t.Errorf("%s: mode %v, %v", name, i.Mode(), err)
		}
	}
	got, err := fs.Glob(v, "charts/*/*.yaml")
	if err != nil || !slices.Equal(got, []string{"charts/a/Chart.yaml", "charts/a/values.yaml"}) {
		t.Errorf("Glob: %v, %v", got, err)
	}
	if link, err := v.ReadLink("etc/up"); err != nil || link != "../../../../charts" {
		t.Errorf("ReadLink: %q, %v", link, err)
	}
	for _, name := range []string{"bin", "../x", "none/x", "etc/none"} {
		if _, err := v.ReadLink(name); err == nil {
			t.Errorf("ReadLink of %s", name)
		}
	}
	if i, err := v.Lstat("etc/up"); err != nil || i.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Lstat: %v, %v", i, err)
	}
	if _, err := v.ReadDir("bin/kubectl"); !errors.Is(err, errNotDir) {
		t.Errorf("ReadDir of a file: %v", err)
	}
	var walked int
	if err := fs.WalkDir(v, ".", func(string, fs.DirEntry, error) error { walked++; return nil }); err != nil || walked != 15 {
		t.Errorf("walked %d, %v", walked, err)
	}
}

func unjoin(err error) []error {
	var list []error
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, x := range e.Unwrap() {
			list = append(list, unjoin(x)...)
		}
		return list
	}
	return []error{err}
}

// TestViewOfOddLists: an inventory that contradicts itself gives a file system
// all the same, and nothing outside of it.
func TestViewOfOddLists(t *testing.T) {
	v := View(odd{}, Result{})
	if _, err := v.ReadFile("a"); err != nil {
		t.Error(err)
	}
	if _, err := v.Stat("a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in a file: %v", err)
	}
	if i, err := v.Stat("d"); err != nil || !i.IsDir() {
		t.Errorf("a folder that is a file too: %v, %v", i, err)
	}
	if _, err := v.ReadFile("etc/passwd"); err != nil {
		t.Error("a path that climbs ends at the root")
	}
	if _, err := v.ReadFile("x"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a failing source: %v", err)
	}
	f, _ := v.Open("x")
	if _, err := f.Read(nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a failing source: %v", err)
	}
	if _, err := f.(io.Seeker).Seek(0, 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a failing source: %v", err)
	}
}

type odd struct{}

func (odd) List() []manifest.File {
	return []manifest.File{
		{Path: "a", Type: "file"}, {Path: "a/b", Type: "file"}, {Path: "d", Type: "file"}, {Path: "d", Type: "dir"},
		{Path: "../../etc/passwd", Type: "file"}, {Path: "", Type: "dir"}, {Path: "s", Type: "socket"}, {Path: "x", Type: "file"},
		{Path: "d", Type: "dir", Mode: 0o700},
	}
}

func (odd) ReadFile(p string) ([]byte, error) {
	if p == "x" {
		return nil, fs.ErrPermission
	}
	return nil, nil
}
