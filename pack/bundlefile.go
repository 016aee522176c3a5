package pack

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"bundle/manifest"
	"bundle/manifest/bundlefile"
)

// fromBundlefile takes over what a bundle.yaml asks for.
func (in *inputs) fromBundlefile(f *bundlefile.File, context string, o Options) error {
	in.name, in.version = f.Name, f.Version
	if len(in.platforms) == 0 {
		in.platforms = f.Platforms
	}
	in.base, in.baseSource = f.From, f.FromSource
	in.inheritSteps = true
	in.env, in.labels = f.Env, f.Labels
	var errs []error
	for _, i := range f.Images {
		in.images.add(i.Ref, i.Source)
		if i.Optional {
			in.optional[i.Ref.String()] = true
		}
	}
	for _, l := range f.ImageLists {
		if err := in.readList(l.Path, filepath.Join(context, filepath.FromSlash(l.Path))); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.Source, err))
		}
	}
	for _, c := range f.Charts {
		in.charts = append(in.charts, chartOf(c, context))
	}
	for _, c := range f.Files {
		if err := in.copyEntry(context, c); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	in.steps = func(phase string) ([]manifest.Step, error) { return f.Steps(phase, phase), nil }
	return nil
}

func chartOf(c bundlefile.Chart, context string) chartInput {
	ci := chartInput{source: c.Source, release: c.Release, namespace: c.Namespace}
	switch {
	case c.OCI != "":
		ci.spec = c.OCI
		if c.Version != "" {
			ci.spec += ":" + c.Version
		}
	case c.Name != "":
		ci.spec = c.Name + "@" + c.Repo
		if c.Version != "" {
			ci.spec += ":" + c.Version
		}
	default:
		ci.spec = filepath.Join(context, filepath.FromSlash(c.Path))
	}
	ci.values = inContext(context, c.Values)
	for _, p := range c.Profiles {
		ci.profiles = append(ci.profiles, inContext(context, p))
	}
	return ci
}

func inContext(context string, files []string) []string {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = filepath.Join(context, filepath.FromSlash(f))
	}
	return list
}

// copyEntry puts one entry of files into the tree.
func (in *inputs) copyEntry(context string, c bundlefile.Copy) error {
	src := filepath.Join(context, filepath.FromSlash(c.Src))
	info, err := os.Stat(src)
	if err != nil {
		return fmt.Errorf("%s: files: %w", c.Source, noSuchFile(src, err))
	}
	dst := c.Dst
	if !info.IsDir() && c.Into {
		dst = path.Join(dst, filepath.Base(src))
	}
	dst = cmp.Or(dst, ".")
	if err := in.tree.copyTree(src, dst, c.Source); err != nil {
		return err
	}
	if c.Mode != 0 {
		in.tree.chmod(dst, c.Mode)
	}
	return nil
}
