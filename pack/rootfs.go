package pack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

// maxRootfsEntries bounds the files of one context, so that a COPY of "/" by
// mistake ends in an error and not in an exhausted machine.
const maxRootfsEntries = 1_000_000

// rootfs is the tree of files that the bundle brings to every host: what the
// COPY lines of one context put there. Inherited files live in the base's own
// layers and are not part of it.
type rootfs struct {
	entries map[string]*rootfsEntry
}

// rootfsEntry is one file, folder or link; src is where a file lies on disk.
type rootfsEntry struct {
	manifest.File
	src string
}

func newRootfs() *rootfs { return &rootfs{entries: map[string]*rootfsEntry{}} }

// copyTree puts src, a file or a folder on disk, at dst in the tree. Where src
// is a folder its content goes below dst. Later copies replace earlier files.
func (r *rootfs) copyTree(src, dst string, source manifest.Source) error {
	info, err := os.Lstat(src)
	if err != nil {
		return fmt.Errorf("%s: COPY: %w", source, noSuchFile(src, err))
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		// The user named this path: what it points at is what they mean.
		if src, err = filepath.EvalSymlinks(src); err != nil {
			return fmt.Errorf("%s: COPY: %w", source, noSuchFile(src, err))
		}
	}
	return filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: COPY: %w", source, err)
		}
		rel, err := filepath.Rel(src, p)
		if err != nil {
			return err
		}
		return r.add(path.Join(dst, filepath.ToSlash(rel)), p, source)
	})
}

// add puts one file, folder or link from disk at dst.
func (r *rootfs) add(dst, src string, source manifest.Source) error {
	dst = cleanRootPath(dst)
	if dst == "." {
		return nil
	}
	if len(r.entries) >= maxRootfsEntries {
		return fmt.Errorf("%s: COPY brings more than %d files; copy a smaller folder", source, maxRootfsEntries)
	}
	info, err := os.Lstat(src)
	if err != nil {
		return fmt.Errorf("%s: COPY: %w", source, noSuchFile(src, err))
	}
	e := &rootfsEntry{File: manifest.File{Path: dst, Source: source}, src: src}
	switch {
	case info.IsDir():
		e.Type, e.Mode = "dir", 0o755
		if old := r.entries[dst]; old != nil && old.Type == "dir" {
			return nil
		}
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(src)
		if err != nil {
			return fmt.Errorf("%s: COPY: %w", source, err)
		}
		e.Type, e.Mode, e.Link = "symlink", 0o777, filepath.ToSlash(link)
	case info.Mode().IsRegular():
		e.Type, e.Size, e.Mode = "file", info.Size(), 0o644
		if info.Mode()&0o111 != 0 {
			e.Mode = 0o755
		}
	default:
		return fmt.Errorf("%s: COPY: %s is a %s; only files, folders and links can be packed", source, src, info.Mode().Type())
	}
	if err := r.addParents(dst, source); err != nil {
		return err
	}
	r.entries[dst] = e
	return nil
}

func (r *rootfs) addParents(dst string, source manifest.Source) error {
	for dir := path.Dir(dst); dir != "."; dir = path.Dir(dir) {
		switch e := r.entries[dir]; {
		case e == nil:
			r.entries[dir] = &rootfsEntry{File: manifest.File{Path: dir, Type: "dir", Mode: 0o755, Source: source}}
		case e.Type != "dir":
			return fmt.Errorf("%s: COPY puts %s below %s, which is a %s (%s)", source, dst, dir, e.Type, e.Source)
		}
	}
	return nil
}

// sorted gives the entries by path, so that folders come before their content
// and the same input gives the same bytes.
func (r *rootfs) sorted() []*rootfsEntry {
	list := make([]*rootfsEntry, 0, len(r.entries))
	for _, e := range r.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *rootfsEntry) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// files gives the inventory. Digests are there once a layer was written.
func (r *rootfs) files() []manifest.File {
	list := make([]manifest.File, 0, len(r.entries))
	for _, e := range r.sorted() {
		list = append(list, e.File)
	}
	return list
}

// writeLayer writes the tree as a tar whose bytes depend on names, kinds,
// executable bits and contents alone: no times, no owners. On the way it
// fills in the digest of each file; on a second run the digests must not have
// changed, else [errContextChanged] names the file.
func (r *rootfs) writeLayer(w io.Writer) error {
	tw := tar.NewWriter(w)
	buf := make([]byte, 128<<10)
	for _, e := range r.sorted() {
		h := &tar.Header{Name: e.Path, Mode: int64(e.Mode), ModTime: time.Unix(0, 0)}
		switch e.Type {
		case "dir":
			h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
		case "symlink":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
		default:
			h.Typeflag, h.Size = tar.TypeReg, e.Size
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %s cannot be packed: %w", e.Source, e.Path, err)
		}
		if e.Type != "file" {
			continue
		}
		if err := e.copyTo(tw, buf); err != nil {
			return err
		}
	}
	return tw.Close()
}

// errContextChanged says that a file of the context is not what it was a
// moment ago.
var errContextChanged = errors.New("changed while the bundle was being built; build again when nothing writes to the context")

func (e *rootfsEntry) copyTo(w io.Writer, buf []byte) error {
	hash := digest.SHA256.Hash()
	dst := io.MultiWriter(w, hash)
	f, err := os.Open(e.src)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Source, noSuchFile(e.src, err))
	}
	defer f.Close()
	n, err := io.CopyBuffer(onlyWriter{dst}, io.LimitReader(f, e.Size), buf)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", e.Source, e.src, err)
	}
	var one [1]byte
	if extra, _ := f.Read(one[:]); n != e.Size || extra != 0 {
		return fmt.Errorf("%s: %s %w", e.Source, e.src, errContextChanged)
	}
	d := digest.NewDigest(digest.SHA256, hash)
	if e.Digest != "" && e.Digest != d {
		return fmt.Errorf("%s: %s %w", e.Source, e.src, errContextChanged)
	}
	e.Digest = d
	return nil
}

// onlyWriter hides ReadFrom, so that io.CopyBuffer uses the buffer it is given.
type onlyWriter struct{ io.Writer }

// layerReader gives the layer as a stream. Closing it early stops the writer.
func (r *rootfs) layerReader() io.ReadCloser {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(r.writeLayer(pw)) }()
	return pr
}

// cleanRootPath gives p relative to the root of the tree, without any way out
// of it.
func cleanRootPath(p string) string {
	return strings.TrimPrefix(path.Clean("/"+p), "/") + dotIfEmpty(p)
}

func dotIfEmpty(p string) string {
	if path.Clean("/"+p) == "/" {
		return "."
	}
	return ""
}

func noSuchFile(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist", p)
	}
	return err
}

// chmod sets the mode of the files at and below dst.
func (r *rootfs) chmod(dst string, mode uint32) {
	dst = cleanRootPath(dst)
	for p, e := range r.entries {
		if e.Type == "file" && (p == dst || dst == "." || strings.HasPrefix(p, dst+"/")) {
			e.Mode = mode & 0o777
		}
	}
}
