package agent

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Limits of the site's own files.
const (
	maxOwnFile  = 64 << 20
	maxOwnFiles = 100_000
	maxOwnBytes = 512 << 20
)

// FilesResult says what Files did.
type FilesResult struct {
	Written   int `json:"written"`
	Unchanged int `json:"unchanged"`
	// Restored files are those that an earlier call replaced and this one
	// does not name: the bundle's own are there again.
	Restored int `json:"restored"`
}

// Files lays the regular files of a tar stream over the root file system at
// to. The stream names all of them: what an earlier call put there and this
// one does not name is taken back. A file that is right already is not
// touched, and each is replaced in one step.
func Files(ctx context.Context, to string, stream io.Reader) (*FilesResult, error) {
	to, err := cleanTarget(to)
	if err != nil {
		return nil, err
	}
	given, err := readFiles(ctx, stream)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return nil, failure("bring the root file system to the host first", "there is no root file system at %s: %w", to, err)
	}
	defer root.Close()
	unlock, err := lock(ctx, filepath.Dir(to))
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := lay(ctx, root, given)
	if err != nil {
		err = disk(to, err)
		if own, ok := errors.AsType[*local](err); ok {
			err = own.err
		}
		return nil, err
	}
	return r, nil
}

// ownFile is one file of the site.
type ownFile struct {
	overlaid
	data []byte
}

func readFiles(ctx context.Context, stream io.Reader) (map[string]ownFile, error) {
	given := map[string]ownFile{}
	var total int64
	tr := tar.NewReader(&ctxReader{ctx, stream})
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return given, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the files to write %w: %w", ErrOptions, err)
		}
		p := h.Name
		first, _, _ := strings.Cut(p, "/")
		switch {
		case h.Typeflag != tar.TypeReg || !filepath.IsLocal(p) || path.Clean(p) != p || p == ".",
			first == markerName || first == overlayName || first == originals:
			return nil, fmt.Errorf("the file %q %w: it is no path in the root file system", p, ErrOptions)
		case h.Size > maxOwnFile || len(given) >= maxOwnFiles || total+h.Size > maxOwnBytes:
			return nil, fmt.Errorf("the file %q %w: it, or all of them, are too large", p, ErrOptions)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("the file %q %w: %w", p, ErrOptions, err)
		}
		total += h.Size
		given[p] = ownFile{overlaid{uint32(h.Mode) & 0o777, h.Size, digest.FromBytes(data)}, data}
	}
}

// lay writes what differs. The list of the site's files goes to disk before
// the first of them, so that a run that was killed never leaves one that
// passes for the bundle's.
func lay(ctx context.Context, root *os.Root, given map[string]ownFile) (*FilesResult, error) {
	was := readOverlay(root)
	is := make(overlay, len(given))
	for p, f := range given {
		is[p] = f.overlaid
	}
	both := maps.Clone(was)
	maps.Copy(both, is)
	if !maps.Equal(both, was) {
		if err := writeJSON(root, overlayName, both); err != nil {
			return nil, err
		}
	}
	r := &FilesResult{}
	for _, p := range slices.Sorted(maps.Keys(given)) {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		changed, err := layOne(root, p, given[p], was[p])
		if err != nil {
			return nil, err
		}
		if changed {
			r.Written++
		} else {
			r.Unchanged++
		}
	}
	for _, p := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[p]; ok {
			continue
		}
		if err := takeBack(root, p); err != nil {
			return nil, err
		}
		r.Restored++
	}
	if !maps.Equal(is, both) {
		if err := writeJSON(root, overlayName, is); err != nil {
			return nil, err
		}
	}
	return r, syncTree(root)
}

// layOne puts one file into place. What is there, unless it is was, the site's
// own from an earlier call, is kept among the originals.
func layOne(root *os.Root, p string, f ownFile, was overlaid) (changed bool, err error) {
	info, err := root.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(path.Dir(p), 0o755); err != nil {
			return false, err
		}
		return true, writeWhole(root, p, fs.FileMode(f.Mode), f.data)
	}
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		return false, fmt.Errorf("%s is a folder of the root file system; a file cannot replace it", p)
	}
	var have digest.Digest
	if info.Mode().IsRegular() && info.Size() <= maxOwnFile {
		data, err := root.ReadFile(p)
		if err != nil {
			return false, err
		}
		have = digest.FromBytes(data)
	}
	if have == f.Digest {
		fixMode(root, p, info, f.Mode)
		return false, nil
	}
	if was.Digest == "" || have != was.Digest {
		if err := keepOriginal(root, p); err != nil {
			return false, err
		}
	}
	return true, writeWhole(root, p, fs.FileMode(f.Mode), f.data)
}

// keepOriginal links p among the originals, if nothing is there for it. An
// original that is there is the bundle's, from a time before.
func keepOriginal(root *os.Root, p string) error {
	to := path.Join(originals, p)
	if exists(root, to) {
		return nil
	}
	if err := root.MkdirAll(path.Dir(to), 0o700); err != nil {
		return err
	}
	return root.Link(p, to)
}

// takeBack puts the original of p into its place, or removes p where there
// was none.
func takeBack(root *os.Root, p string) error {
	from := path.Join(originals, p)
	if exists(root, from) {
		return rename(root, from, p)
	}
	err := root.Remove(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
