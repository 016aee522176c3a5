package kube

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Bounds of what a step reads.
const (
	maxFile  = 32 << 20
	maxFiles = 10_000
	// maxTotal bounds all manifests of one step together.
	maxTotal = 128 << 20
)

// place is where a path of a step leads: into Files, or to an absolute path
// of a host.
type place struct {
	name string
	host bool
}

// locate reads a path of a step, which is relative to dir.
func (c *Cluster) locate(dir, name string) (place, error) {
	clean := path.Clean(name)
	if !path.IsAbs(name) {
		clean = path.Join(dir, name)
	}
	if path.IsAbs(clean) {
		root := path.Clean("/" + c.o.Rootfs)
		rest, below := strings.CutPrefix(clean, root+"/")
		switch {
		case c.o.Rootfs != "" && clean == root:
			return place{name: "."}, nil
		case c.o.Rootfs != "" && below:
			return place{name: rest}, nil
		}
		return place{name: clean, host: true}, nil
	}
	if !fs.ValidPath(clean) {
		return place{}, fail(ErrInput, name, "%s leads out of the root file system", name)
	}
	return place{name: clean}, nil
}

func (c *Cluster) files() fs.FS {
	if c.o.Files == nil {
		return nothing{}
	}
	return c.o.Files
}

// nothing is an empty file system.
type nothing struct{}

func (nothing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// read gives the bytes of one file, bounded.
func (c *Cluster) read(ctx context.Context, p place) ([]byte, error) {
	if p.host {
		if c.o.Host == nil {
			return nil, fail(ErrInput, p.name, "%s lies outside of the root file system of the bundle", p.name)
		}
		data, err := c.o.Host.ReadFile(ctx, p.name, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail(ErrInput, p.name, "there is no file %s on the first master", p.name).because(err)
		}
		return data, err
	}
	f, err := c.files().Open(p.name)
	if err != nil {
		return nil, c.absent(p.name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fail(ErrInput, p.name, "%s cannot be read: %s", p.name, err).because(err)
	}
	if len(data) > maxFile {
		return nil, fail(ErrInput, p.name, "%s is larger than %d MiB", p.name, maxFile>>20)
	}
	return data, nil
}

func (c *Cluster) absent(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fail(ErrInput, name, "the bundle has no %s", name).because(err).
			advise("bundle files lists what is in the root file system")
	}
	return fail(ErrInput, name, "%s cannot be read: %s", name, err).because(err)
}

// manifests are the extensions that kubectl takes from a folder.
var manifests = []string{".json", ".yaml", ".yml"}

// expand turns the files of a step into places of files, in the order that
// they are named: wildcards in the order of their names, folders likewise.
func (c *Cluster) expand(dir string, names []string, recursive bool) ([]place, error) {
	var out []place
	for _, name := range names {
		found, err := c.one(dir, name, recursive)
		if err != nil {
			return nil, err
		}
		if out = append(out, found...); len(out) > maxFiles {
			return nil, fail(ErrInput, name, "%s and the rest are more than %d files", name, maxFiles)
		}
	}
	return out, nil
}

func (c *Cluster) one(dir, name string, recursive bool) ([]place, error) {
	p, err := c.locate(dir, name)
	if err != nil {
		return nil, err
	}
	wild := strings.ContainsAny(name, "*?[")
	if p.host {
		if wild {
			return nil, fail(ErrInput, name, "%s: wildcards are only for files of the bundle", name)
		}
		return []place{p}, nil
	}
	matches := []string{p.name}
	if wild {
		if matches, err = glob(c.files(), p.name); err != nil {
			return nil, fail(ErrInput, name, "%s is no valid pattern", name).because(err)
		}
		if len(matches) == 0 {
			return nil, fail(ErrInput, name, "%s matches no file of the bundle", name).
				advise("bundle files lists what is in the root file system")
		}
	}
	var out []place
	for _, m := range matches {
		info, err := fs.Stat(c.files(), m)
		if err != nil {
			return nil, c.absent(m, err)
		}
		if !info.IsDir() {
			out = append(out, place{name: m})
			continue
		}
		found, err := c.folder(m, recursive, 0)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fail(ErrInput, m, "the folder %s holds no manifest (%s)", m, strings.Join(manifests, ", "))
		}
		out = append(out, found...)
	}
	return out, nil
}

// folder lists the manifests in a folder.
func (c *Cluster) folder(name string, recursive bool, depth int) ([]place, error) {
	const maxDepth = 64
	entries, err := fs.ReadDir(c.files(), name)
	if err != nil || depth > maxDepth {
		return nil, fail(ErrInput, name, "the folder %s cannot be read: %v", name, err).because(err)
	}
	var out []place
	for _, e := range entries {
		child := path.Join(name, e.Name())
		info, err := fs.Stat(c.files(), child)
		if err != nil {
			return nil, c.absent(child, err)
		}
		if info.IsDir() {
			if recursive {
				found, err := c.folder(child, true, depth+1)
				if err != nil {
					return nil, err
				}
				out = append(out, found...)
			}
			continue
		}
		if slices.Contains(manifests, path.Ext(child)) {
			out = append(out, place{name: child})
		}
		if len(out) > maxFiles {
			return nil, fail(ErrInput, name, "the folder %s holds more than %d files", name, maxFiles)
		}
	}
	return out, nil
}

// glob expands a pattern as a shell does: in order, and names that begin with
// a dot only where the pattern says so.
func glob(fsys fs.FS, pattern string) ([]string, error) {
	names := []string{"."}
	for _, part := range strings.Split(pattern, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return nil, err
		}
		var next []string
		for _, dir := range names {
			if !strings.ContainsAny(part, `*?[\`) {
				child := path.Join(dir, part)
				if _, err := fs.Stat(fsys, child); err == nil {
					next = append(next, child)
				}
				continue
			}
			entries, _ := fs.ReadDir(fsys, dir) // a file has none
			for _, e := range entries {
				hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(part, ".")
				if ok, _ := path.Match(part, e.Name()); ok && !hidden {
					next = append(next, path.Join(dir, e.Name()))
				}
			}
			if len(next) > maxFiles {
				return next, nil
			}
		}
		names = next
	}
	slices.Sort(names)
	return names, nil
}
