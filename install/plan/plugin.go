package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bundle/manifest"
	"bundle/manifest/cluster"
	"bundle/manifest/step"
)

// splitSource cuts FILE:LINE; line is 0 where there is none.
func splitSource(s manifest.Source) (file string, line int) {
	i := strings.LastIndexByte(string(s), ':')
	if i < 0 {
		return string(s), 0
	}
	n, err := strconv.Atoi(string(s[i+1:]))
	if err != nil {
		return string(s), 0
	}
	return string(s[:i]), n
}

// run adds the plugins of a phase that want is true for.
func (b *builder) run(phase cluster.Phase, want func(cluster.Plugin) bool) error {
	var before []Step
	for _, p := range b.plugins {
		if !slices.Contains(p.Phases, phase) || want != nil && !want(p) {
			continue
		}
		s, ok, err := b.plugin(p, phase)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		for _, x := range before {
			if share(x.Hosts, s.Hosts) {
				s.After = append(s.After, x.ID)
			}
		}
		before = append(before, b.add(s))
	}
	return nil
}

func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(h string) bool { return slices.Contains(b, h) })
}

// plugin makes the step of a plugin in a phase; ok is false where there is
// nothing to do.
func (b *builder) plugin(p cluster.Plugin, phase cluster.Phase) (s Step, ok bool, err error) {
	s = Step{Step: manifest.Step{ID: string(phase) + "." + slug(p.Name), Phase: string(phase), Source: p.Source}}
	switch p.Type {
	case cluster.TypeHostname:
		return b.hostNames(p, s)
	case cluster.TypeLabel, cluster.TypeTaint:
		return b.nodeTable(p, s)
	case cluster.TypeETCD:
		b.warn(p.Source, "the plugin %s would save etcd; it is left out, because a new cluster has nothing to save", p.Name)
		return s, false, nil
	case cluster.TypeClusterCheck:
		b.warn(p.Source, "the plugin %s is left out: the last step checks the cluster", p.Name)
		return s, false, nil
	case cluster.TypeShell:
	default:
		return s, false, &inputError{
			text: fmt.Sprintf("%s: the plugin %s is of the unknown type %q", p.Source, p.Name, p.Type),
			hint: "write it as type SHELL",
		}
	}
	hosts, err := b.pluginHosts(p, phase)
	if err != nil || len(hosts) == 0 {
		return s, false, err
	}
	s.Hosts, s.Kind = addresses(hosts), KindHostScript
	s.Script, s.Dir = p.Data, b.rootfs
	if phase == cluster.PhaseOriginally {
		s.Dir = "" // there is no root file system yet
	}
	s.Summary = fmt.Sprintf("Run the plugin %s", p.Name)
	b.judge(&s, func(line int) manifest.Source { return scriptLine(p, line) })
	return s, true, nil
}

// pluginHosts selects the hosts of a plugin in a phase.
func (b *builder) pluginHosts(p cluster.Plugin, phase cluster.Phase) ([]cluster.Host, error) {
	p.Phases = []cluster.Phase{phase}
	hosts, warnings, err := b.in.Cluster.Select(p)
	b.pass(warnings)
	return hosts, err
}

// pass hands on warnings about the input.
func (b *builder) pass(warnings []cluster.Warning) {
	for _, w := range warnings {
		b.warn(w.Source, "%s", w.Text)
	}
}

// scriptLine is the place of a line, from 1, of the plugin's script.
func scriptLine(p cluster.Plugin, n int) manifest.Source {
	if p.Line == 0 {
		return p.Source
	}
	file, _ := splitSource(p.Source)
	return manifest.FileLine(file, p.Line+n-1)
}

// judge fills in what a script's text tells: whether it removes data, and
// whether it needs the network.
func (b *builder) judge(s *Step, at func(line int) manifest.Source) {
	if step.Dangerous(s.Script) {
		s.Destructive = true
		for i, line := range strings.Split(s.Script, "\n") {
			if t := strings.TrimSpace(line); t != "" && t[0] != '#' && step.Dangerous(t) {
				s.Dangers = append(s.Dangers, Line{at(i + 1), t})
			}
		}
		if len(s.Dangers) == 0 {
			first, _, _ := strings.Cut(strings.TrimSpace(s.Script), "\n")
			s.Dangers = []Line{{at(1), first}}
		}
	}
	b.network(s.Script, at)
}

func (b *builder) network(script string, at func(line int) manifest.Source) {
	for _, f := range needsNetwork(script, b.local) {
		b.warn(at(f.line), "needs the network: %s", clip(f.command))
	}
}

// clip keeps a line of shell readable in a warning.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}

// leftOut warns about plugins of phases that no install has.
func (b *builder) leftOut() {
	runs := []cluster.Phase{
		cluster.PhaseOriginally, cluster.PhasePreInstall, cluster.PhasePreInit, cluster.PhasePostInit, cluster.PhasePreGuest, cluster.PhasePostInstall,
		cluster.PhasePreClean, cluster.PhasePostClean, cluster.PhasePreUninstall, cluster.PhasePostUninstall,
	}
	for _, p := range b.plugins {
		if len(p.Phases) == 0 || slices.ContainsFunc(runs, func(ph cluster.Phase) bool { return slices.Contains(p.Phases, ph) }) {
			continue
		}
		names := make([]string, len(p.Phases))
		for i, ph := range p.Phases {
			names[i] = string(ph)
		}
		b.warn(p.Source, "the plugin %s is for %s, which an install does not have; it is not run", p.Name, strings.Join(names, " and "))
	}
}
