package rootfs

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"time"

	"bundle/manifest"
)

// FS is the root file system as the hosts will see it: the bundle's, with the
// changed files on top. Links are followed inside the root only; a link to /etc
// means the root's own etc. Contents are read when they are asked for.
type FS struct {
	src     Source
	tree    *tree
	changed map[string][]byte
}

// View puts the changed files of r over src.
func View(src Source, r Result) *FS {
	v := &FS{src: src, tree: newTree(src.List()), changed: map[string][]byte{}}
	for _, f := range r.Files {
		v.tree.add(manifest.File{Path: f.Path, Type: typeFile, Mode: uint32(f.Mode.Perm()), Size: int64(len(f.Data))})
		v.changed[f.Path] = f.Data
	}
	return v
}

// find follows links to a node that is there.
func (v *FS) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	_, n, err := v.tree.place(name)
	if err != nil || n == nil {
		if err != errLoop {
			err = fs.ErrNotExist
		}
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// Open opens a file or folder.
func (v *FS) Open(name string) (fs.File, error) {
	n, err := v.find("open", name)
	if err != nil {
		return nil, err
	}
	i := info{n, path.Base(name)}
	if n.Type == typeDir {
		return &folder{info: i, entries: entriesOf(n)}, nil
	}
	return &file{info: i, read: func() ([]byte, error) { return v.content(name, n) }}, nil
}

func (v *FS) content(name string, n *node) ([]byte, error) {
	if data, ok := v.changed[n.Path]; ok {
		return data, nil
	}
	data, err := v.src.ReadFile(n.Path)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

// ReadFile implements [fs.ReadFileFS].
func (v *FS) ReadFile(name string) ([]byte, error) {
	n, err := v.find("read", name)
	if err != nil {
		return nil, err
	}
	if n.Type == typeDir {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	data, err := v.content(name, n)
	return bytes.Clone(data), err
}

// ReadDir implements [fs.ReadDirFS]. Links are shown as links.
func (v *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := v.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if n.Type != typeDir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	return entriesOf(n), nil
}

// Stat implements [fs.StatFS]; it follows links.
func (v *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := v.find("stat", name)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// Lstat and ReadLink implement [fs.ReadLinkFS].
func (v *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := v.link("lstat", name)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// ReadLink gives where a link leads to, as it is written in the bundle.
func (v *FS) ReadLink(name string) (string, error) {
	n, err := v.link("readlink", name)
	if err != nil {
		return "", err
	}
	if n.Type != typeLink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.Link, nil
}

// link is find without following the last link.
func (v *FS) link(op, name string) (*node, error) {
	if name == "." {
		return v.find(op, name)
	}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	dir, err := v.find(op, path.Dir(name))
	if err != nil {
		return nil, err
	}
	n := dir.children[path.Base(name)]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Glob implements [fs.GlobFS].
func (v *FS) Glob(pattern string) ([]string, error) { return fs.Glob(plain{v}, pattern) }

// plain is an FS without Glob, so that package fs does not call us again.
type plain struct{ v *FS }

func (p plain) Open(name string) (fs.File, error)          { return p.v.Open(name) }
func (p plain) ReadDir(name string) ([]fs.DirEntry, error) { return p.v.ReadDir(name) }
func (p plain) Stat(name string) (fs.FileInfo, error)      { return p.v.Stat(name) }

func entriesOf(n *node) []fs.DirEntry {
	list := make([]fs.DirEntry, 0, len(n.children))
	for _, name := range sortedNames(n) {
		list = append(list, fs.FileInfoToDirEntry(info{n.children[name], name}))
	}
	return list
}

// info describes a node under the name that it was asked for by.
type info struct {
	n    *node
	name string
}

func (i info) Name() string     { return i.name }
func (i info) Size() int64      { return i.n.Size }
func (i info) IsDir() bool      { return i.n.Type == typeDir }
func (i info) Sys() any         { return nil }
func (info) ModTime() time.Time { return time.Time{} }

func (i info) Mode() fs.FileMode {
	mode := fileMode(i.n)
	switch i.n.Type {
	case typeDir:
		mode |= fs.ModeDir
	case typeLink:
		mode |= fs.ModeSymlink
	}
	return mode
}

// file is an open file.
type file struct {
	info
	read func() ([]byte, error)
	r    *bytes.Reader
	shut bool
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *file) load() error {
	if f.shut {
		return fs.ErrClosed
	}
	if f.r != nil {
		return nil
	}
	data, err := f.read()
	if err != nil {
		return err
	}
	f.r = bytes.NewReader(data)
	return nil
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.load(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

// Seek implements [io.Seeker].
func (f *file) Seek(offset int64, whence int) (int64, error) {
	if err := f.load(); err != nil {
		return 0, err
	}
	return f.r.Seek(offset, whence)
}

func (f *file) Close() error {
	f.shut = true
	return nil
}

// folder is an open folder.
type folder struct {
	info
	entries []fs.DirEntry
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *folder) Close() error               { return nil }

func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errIsDir}
}

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		list := d.entries
		d.entries = nil
		return list, nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	list := d.entries[:n]
	d.entries = d.entries[n:]
	return list, nil
}
