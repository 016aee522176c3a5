package selftest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bundle/archive"
)

// The trials hold for this program, and they would not for one that notices
// nothing.
func TestSelftestHolds(t *testing.T) {
	dir := t.TempDir()
	rep, err := Run(t.Context(), Options{Dir: dir, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK || len(rep.Results) != 7 {
		t.Errorf("%+v", rep)
	}
	for _, r := range rep.Results {
		if !r.Held || r.Tried == 0 || r.Found == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestUsersBundleIsOnlyRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(t.Context(), Options{Dir: dir, Seed: 2}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sample.tar.zst")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	rep, err := Run(t.Context(), Options{Dir: own, Bundle: path, Chaos: true, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	last := rep.Results[len(rep.Results)-1]
	if !rep.OK || !strings.Contains(last.Name, path) || last.Tried < 100 {
		t.Errorf("%+v", last)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Error("the user's bundle was changed")
	}
}

// What is not noticed is told: a byte that nothing covers, as if a check was
// missing.
func TestWhatIsNotNoticedIsTold(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(t.Context(), Options{Dir: dir, Seed: 4}); err != nil {
		t.Fatal(err)
	}
	f, size, err := openFile(filepath.Join(dir, "sample.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := archive.NewReader(f, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	if err := notice(t.Context(), changed{f, 100, 0}, size); err == nil {
		t.Error("a byte that did not change was noticed")
	}
	if err := notice(t.Context(), changed{f, 100, 1}, size); err != nil {
		t.Error(err)
	}
	if _, err := Run(t.Context(), Options{Dir: filepath.Join(dir, "none", "such")}); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
