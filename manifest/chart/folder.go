package chart

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/ignore"
)

const maxFolderDepth = 64

// readFolder reads a chart folder the way Helm does: .helmignore is followed,
// links to files and folders are followed too. Unlike Helm it refuses links
// that leave the folder, so that a chart cannot smuggle a file of the build
// host into a bundle.
func readFolder(dir string, b *budget) ([]file, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &Error{Class: ErrChart, Chart: dir, Reason: err.Error()}
	}
	defer root.Close()
	w := &folder{root: root, budget: b, dir: dir}
	if w.rules, err = readIgnore(root, dir); err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err != nil {
		return nil, &Error{Class: ErrChart, Chart: dir, Reason: err.Error()}
	}
	if err := w.walk("", []fs.FileInfo{info}); err != nil {
		return nil, err
	}
	slices.SortFunc(w.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return w.files, nil
}

type folder struct {
	root   *os.Root
	dir    string
	rules  *ignore.Rules
	budget *budget
	files  []file
}

func readIgnore(root *os.Root, dir string) (*ignore.Rules, error) {
	const maxIgnore = 1 << 20
	rules := ignore.Empty()
	info, err := root.Stat(ignore.HelmIgnore)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, &Error{Class: ErrUnsafe, Chart: dir, Template: ignore.HelmIgnore, Reason: err.Error()}
	case info.Size() > maxIgnore:
		return nil, &Error{Class: ErrUnsafe, Chart: dir, Template: ignore.HelmIgnore, Reason: "it is larger than 1 MiB"}
	default:
		data, err := root.ReadFile(ignore.HelmIgnore)
		if err == nil {
			rules, err = ignore.Parse(bytes.NewReader(data))
		}
		if err != nil {
			return nil, &Error{Class: ErrChart, Chart: dir, Template: ignore.HelmIgnore, Reason: err.Error()}
		}
	}
	rules.AddDefaults()
	return rules, nil
}

// walk reads what lies in the folder called name. parents are the folders on
// the way to it, so that a link back to one of them is noticed.
func (w *folder) walk(name string, parents []fs.FileInfo) error {
	if len(parents) > maxFolderDepth {
		return w.unsafe(name, "folders lie too deep in one another")
	}
	d, err := w.root.Open(path.Join(".", name))
	if err != nil {
		return w.unsafe(name, err.Error())
	}
	// One more than the budget, so that a full folder is told from a crowded.
	entries, err := d.ReadDir(w.budget.files + 1)
	d.Close()
	if err != nil && len(entries) == 0 && !isEOF(err) {
		return w.unsafe(name, err.Error())
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		child := path.Join(name, e.Name())
		// Stat follows links, and os.Root refuses those that lead outside.
		info, err := w.root.Stat(child)
		if err != nil {
			if l, lerr := w.root.Lstat(child); lerr == nil && w.rules.Ignore(child, l) {
				continue
			}
			return w.unsafe(child, "it cannot be followed inside the chart's folder: "+reason(err))
		}
		if w.rules.Ignore(child, info) {
			continue
		}
		if err := w.budget.entry(); err != nil {
			return err
		}
		switch {
		case info.IsDir():
			if slices.ContainsFunc(parents, func(p fs.FileInfo) bool { return os.SameFile(p, info) }) {
				return w.unsafe(child, "it links to a folder it lies in")
			}
			if err := w.walk(child, append(slices.Clip(parents), info)); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			if err := w.read(child, info.Size()); err != nil {
				return err
			}
		default:
			return w.unsafe(child, "it is neither a file nor a folder")
		}
	}
	return nil
}

func (w *folder) read(name string, size int64) error {
	clean, err := cleanName(name)
	if err != nil {
		return w.unsafe(name, err.Error())
	}
	f, err := w.root.Open(name)
	if err != nil {
		return w.unsafe(name, reason(err))
	}
	defer f.Close()
	data, err := w.budget.read(f, size)
	if err != nil {
		return err
	}
	w.files = append(w.files, file{name: clean, data: data})
	return nil
}

func (w *folder) unsafe(name, why string) error {
	return &Error{Class: ErrUnsafe, Chart: w.dir, Template: name, Reason: why}
}

// reason drops the path that the error repeats.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
