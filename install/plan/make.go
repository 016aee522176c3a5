package plan

import (
	"fmt"
	"strings"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// Phases of the installer's own steps. Those of plugins are cluster.Phase
// constants, those of a bundle's steps are its name and its bases'.
const (
	PhasePreflight  = "preflight"
	PhaseRegistry   = "registry"
	PhaseRootfs     = "rootfs"
	PhaseRuntime    = "runtime"
	PhaseKubeadm    = "kubeadm"
	PhaseNodes      = "nodes"
	PhaseAcceptance = "acceptance"
)

// builder puts a plan together.
type builder struct {
	in      Input
	plan    *Plan
	ids     ids
	rootfs  string
	hosts   map[string]cluster.Host
	local   map[string]bool // names of hosts that are no outside network
	plugins []cluster.Plugin
	env     string
	warned  map[Warning]bool
}

// Make gives the plan of an install. The error wraps [ErrPlan] where the
// input is to blame.
func Make(in Input) (*Plan, error) {
	b, err := newBuilder(in, Install)
	if err != nil {
		return nil, err
	}
	early := func(p cluster.Plugin) bool { return p.Hook }
	late := func(p cluster.Plugin) bool { return !p.Hook }
	b.preflight()
	for _, f := range []func() error{
		// Before anything of ours lies on a host: such a plugin may mount the
		// disk that the root file system goes to.
		func() error { return b.run(cluster.PhaseOriginally, nil) },
		func() error { b.registry(); b.files(); return nil },
		func() error { return b.run(cluster.PhasePreInstall, nil) },
		func() error { return b.run(cluster.PhasePreInit, nil) },
		b.runtime,
		func() error { b.kubeadm(); return nil },
		func() error { return b.run(cluster.PhasePostInit, nil) },
		// Since sealer 0.9 this phase brings the network and the addons that
		// the commands rely on.
		func() error { return b.run(cluster.PhasePostInstall, early) },
		b.nodeLabels,
		func() error { return b.run(cluster.PhasePreGuest, nil) },
		b.commands,
		func() error { return b.run(cluster.PhasePostInstall, late) },
	} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	b.check()
	b.leftOut()
	return b.plan, nil
}

func newBuilder(in Input, operation string) (*builder, error) {
	switch {
	case in.Contents == nil || in.Cluster == nil:
		return nil, &inputError{text: "a plan needs a bundle and a cluster"}
	case len(in.Cluster.Hosts) == 0 || !in.Cluster.Hosts[0].Master():
		return nil, &inputError{text: "the cluster has no master", hint: "list one in the Clusterfile, or give it with -m"}
	}
	b := &builder{
		in: in, ids: ids{}, rootfs: in.Cluster.Rootfs(), hosts: map[string]cluster.Host{}, local: map[string]bool{}, warned: map[Warning]bool{},
		plan: &Plan{
			Operation: operation, Cluster: in.Cluster.Name, Bundle: in.Contents.Name, Version: in.Contents.Version,
			IndexDigest: in.IndexDigest, Steps: []Step{},
		},
	}
	for _, h := range in.Cluster.Hosts {
		if _, ok := b.hosts[h.Address]; ok {
			return nil, &inputError{text: fmt.Sprintf("%s: the host %s is listed twice", h.Source, h.Address)}
		}
		b.hosts[h.Address] = h
		b.local[h.Address] = true
	}
	for _, a := range in.Cluster.Aliases {
		for _, n := range a.Names {
			b.local[n] = true
		}
	}
	if d := in.Cluster.Registry.Domain; d != "" {
		b.local[d] = true
	}
	b.local["sea.hub"], b.local["apiserver.cluster.local"] = true, true
	b.pass(in.Cluster.Warnings)
	var order string
	b.plugins, order = orderPlugins(in.Cluster.Plugins, in.Plugins)
	if len(b.plugins) > 0 {
		b.plan.PluginOrder = order
	}
	return b, nil
}

// add appends a step and gives it back with its final ID.
func (b *builder) add(s Step) Step {
	s.ID = b.ids.unique(s.ID)
	s.Step = withTimeout(s.Step)
	if s.Source == "" {
		s.Source = b.hosts[s.Hosts[0]].Source
	}
	if s.Source == "" {
		s.Source = "command line"
	}
	b.plan.Steps = append(b.plan.Steps, s)
	return s
}

func (b *builder) warn(at manifest.Source, format string, a ...any) {
	w := Warning{Source: at, Text: fmt.Sprintf(format, a...)}
	if !b.warned[w] {
		b.warned[w] = true
		b.plan.Warnings = append(b.plan.Warnings, w)
	}
}

func (b *builder) master0() string { return b.in.Cluster.Hosts[0].Address }

func addresses(hosts []cluster.Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.Address
	}
	return out
}

// all, masters and nodes give the addresses of hosts, in order.
func (b *builder) all() []string { return addresses(b.in.Cluster.Hosts) }

func (b *builder) masters() []string {
	var out []string
	for _, h := range b.in.Cluster.Hosts {
		if h.Master() {
			out = append(out, h.Address)
		}
	}
	return out
}

func (b *builder) nodes() []string {
	var out []string
	for _, h := range b.in.Cluster.Hosts {
		if !h.Master() {
			out = append(out, h.Address)
		}
	}
	return out
}

// file gives a file of the root file system.
func (b *builder) file(name string) (manifest.File, bool) {
	for _, f := range b.in.Contents.Files {
		if f.Path == name && f.Type != "dir" {
			return f, true
		}
	}
	return manifest.File{}, false
}

// quote makes a text one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
