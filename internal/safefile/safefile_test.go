package safefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was there must be gone, or still be there whole, and nothing beside it.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.json")
	for _, text := range []string{"one", "two"} {
		if err := Replace(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		info, serr := os.Stat(name)
		if err != nil || serr != nil || string(got) != text || info.Mode().Perm() != 0o600 {
			t.Errorf("%q, %v, %v", got, err, info)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	// A folder in the way cannot be replaced: nothing may be left beside it.
	if err := os.MkdirAll(filepath.Join(dir, "b.json", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(filepath.Join(dir, "b.json"), nil, 0o600); err == nil || !strings.Contains(err.Error(), "b.json cannot be written") {
		t.Errorf("error %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}
