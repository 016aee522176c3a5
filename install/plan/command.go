package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/kubefile"
	"bundle/manifest/step"
)

// commands adds the steps of the bundle: those of its bases first, then its
// own or what the Clusterfile wants instead.
func (b *builder) commands() error {
	var base, own []manifest.Step
	for _, s := range b.in.Contents.Steps {
		if b.inherited(s) {
			base = append(base, s)
		} else {
			own = append(own, s)
		}
	}
	own, err := b.replaced(own)
	if err != nil {
		return err
	}
	for _, s := range slices.Concat(base, own) {
		b.command(s)
	}
	return nil
}

// inherited tells whether a base brought a step. The builder of a bundle puts
// the base's name in front of the places of its steps.
func (b *builder) inherited(s manifest.Step) bool {
	for _, base := range b.in.Contents.Bases {
		if strings.HasPrefix(string(s.Source), base.Name+"/") || strings.HasPrefix(string(s.Source), "base "+base.Name+":") {
			return true
		}
		if s.Source == "" && s.Phase == base.Name && base.Name != b.in.Contents.Name {
			return true
		}
	}
	return false
}

// replaced gives the bundle's own steps as the Clusterfile wants them.
func (b *builder) replaced(own []manifest.Step) ([]manifest.Step, error) {
	c, name := b.in.Cluster, b.in.Contents.Name
	if len(c.CmdArgs) > 0 {
		b.warn("", "cmd_args of the Clusterfile are not used: the commands of a bundle have no arguments left")
	}
	switch {
	case c.Cmd != nil:
		cmds := make([]step.Command, len(c.Cmd))
		for i, text := range c.Cmd {
			cmds[i] = step.Command{Text: text, Source: "Clusterfile cmd"}
			if i < len(c.CmdSources) {
				cmds[i].Source = c.CmdSources[i]
			}
		}
		if len(own) > 0 {
			b.warn(first(c.CmdSources), "cmd of the Clusterfile replaces the %s of %s", count(len(own), "own step"), name)
		}
		return step.From(cmds, name, name+"-cmd"), nil
	case c.Apps != nil || len(c.Launches) > 0:
		return b.launch(own)
	}
	return own, nil
}

func first(list []manifest.Source) manifest.Source {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// launch gives the bundle's steps with the applications, and the commands that
// start them, that the Clusterfile names instead of the bundle's.
func (b *builder) launch(own []manifest.Step) ([]manifest.Step, error) {
	c, name := b.in.Cluster, b.in.Contents.Name
	var order []string // of applications, as the bundle launches them
	known := map[string][]manifest.Step{}
	var out []manifest.Step
	for _, s := range own {
		app := appOf(s)
		if app == "" {
			out = append(out, s) // no application's; appNames does not touch it
			continue
		}
		if known[app] == nil {
			order = append(order, app)
		}
		known[app] = append(known[app], s)
	}
	for _, l := range c.Launches {
		cmds := make([]step.Command, len(l.Cmds))
		for i, text := range l.Cmds {
			cmds[i] = step.Command{Text: text, Source: l.Source, App: l.App, Dir: kubefile.AppDir(l.App)}
		}
		known[l.App] = step.From(cmds, name, name+"-app-"+slug(l.App))
	}
	source := manifest.Source("Clusterfile appNames")
	if c.Apps != nil {
		order = c.Apps
		if c.AppsSource != "" {
			source = c.AppsSource
		}
	}
	files := b.appFiles()
	done := map[string]bool{}
	for _, app := range order {
		switch {
		case app == "" || done[app]:
			continue
		case known[app] != nil:
			out = append(out, known[app]...)
		case files[app] == nil:
			return nil, &inputError{
				text: fmt.Sprintf("%s: the application %s is not in the bundle %s", source, app, name),
				hint: "see bundle files for what is in " + kubefile.AppDir(""),
			}
		default:
			line, err := kubefile.LaunchLine(app, files[app])
			if err != nil {
				return nil, &inputError{text: fmt.Sprintf("%s: %v", source, err)}
			}
			out = append(out, step.From([]step.Command{{Text: line, Source: source, App: app}}, name, name+"-app-"+slug(app))...)
		}
		done[app] = true
	}
	return out, nil
}

// appFiles gives the regular files of every application, relative to its
// folder.
func (b *builder) appFiles() map[string][]string {
	out := map[string][]string{}
	for _, f := range b.in.Contents.Files {
		if rest, ok := strings.CutPrefix(f.Path, kubefile.AppDir("")); ok && f.Type == "file" {
			if app, name, ok := strings.Cut(rest, "/"); ok {
				out[app] = append(out[app], name)
			}
		}
	}
	return out
}

// appOf tells which application a step launches: the one whose folder it runs
// in or names.
func appOf(s manifest.Step) string {
	text := s.Run
	if dir, ok := s.Args["dir"].(string); ok {
		text = dir + "/ " + text
	}
	_, rest, ok := strings.Cut(text, kubefile.AppDir(""))
	if !ok {
		return ""
	}
	app, _, _ := strings.Cut(rest, "/")
	app, _, _ = strings.Cut(app, " ")
	return app
}

// command adds one step of the bundle.
func (b *builder) command(in manifest.Step) {
	s := Step{Step: in, Hosts: []string{b.master0()}}
	if s.Kind == manifest.StepExec {
		dir, _ := in.Args["dir"].(string)
		s.Script, s.Dir = in.Run, path.Join(b.rootfs, dir)
		// The bundle may come from a tool that saw less, or from nobody: what
		// the text says counts as well.
		b.judge(&s, func(int) manifest.Source { return in.Source })
		b.add(s)
		return
	}
	if s.Destructive {
		s.Dangers = []Line{{in.Source, clip(in.Run)}}
		if in.Run == "" {
			s.Dangers[0].Text = in.Summary
		}
	}
	s.Content = b.content(in)
	s.Undoes = b.undoes(in)
	b.add(s)
}

// undoes finds the steps before that a step takes back.
func (b *builder) undoes(in manifest.Step) []string {
	a, err := step.Decode(in)
	if err != nil {
		return nil
	}
	var out []string
	for _, before := range b.plan.Steps {
		if x, err := step.Decode(before.Step); err == nil && takesBack(a, x) {
			out = append(out, before.ID)
		}
	}
	return out
}

func takesBack(a, before step.Action) bool {
	switch a := a.(type) {
	case *step.HelmUninstall:
		r, ok := before.(*step.HelmRelease)
		return ok && r.Release == a.Release && r.Namespace == a.Namespace
	case *step.Delete:
		switch x := before.(type) {
		case *step.Apply:
			return len(a.Files) > 0 && a.Dir == x.Dir && slices.Equal(a.Files, x.Files)
		case *step.Create:
			return len(a.Files) > 0 && a.Dir == x.Dir && slices.Equal(a.Files, x.Files)
		case *step.Namespace:
			return a.Resource == "namespace" && slices.Contains(a.Names, x.Name)
		}
	}
	return false
}
