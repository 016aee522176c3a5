package pack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/kubefile"
	"bundle/manifest/step"
)

// fromKubefile takes over what a Kubefile asks for.
func (in *inputs) fromKubefile(k *kubefile.File, context string, o Options) error {
	if problems := k.Unsupported(); len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = p
		}
		return errors.Join(errs...)
	}
	k, err := k.Resolve(kubefile.Args{Build: o.BuildArgs, Arch: archOf(in.platforms)})
	if err != nil {
		return err
	}
	for _, w := range k.Warnings {
		in.warn(w.Source, "%s", w.Text)
	}
	in.base, in.baseSource = k.Base, k.BaseSource
	in.inheritSteps = k.InheritsCommands()
	in.env, in.labels = k.Env(), k.Labels()
	var errs []error
	for _, c := range k.Copies() {
		if err := in.copy(context, c); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	in.steps = func(phase string) ([]manifest.Step, error) {
		commands, err := in.launchLines(k.Commands())
		if err != nil {
			return nil, err
		}
		return step.From(commands, phase, phase), nil
	}
	return nil
}

// archOf gives the architecture for $ARCH where all platforms share one.
func archOf(platforms []string) string {
	arch := ""
	for _, p := range platforms {
		_, a, _ := strings.Cut(p, "/")
		a, _, _ = strings.Cut(a, "/")
		if arch != "" && arch != a {
			return ""
		}
		arch = a
	}
	return arch
}

// launchLines gives applications without a command of their own the one that
// their files call for.
func (in *inputs) launchLines(commands []kubefile.Command) ([]kubefile.Command, error) {
	out := slices.Clone(commands)
	for i, c := range out {
		if c.Text != "" {
			continue
		}
		dir := kubefile.AppDir(c.App) + "/"
		var files []string
		for _, e := range in.tree.sorted() {
			if name, ok := strings.CutPrefix(e.Path, dir); ok && e.Type == "file" {
				files = append(files, name)
			}
		}
		line, err := kubefile.LaunchLine(c.App, files)
		if err != nil {
			return nil, inputError{fmt.Errorf("%s: %w", c.Source, err)}
		}
		out[i].Text = line
	}
	return out, nil
}

// copy puts what a COPY names into the tree.
func (in *inputs) copy(context string, c kubefile.CopyRule) error {
	sources := []string{c.Src}
	if c.Glob {
		matches, err := filepath.Glob(filepath.Join(context, filepath.FromSlash(c.Src)))
		if err != nil {
			return fmt.Errorf("%s: COPY: the pattern %s is malformed", c.Source, c.Src)
		}
		if len(matches) == 0 {
			return fmt.Errorf("%s: COPY: nothing in the context matches %s", c.Source, c.Src)
		}
		sources = sources[:0]
		for _, m := range matches {
			rel, err := filepath.Rel(context, m)
			if err != nil {
				return err
			}
			sources = append(sources, filepath.ToSlash(rel))
		}
	}
	for _, s := range sources {
		src := filepath.Join(context, filepath.FromSlash(s))
		info, err := os.Stat(src)
		if err != nil {
			return fmt.Errorf("%s: COPY: %w", c.Source, noSuchFile(src, err))
		}
		if c.Add && !info.IsDir() {
			if err := refuseArchive(src, c.Source); err != nil {
				return err
			}
		}
		at := in.tree.entries[cleanRootPath(c.Dst)]
		target := c.Target(s, info.IsDir(), at != nil && at.Type == "dir")
		if err := in.tree.copyTree(src, target, c.Source); err != nil {
			return err
		}
	}
	return nil
}

// archiveMagic is how archives that ADD would unpack begin.
var archiveMagic = []string{"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd"}

// refuseArchive errs for files that ADD would unpack, whatever their name.
func refuseArchive(src string, source manifest.Source) error {
	f, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("%s: ADD: %w", source, noSuchFile(src, err))
	}
	defer f.Close()
	head := make([]byte, 263)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	head = head[:n]
	isTar := n >= 262 && string(head[257:262]) == "ustar"
	for _, m := range archiveMagic {
		isTar = isTar || strings.HasPrefix(string(head), m)
	}
	if isTar {
		return fmt.Errorf("%s: ADD would unpack %s; unpack it before the build and use COPY", source, path.Base(src))
	}
	return nil
}
