package plan

import (
	"slices"

	"bundle/manifest/cluster"
)

// CleanPlan gives the plan that takes an install back. Its IDs begin with
// "clean.". The scripts of the image and of plugins run while the root file
// system is still there, because they use what lies in it.
func CleanPlan(in Input) (*Plan, error) {
	b, err := newBuilder(in, Clean)
	if err != nil {
		return nil, err
	}
	for _, phase := range []cluster.Phase{cluster.PhasePreUninstall, cluster.PhasePreClean} {
		if err := b.run(phase, nil); err != nil {
			return nil, err
		}
	}
	b.reset()
	if err := b.uninstall(); err != nil {
		return nil, err
	}
	for _, phase := range []cluster.Phase{cluster.PhasePostClean, cluster.PhasePostUninstall} {
		if err := b.run(phase, nil); err != nil {
			return nil, err
		}
	}
	b.remove(own("rootfs", PhaseRootfs, KindRootfsRemove, b.all(), "Remove %s", b.rootfs))
	// Last, because everything of ours lies there.
	b.remove(own("registry", PhaseRegistry, KindSiteClean, b.all(), "Take the registry, its names and its certificates off the host"))
	for i := range b.plan.Steps {
		s := &b.plan.Steps[i]
		s.ID = "clean." + s.ID
		for j := range s.After {
			s.After[j] = "clean." + s.After[j]
		}
	}
	return b.plan, nil
}

// remove adds a step that removes what an install made.
func (b *builder) remove(s Step) {
	s.Destructive = true
	b.add(s)
}

// reset adds kubeadm reset: nodes first, then the masters, the first one last.
func (b *builder) reset() {
	if nodes := b.nodes(); len(nodes) > 0 {
		b.remove(own("kubeadm.reset-nodes", PhaseKubeadm, KindKubeadmReset, nodes, "Take the nodes out of the cluster, with kubeadm reset"))
	}
	masters := b.masters()
	slices.Reverse(masters)
	s := own("kubeadm.reset-masters", PhaseKubeadm, KindKubeadmReset, masters, "Take the masters down, with kubeadm reset")
	s.Serial = len(masters) > 1
	b.remove(s)
}

// uninstall adds the image's own scripts that undo its runtime scripts.
func (b *builder) uninstall() error {
	name, f, err := b.runtimeScript("uninstall-")
	if err != nil {
		return err
	}
	summary := "Uninstall " + name
	if name == "" {
		var ok bool
		if f, ok = b.file("scripts/clean.sh"); !ok {
			return nil
		}
		name, summary = "clean", "Uninstall the container runtime and the kubelet"
	}
	b.script("runtime."+name, f, summary)
	last := &b.plan.Steps[len(b.plan.Steps)-1]
	last.Destructive, last.Idempotent = true, true
	last.Dangers = []Line{{f.Source, last.Script}}
	return nil
}
