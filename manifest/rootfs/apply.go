package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/manifest/cluster"
)

// ErrApply is wrapped by every error about a Config or a template, as opposed
// to a failing [Source].
var ErrApply = errors.New("the root file system cannot be prepared")

// Limits.
const (
	maxFileBytes     = 16 << 20
	maxTemplateBytes = 1 << 20
	maxTotalBytes    = 128 << 20
	maxProblems      = 50
)

// Source is the root file system of a bundle.
type Source interface {
	// List gives every file, link and folder.
	List() []manifest.File
	// ReadFile gives the content of a regular file by its path in the list.
	ReadFile(path string) ([]byte, error)
}

// File is one file that differs from the bundle's.
type File struct {
	// Path is clean, relative, and no link.
	Path string
	Mode fs.FileMode
	Data []byte
	// Why are the Configs and the template that it comes from.
	Why []manifest.Source
}

// Result is what an install writes over the bundle's root file system.
type Result struct {
	// Files by path.
	Files    []File
	Warnings []cluster.Warning
}

// Problem is one Config or template that cannot be carried out. It wraps
// [ErrApply].
type Problem struct {
	Source manifest.Source
	Reason string
}

// Error gives "file:line: reason".
func (p *Problem) Error() string { return string(p.Source) + ": " + p.Reason }

// Unwrap gives [ErrApply].
func (p *Problem) Unwrap() error { return ErrApply }

// refusal is a reason why something cannot be done; it counts as [ErrApply]
// without repeating it.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrApply }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// Apply gives what Configs and templates change. env are the variables that
// are the same on every host, see [cluster.Cluster.GlobalEnv]. All problems
// are reported together.
func Apply(src Source, configs []cluster.Config, env map[string]string) (Result, error) {
	return ApplyApps(src, configs, env, nil)
}

// ApplyApps is [Apply] with other variables for the templates of each
// application, see [cluster.Cluster.AppEnv]; without app these are not
// rendered.
func ApplyApps(src Source, configs []cluster.Config, env map[string]string, app func(name string) map[string]string) (Result, error) {
	a := &applier{src: src, tree: newTree(src.List()), changed: map[string]*File{}}
	for _, c := range configs {
		if err := a.config(c); err != nil {
			return Result{}, err
		}
	}
	if err := a.templates(env, app); err != nil {
		return Result{}, err
	}
	if len(a.problems) > 0 {
		return Result{}, errors.Join(a.problems...)
	}
	var r Result
	for _, p := range slices.Sorted(maps.Keys(a.changed)) {
		r.Files = append(r.Files, *a.changed[p])
	}
	r.Warnings = a.warnings
	return r, nil
}

type applier struct {
	src      Source
	tree     *tree
	changed  map[string]*File
	total    int
	problems []error
	warnings []cluster.Warning
}

func (a *applier) bad(at manifest.Source, format string, args ...any) {
	if len(a.problems) < maxProblems {
		a.problems = append(a.problems, &Problem{at, fmt.Sprintf(format, args...)})
	}
}

func (a *applier) warn(at manifest.Source, format string, args ...any) {
	a.warnings = append(a.warnings, cluster.Warning{Source: at, Text: fmt.Sprintf(format, args...)})
}

// config carries out one Config.
func (a *applier) config(c cluster.Config) error {
	what := fmt.Sprintf("Config %q", c.Name)
	target, n, err := a.tree.place(strings.TrimPrefix(path.Clean("/"+c.Path), "/"))
	switch {
	case err != nil:
		a.bad(c.Source, "%s: %s cannot be a file: %v", what, c.Path, err)
		return nil
	case n != nil && n.Type == typeDir:
		a.bad(c.Source, "%s: %s is a folder", what, c.Path)
		return nil
	}
	old, err := a.read(target, n)
	if errors.Is(err, ErrApply) {
		a.bad(c.Source, "%s: %v", what, err)
		return nil
	}
	if err != nil {
		return err
	}
	done, err := ApplyConfig(old, c)
	if err != nil {
		a.bad(c.Source, "%s: %v", what, err)
		return nil
	}
	for _, w := range done.Warnings {
		a.warn(c.Source, "%s", w)
	}
	a.put(target, n, done.Data, 0o644, c.Source)
	return nil
}

// Applied is what became of a file that a Config changed.
type Applied struct {
	Data []byte
	// Warnings are what the user should know about it.
	Warnings []string
}

// ApplyConfig carries out a Config on the content of its file, nil where there
// is no such file. In order, as sealer does: the processors; for toSecret, the
// data goes into the Secret that the file holds; by the strategy, the whole
// file is replaced or the data is merged into each of its documents. Errors
// wrap [ErrApply].
func ApplyConfig(old []byte, c cluster.Config) (Applied, error) {
	what := fmt.Sprintf("Config %q", c.Name)
	data, warnings, err := process(c)
	if err != nil {
		return Applied{}, err
	}
	done := Applied{Data: data}
	for _, w := range warnings {
		done.Warnings = append(done.Warnings, what+" "+w)
	}
	secret := slices.Contains(c.Process, "toSecret")
	if old == nil {
		if secret || c.Strategy == cluster.Merge {
			done.Warnings = append(done.Warnings, fmt.Sprintf("%s finds no file %s to put its data into; the data becomes the file", what, c.Path))
		}
		return done, nil
	}
	if secret {
		if data, err = toSecret(old, data); err != nil {
			return Applied{}, err
		}
	}
	applied, err := chart.ApplyConfig(old, c.Strategy, data)
	if err != nil {
		return Applied{}, refuse("%v", err)
	}
	done.Data = applied.Data
	if len(done.Data) > maxFileBytes {
		return Applied{}, refuse("%s would be larger than %d MiB", c.Path, maxFileBytes>>20)
	}
	if len(applied.Dropped) > 0 && isValues(c.Path) && !secret {
		done.Warnings = append(done.Warnings, fmt.Sprintf("%s replaces the whole of %s and so drops %s; say strategy: merge to keep them",
			what, c.Path, strings.Join(applied.Dropped, ", ")))
	}
	return done, nil
}

// isValues tells whether a file holds the default values of a chart.
func isValues(p string) bool { return path.Base(p) == "values.yaml" }

// read gives the content of a file, nil where there is none.
func (a *applier) read(p string, n *node) ([]byte, error) {
	if f, ok := a.changed[p]; ok {
		return f.Data, nil
	}
	if n == nil {
		return nil, nil
	}
	if n.Size > maxFileBytes {
		return nil, refuse("%s is larger than %d MiB", p, maxFileBytes>>20)
	}
	data, err := a.src.ReadFile(n.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// put keeps a file's new content.
func (a *applier) put(p string, n *node, data []byte, mode fs.FileMode, why ...manifest.Source) {
	a.total += len(data)
	if a.total > maxTotalBytes {
		a.bad(why[0], "the changed files are larger than %d MiB together", maxTotalBytes>>20)
		return
	}
	if f, ok := a.changed[p]; ok {
		a.total -= len(f.Data)
		f.Data = data
		for _, w := range why {
			if !slices.Contains(f.Why, w) {
				f.Why = append(f.Why, w)
			}
		}
		return
	}
	if n != nil {
		mode = fs.FileMode(n.Mode).Perm()
	}
	a.changed[p] = &File{Path: p, Mode: mode, Data: data, Why: why}
	a.tree.add(manifest.File{Path: p, Type: typeFile, Mode: uint32(mode), Size: int64(len(data))})
}
