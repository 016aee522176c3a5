package agent

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

// Names in the root file system that are ours.
const (
	markerName  = ".bundle.json"       // which bundle it is, and its files
	overlayName = ".bundle-files.json" // which files the site replaced
	originals   = ".bundle-orig"       // what they were before
	tempPrefix  = ".bundle-tmp-"
)

// Limits of an inventory.
const (
	maxFiles    = 1_000_000
	maxPath     = 4096
	maxFileSize = 1 << 50
)

// tree is what the root file system shall be: the inventory, checked.
type tree struct {
	entries map[string]manifest.File
	dirs    []string // with those that the inventory only implies; parents first
	links   []string
	files   []string
	bytes   int64 // of all files
}

// newTree checks an inventory. Whoever wrote it, no entry of the tree can lead
// out of it: paths are clean and local, and nothing lies below a link or a
// file. Errors wrap [ErrDamaged].
func newTree(list []manifest.File) (*tree, error) {
	if len(list) > maxFiles {
		return nil, fmt.Errorf("%w: the inventory names %d files, at most %d are accepted", ErrDamaged, len(list), maxFiles)
	}
	t := &tree{entries: make(map[string]manifest.File, len(list))}
	for _, f := range list {
		if err := checkEntry(f); err != nil {
			return nil, err
		}
		if _, twice := t.entries[f.Path]; twice {
			return nil, fmt.Errorf("%w: the inventory names %q twice", ErrDamaged, f.Path)
		}
		t.entries[f.Path] = f
		if t.bytes += f.Size; t.bytes > maxFileSize {
			return nil, fmt.Errorf("%w: the files of the inventory have more than %d bytes", ErrDamaged, int64(maxFileSize))
		}
	}
	dirs := map[string]bool{}
	for p, f := range t.entries {
		for dir := path.Dir(p); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			if above, ok := t.entries[dir]; ok && above.Type != "dir" {
				return nil, fmt.Errorf("%w: the inventory puts %q below %q, which is a %s", ErrDamaged, p, dir, above.Type)
			}
			dirs[dir] = true
		}
		switch f.Type {
		case "dir":
			dirs[p] = true
		case "symlink":
			t.links = append(t.links, p)
		default:
			t.files = append(t.files, p)
		}
	}
	t.dirs = slices.Sorted(maps.Keys(dirs))
	slices.Sort(t.links)
	slices.Sort(t.files)
	return t, nil
}

func checkEntry(f manifest.File) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: %.200q of the inventory %s", ErrDamaged, f.Path, why)
	}
	first, _, _ := strings.Cut(f.Path, "/")
	switch {
	case f.Path == "" || len(f.Path) > maxPath || strings.ContainsRune(f.Path, 0),
		path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "." || first == "..":
		return bad("is no path in a root file system")
	case first == markerName || first == overlayName || first == originals || strings.HasPrefix(path.Base(f.Path), tempPrefix):
		return bad("has a name that the installer uses itself")
	case f.Size < 0 || f.Type != "file" && f.Size > 0:
		return bad("has an impossible size")
	case f.Mode&^0o777 != 0:
		return bad("has an impossible mode")
	}
	switch f.Type {
	case "dir":
	case "symlink":
		if f.Link == "" || len(f.Link) > maxPath || strings.ContainsRune(f.Link, 0) {
			return bad("is a link that leads nowhere")
		}
	case "file":
		if f.Digest != "" && (f.Digest.Validate() != nil || f.Digest.Algorithm() != digest.SHA256) {
			return bad("has no SHA-256 digest")
		}
	default:
		return bad("is neither file, folder nor link")
	}
	return nil
}
