package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs mounts a small disk.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestAFullDiskIsSaidBeforeAndWhileWriting(t *testing.T) {
	small := tmpfs(t, "1m")
	s := start(t, build(t, t.TempDir(), "app", baseFiles, ownFiles))
	to := filepath.Join(small, "data/rootfs")
	_, err := Pull(t.Context(), options(to, s))
	if !errors.Is(err, ErrSpace) || hintOf(err) == "" || !strings.Contains(err.Error(), "MiB more are needed") {
		t.Errorf("too small: %v", err)
	}
	// Room that goes away while it is written: more small files than there
	// are pages.
	many := content{}
	for i := range 400 {
		many["small/"+strings.Repeat("x", i%50+1)+string(rune('a'+i/50))] = "x"
	}
	tiny := tmpfs(t, "300k")
	s = start(t, build(t, t.TempDir(), "many", nil, many))
	to = filepath.Join(tiny, "data/rootfs")
	_, err = Pull(t.Context(), options(to, s))
	if !errors.Is(err, ErrSpace) || hintOf(err) == "" {
		t.Errorf("full while writing: %v", err)
	}
	if _, err := os.Lstat(to); err == nil {
		t.Error("a root file system is there that is not whole")
	}
	must(t, unix.Mount("tmpfs", tiny, "tmpfs", unix.MS_REMOUNT, "size=8m"))
	r, err := Pull(t.Context(), options(to, s))
	must(t, err)
	same(t, to, many)
	if r.Kept == 0 {
		t.Errorf("it did not go on: %+v", r)
	}
}

func TestWhatIsMountedIsNotRemoved(t *testing.T) {
	dir := tmpfs(t, "8m")
	first, second := start(t, build(t, t.TempDir(), "one", nil, ownFiles)), start(t, build(t, t.TempDir(), "two", nil, content{"a": "b"}))
	to := filepath.Join(dir, "data/rootfs")
	_, err := Pull(t.Context(), options(to, first))
	must(t, err)
	at := filepath.Join(to, "charts")
	must(t, unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m"))
	defer unix.Unmount(at, unix.MNT_DETACH)
	must(t, os.WriteFile(filepath.Join(at, "precious"), nil, 0o644))
	if _, err := Pull(t.Context(), options(to, second)); !errors.Is(err, ErrMounted) || !strings.Contains(hintOf(err), at) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(at, "precious")); err != nil {
		t.Error(err)
	}
}
