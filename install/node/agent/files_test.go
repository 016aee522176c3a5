package agent

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed makes the stream that Files reads.
func packed(t *testing.T, c content) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for p, text := range c {
		mode := int64(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		must(t, tw.WriteHeader(&tar.Header{Name: p, Mode: mode, Size: int64(len(text)), Typeflag: tar.TypeReg}))
		_, err := tw.Write([]byte(text))
		must(t, err)
	}
	must(t, tw.Close())
	return &buf
}

func TestTheSitesFilesLieOverTheBundles(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", baseFiles, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	pull := func(state string) {
		t.Helper()
		r, err := Pull(t.Context(), options(to, s))
		must(t, err)
		if r.State != state {
			t.Errorf("pull: %+v, want %s", r, state)
		}
	}
	lay := func(c content, written, unchanged, restored int) {
		t.Helper()
		r, err := Files(t.Context(), to, packed(t, c))
		must(t, err)
		if *r != (FilesResult{written, unchanged, restored}) {
			t.Errorf("files: %+v", *r)
		}
		want := merged(baseFiles, ownFiles)
		for p, text := range c {
			want[p] = text
		}
		same(t, to, want)
	}
	pull(Unpacked)
	first := content{"etc/replaced.conf": "the site's", "etc/new/deep.conf": "new", "scripts/init.sh": "#!/bin/sh\n", "scripts/link": "a file now"}
	lay(first, 4, 0, 0)
	lay(first, 0, 4, 0)
	pull(Unchanged) // the site's files are no damage
	first["etc/replaced.conf"] = "the site's, changed"
	lay(first, 1, 3, 0)
	// What is no longer named is the bundle's again.
	lay(content{"scripts/init.sh": "#!/bin/sh\n"}, 0, 1, 3)
	pull(Unchanged)
	// A file of the site that somebody damaged becomes the bundle's, and then the site's again.
	must(t, os.WriteFile(filepath.Join(to, "scripts/init.sh"), []byte("#!"), 0o755))
	pull(Repaired)
	same(t, to, merged(baseFiles, ownFiles))
	lay(content{"scripts/init.sh": "#!/bin/sh\n"}, 1, 0, 0)
	lay(nil, 0, 0, 1)
	pull(Unchanged)
}

func TestARunOfFilesThatWasKilledLosesNoOriginal(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", nil, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	_, err := Pull(t.Context(), options(to, s))
	must(t, err)
	root, err := os.OpenRoot(to)
	must(t, err)
	defer root.Close()
	given := content{"etc/replaced.conf": "the site's", "new": "new"}
	read, err := readFiles(t.Context(), packed(t, given))
	must(t, err)
	// Killed right after the list was written, and again after the files were.
	must(t, writeJSON(root, overlayName, overlay{"etc/replaced.conf": read["etc/replaced.conf"].overlaid, "new": read["new"].overlaid}))
	_, err = Files(t.Context(), to, packed(t, given))
	must(t, err)
	given["new"] = "newer"
	_, err = Files(t.Context(), to, packed(t, given))
	must(t, err)
	same(t, to, merged(ownFiles, given))
	_, err = Files(t.Context(), to, packed(t, nil))
	must(t, err)
	same(t, to, ownFiles)
}

func TestFilesThatCannotBeAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", nil, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	if _, err := Files(t.Context(), to, packed(t, nil)); err == nil || hintOf(err) == "" {
		t.Errorf("no root file system: %v", err)
	}
	_, err := Pull(t.Context(), options(to, s))
	must(t, err)
	outside := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(to, "out")))
	for name, c := range map[string]content{
		"way out":     {"../x": "x"},
		"absolute":    {"/x": "x"},
		"unclean":     {"a/../x": "x"},
		"marker":      {".bundle.json": "x"},
		"originals":   {".bundle-orig/etc/x": "x"},
		"a folder":    {"etc": "x"},
		"past a link": {"out/x": "x"},
	} {
		if _, err := Files(t.Context(), to, packed(t, c)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("outside of the root file system: %v", list)
	}
	if _, err := Files(t.Context(), to, strings.NewReader("this is no tar")); !errors.Is(err, ErrOptions) {
		t.Errorf("no tar: %v", err)
	}
}
