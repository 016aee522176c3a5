package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/ignore"
)

// LoadFS reads the chart in a folder or a .tgz file of fsys, with the default
// limits. It is [Load] for a tree that lies on no disk: fsys says what its
// links lead to, and nothing outside of fsys is ever read.
func LoadFS(fsys fs.FS, name string) (*Chart, error) {
	return Loader{}.LoadFS(fsys, name)
}

// LoadFS is [LoadFS] with the limits of l.
func (l Loader) LoadFS(fsys fs.FS, name string) (*Chart, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, err)
	}
	b := l.budget(name)
	if info.IsDir() {
		w := &tree{fsys: fsys, dir: name, budget: b}
		if err := w.load(); err != nil {
			return nil, err
		}
		return newChart(name, w.files, nil, l)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Class: ErrChart, Chart: name, Reason: "it is neither a folder nor a regular file"}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, err)
	}
	defer f.Close()
	if info.Size() > b.bytes {
		return nil, b.tooLarge()
	}
	tgz, err := io.ReadAll(io.LimitReader(f, b.bytes+1))
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, err)
	}
	return l.LoadBytes(name, tgz)
}

// tree reads a chart folder of a file system; folder does it on a disk.
type tree struct {
	fsys   fs.FS
	dir    string
	rules  *ignore.Rules
	budget *budget
	files  []file
}

func (w *tree) load() error {
	w.rules = ignore.Empty()
	data, err := w.bytes(ignore.HelmIgnore)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return &Error{Class: ErrChart, Chart: w.dir, Template: ignore.HelmIgnore, Reason: reason(err)}
	default:
		if w.rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return &Error{Class: ErrChart, Chart: w.dir, Template: ignore.HelmIgnore, Reason: err.Error()}
		}
	}
	w.rules.AddDefaults()
	if err := w.walk("", 0); err != nil {
		return err
	}
	slices.SortFunc(w.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return nil
}

// walk reads what lies in the folder called name. Links that lead back to a
// folder on the way to them end at the greatest depth.
func (w *tree) walk(name string, depth int) error {
	if depth > maxFolderDepth {
		return w.unsafe(name, "folders lie too deep in one another")
	}
	entries, err := fs.ReadDir(w.fsys, path.Join(w.dir, name))
	if err != nil {
		return w.unsafe(name, reason(err))
	}
	for _, e := range entries {
		child := path.Join(name, e.Name())
		info, err := fs.Stat(w.fsys, path.Join(w.dir, child))
		if err != nil {
			if l, lerr := e.Info(); lerr == nil && w.rules.Ignore(child, l) {
				continue
			}
			return w.unsafe(child, "it cannot be followed: "+reason(err))
		}
		if w.rules.Ignore(child, info) {
			continue
		}
		if err := w.budget.entry(); err != nil {
			return err
		}
		switch {
		case info.IsDir():
			err = w.walk(child, depth+1)
		case info.Mode().IsRegular():
			err = w.add(child)
		default:
			err = w.unsafe(child, "it is neither a file nor a folder")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *tree) add(name string) error {
	clean, err := cleanName(name)
	if err != nil {
		return w.unsafe(name, err.Error())
	}
	data, err := w.bytes(name)
	if err != nil {
		return err
	}
	w.files = append(w.files, file{name: clean, data: data})
	return nil
}

func (w *tree) bytes(name string) ([]byte, error) {
	f, err := w.fsys.Open(path.Join(w.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return w.budget.read(f, info.Size())
}

func (w *tree) unsafe(name, why string) error {
	return &Error{Class: ErrUnsafe, Chart: w.dir, Template: name, Reason: why}
}
