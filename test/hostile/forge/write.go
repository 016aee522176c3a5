package forge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ManifestName and KeyName are the files beside the vectors.
const (
	ManifestName = "vectors.json"
	KeyName      = "vectors.pub"
)

// Files makes all vectors and what belongs to them, by the names that they have
// in testdata/vectors.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{KeyName: PublicKey()}
	all := Vectors()
	for _, v := range all {
		p, err := v.Finish()
		if err != nil {
			return nil, err
		}
		if files[v.File] != nil {
			return nil, fmt.Errorf("there are two vectors %s", v.Name)
		}
		files[v.File] = p
	}
	var list bytes.Buffer
	e := json.NewEncoder(&list)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(all); err != nil {
		return nil, err
	}
	files[ManifestName] = list.Bytes()
	return files, nil
}

// Write writes all vectors to a folder, and removes those that are no more.
func Write(dir string) error {
	files, err := Files()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if files[e.Name()] == nil && strings.Contains(e.Name(), ".tar.zst") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, p := range files {
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
			return err
		}
	}
	return nil
}
