package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"path/filepath"
	"testing"

	"bundle/manifest"
)

func FuzzInventory(f *testing.F) {
	f.Add([]byte(`[{"path":"etc","type":"dir","mode":493},{"path":"etc/a","type":"file","mode":420,"size":1},{"path":"l","type":"symlink","link":"/etc"}]`))
	f.Add([]byte(`[{"path":"../a","type":"file"},{"path":"l/b","type":"file"},{"path":"l","type":"symlink","link":"x"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []manifest.File
		if json.Unmarshal(data, &list) != nil {
			return
		}
		tr, err := newTree(list)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		for p := range tr.entries {
			if !filepath.IsLocal(p) {
				t.Errorf("%q leads out", p)
			}
			for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
				if e, ok := tr.entries[dir]; ok && e.Type != "dir" {
					t.Errorf("%q lies below a %s", p, e.Type)
				}
			}
		}
	})
}

func FuzzOwnFiles(f *testing.F) {
	f.Add(layerOf(&testing.T{}, entry{"etc/a", "x", '0'}))
	f.Add(layerOf(&testing.T{}, entry{"../a", "x", '0'}, entry{"l", "/etc", '2'}))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := readFiles(t.Context(), bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrOptions) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		for p := range files {
			if !filepath.IsLocal(p) || path.Clean(p) != p {
				t.Errorf("%q leads out", p)
			}
		}
	})
}
