package rootfs

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"bundle/manifest"
)

// Types of files, as the inventory names them.
const (
	typeFile = "file"
	typeDir  = "dir"
	typeLink = "symlink"
)

// maxLinks is how many links one path may lead over.
const maxLinks = 40

var (
	errLoop    = errors.New("its links lead in a circle")
	errNowhere = errors.New("a link on its way leads nowhere")
	errNotDir  = errors.New("a folder on its way is a file")
	errIsDir   = errors.New("it is a folder")
)

// node is one file, link or folder.
type node struct {
	manifest.File
	children map[string]*node
}

// tree is a root file system by path. Nothing in it leads out of it.
type tree struct{ root *node }

func newTree(list []manifest.File) *tree {
	t := &tree{root: &node{File: manifest.File{Path: ".", Type: typeDir, Mode: 0o755}, children: map[string]*node{}}}
	// Folders first, so that the rest finds its place.
	for _, f := range list {
		if f.Type == typeDir {
			t.add(f)
		}
	}
	for _, f := range list {
		if f.Type != typeDir {
			t.add(f)
		}
	}
	return t
}

// add puts a file in, making folders on the way. What cannot lie there is left
// out.
func (t *tree) add(f manifest.File) {
	f.Path = strings.Trim(path.Clean("/"+f.Path), "/")
	if f.Path == "" || !fs.ValidPath(f.Path) || f.Type != typeFile && f.Type != typeDir && f.Type != typeLink {
		return
	}
	at := t.root
	dir, name := path.Split(f.Path)
	for part := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if part == "" {
			continue
		}
		next := at.children[part]
		if next == nil {
			next = &node{File: manifest.File{Path: join(at.Path, part), Type: typeDir, Mode: 0o755}, children: map[string]*node{}}
			at.children[part] = next
		}
		if next.Type != typeDir {
			return
		}
		at = next
	}
	old := at.children[name]
	switch {
	case f.Type == typeDir && old != nil && old.Type == typeDir:
		old.File = f
	case old != nil && old.Type == typeDir:
	case f.Type == typeDir:
		at.children[name] = &node{File: f, children: map[string]*node{}}
	default:
		at.children[name] = &node{File: f}
	}
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// place follows the links of a path. It gives the path without links and what
// is there, nil where nothing is yet.
func (t *tree) place(p string) (string, *node, error) {
	rest := parts(p)
	at := []*node{t.root}
	links := 0
	for i := 0; i < len(rest); i++ {
		here := at[len(at)-1]
		part := rest[i]
		if part == ".." {
			if len(at) > 1 {
				at = at[:len(at)-1]
			}
			continue
		}
		if here.Type != typeDir {
			return "", nil, errNotDir
		}
		next := here.children[part]
		if next == nil {
			if slices.Contains(rest[i:], "..") {
				return "", nil, errNowhere
			}
			return path.Join(here.Path, strings.Join(rest[i:], "/")), nil, nil
		}
		if next.Type != typeLink {
			at = append(at, next)
			continue
		}
		if links++; links > maxLinks {
			return "", nil, errLoop
		}
		if strings.HasPrefix(next.Link, "/") {
			at = at[:1]
		}
		rest, i = append(parts(next.Link), rest[i+1:]...), -1
	}
	n := at[len(at)-1]
	return n.Path, n, nil
}

// parts cuts a path; only .. keeps a meaning of its own.
func parts(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

// walk calls f with every file and link, in the order of their paths.
func (n *node) walk(f func(*node)) {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		c := n.children[name]
		if c.Type == typeDir {
			c.walk(f)
		} else {
			f(c)
		}
	}
}

// dir gives the folder of a path, nil where there is none.
func (t *tree) dir(p string) *node {
	_, n, err := t.place(p)
	if err != nil || n == nil || n.Type != typeDir {
		return nil
	}
	return n
}

func sortedNames(n *node) []string { return slices.Sorted(maps.Keys(n.children)) }

func fileMode(n *node) fs.FileMode { return fs.FileMode(n.Mode).Perm() }
