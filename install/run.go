package install

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"bundle/install/check"
	"bundle/install/engine"
	"bundle/install/host"
	"bundle/install/node"
	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

// adminConfig is where kubeadm leaves the administrator's kubeconfig.
const adminConfig = "/etc/kubernetes/admin.conf"

// Run implements [engine.Runner]: it has the package that owns a kind of step
// do it.
func (s *Session) Run(ctx context.Context, t engine.Task) (engine.Outcome, error) {
	switch t.Step.Kind {
	case plan.KindPreflight:
		return s.runPreflight(ctx)
	case plan.KindCheck:
		return s.runCheck(ctx)
	}
	h, err := s.hosts.Get(ctx, t.Host)
	if err != nil {
		return engine.Outcome{}, engine.Untouched(err)
	}
	switch t.Step.Kind {
	case plan.KindBundlePlace, plan.KindRegistryStart, plan.KindRegistryTrust, plan.KindSiteClean:
		return s.runSite(ctx, t.Step, h)
	case plan.KindRootfsPull, plan.KindFilesWrite, plan.KindHostName, plan.KindRootfsRemove,
		plan.KindKubeadmInit, plan.KindKubeadmJoin, plan.KindKubeadmReset:
		return s.runNode(ctx, t.Step, h)
	case plan.KindHostScript:
		c, ok := s.job.Host(t.Host)
		if !ok {
			return engine.Outcome{}, fmt.Errorf("step %s is for %s, which is no host of the cluster", t.Step.ID, t.Host)
		}
		return s.script(ctx, t, h, s.job.Cluster.HostEnv(c, s.job.env()))
	case manifest.StepExec:
		// sealer gives launch commands no variables of the cluster.
		return s.script(ctx, t, h, map[string]string{})
	}
	return s.runKube(ctx, t.Step)
}

func (s *Session) runSite(ctx context.Context, step plan.Step, h host.Host) (engine.Outcome, error) {
	switch step.Kind {
	case plan.KindBundlePlace:
		o, err := s.site.Place(ctx, h, s.job.sources())
		return outcomeOf(o.Changed, o.Detail), err
	case plan.KindRegistryStart:
		o, err := s.site.Start(ctx, h)
		return outcomeOf(o.Changed, o.Detail), err
	case plan.KindSiteClean:
		r, err := s.site.Undo(ctx, h)
		return outcomeOf(r.Changed, r.Detail), err
	}
	if step.Phase == plan.PhaseRuntime {
		o, err := s.site.EnsureRuntime(ctx, h)
		return outcomeOf(o.Changed, o.Detail), err
	}
	if _, _, _, err := s.credentials(ctx); err != nil {
		return engine.Outcome{}, err
	}
	o, err := s.site.Trust(ctx, h, s.job.upstreams())
	return outcomeOf(o.Changed, o.Detail), err
}

func (s *Session) runNode(ctx context.Context, step plan.Step, h host.Host) (engine.Outcome, error) {
	var (
		o   node.Outcome
		err error
	)
	switch step.Kind {
	case plan.KindRootfsPull:
		return s.pullRootfs(ctx, h)
	case plan.KindFilesWrite:
		var files []node.File
		for _, f := range s.job.Changed.Files {
			files = append(files, node.File{Path: f.Path, Mode: uint32(f.Mode.Perm()), Data: f.Data})
		}
		o, err = s.nodes.WriteFiles(ctx, h, files)
	case plan.KindHostName:
		names, err := plan.HostNames(step.Step)
		if err != nil {
			return engine.Outcome{}, err
		}
		o, err = s.nodes.SetHostName(ctx, h, names[h.Name()])
		return outcomeOf(o.Changed, o.Detail), err
	case plan.KindKubeadmInit:
		return s.initMaster(ctx, h)
	case plan.KindKubeadmJoin:
		return s.join(ctx, h)
	case plan.KindKubeadmReset:
		s.dropCluster()
		o, err = s.nodes.Reset(ctx, h)
	case plan.KindRootfsRemove:
		o, err = s.nodes.RemoveRootfs(ctx, h)
	}
	return outcomeOf(o.Changed, o.Detail), err
}

// pullRootfs puts our own program on the host first: masters have it already.
func (s *Session) pullRootfs(ctx context.Context, h host.Host) (engine.Outcome, error) {
	if _, err := s.site.PlaceProgram(ctx, h); err != nil {
		return engine.Outcome{}, err
	}
	src, err := s.source(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	src.Progress = func(done, total int64) {
		engine.Waiting(ctx, fmt.Sprintf("the root file system: %d of %d MB", done/1e6, total/1e6))
	}
	o, err := s.nodes.PullRootfs(ctx, h, src)
	return outcomeOf(o.Changed, o.Detail), err
}

func (s *Session) initMaster(ctx context.Context, h host.Host) (engine.Outcome, error) {
	s.dropCluster()
	o, err := s.nodes.Init(ctx, h)
	if err != nil {
		return engine.Outcome{}, err
	}
	if _, err := s.nodes.InstallKubeconfig(ctx, h); err != nil {
		return engine.Outcome{}, err
	}
	return outcomeOf(o.Changed, o.Detail), nil
}

func (s *Session) join(ctx context.Context, h host.Host) (engine.Outcome, error) {
	m, err := s.master0(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	o, err := s.nodes.Join(ctx, h, m)
	if err != nil {
		return engine.Outcome{}, err
	}
	if c, ok := s.job.Host(h.Name()); ok && c.Master() {
		if _, err := s.nodes.InstallKubeconfig(ctx, h); err != nil {
			return engine.Outcome{}, err
		}
	}
	return outcomeOf(o.Changed, o.Detail), nil
}

// script runs the text of a step as it stands.
func (s *Session) script(ctx context.Context, t engine.Task, h host.Host, env map[string]string) (engine.Outcome, error) {
	env = maps.Clone(env)
	if _, ok := env["KUBECONFIG"]; !ok {
		env["KUBECONFIG"] = adminConfig
	}
	tail := &lastLine{tell: func(line string) { engine.Waiting(ctx, line) }}
	h = s.attempt(t).On(h)
	o, err := s.nodes.Script(ctx, h, node.Script{Label: t.Step.ID, Text: t.Step.Script, Dir: t.Step.Dir, Env: env, Output: tail})
	return outcomeOf(o.Changed, o.Detail), err
}

func (s *Session) runKube(ctx context.Context, step plan.Step) (engine.Outcome, error) {
	c, err := s.cluster(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	ctx, done := s.listen(ctx)
	defer done()
	if step.Kind == plan.KindNodeLabels {
		changes, err := plan.NodeChanges(step.Step)
		if err != nil {
			return engine.Outcome{}, err
		}
		var hosts []cluster.Host
		for _, n := range changes {
			hosts = append(hosts, cluster.Host{Address: n.Address, Labels: n.Labels, Taints: n.Taints})
		}
		o, err := c.LabelNodes(ctx, hosts)
		return outcomeOf(o.Changed, o.Detail), err
	}
	o, err := c.Run(ctx, step.Step)
	return outcomeOf(o.Changed, o.Detail), err
}

func (s *Session) runPreflight(ctx context.Context) (engine.Outcome, error) {
	r, err := s.Preflight(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	if s.o.Report != nil {
		s.o.Report(r)
	}
	return outcomeOf(false, r.Summary()), r.Err()
}

// runCheck holds the acceptance: it waits for what is only not ready yet, as
// long as the step has time, and reports what it saw last.
func (s *Session) runCheck(ctx context.Context) (engine.Outcome, error) {
	e, err := s.Expected()
	if err != nil {
		return engine.Outcome{}, err
	}
	r, err := s.Accept(ctx, e, true)
	if err != nil && !errors.Is(err, check.ErrFailed) {
		return engine.Outcome{}, err
	}
	if s.o.Report != nil {
		s.o.Report(r)
	}
	return outcomeOf(false, r.Summary()), err
}
