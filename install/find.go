package install

import (
	"context"
	"fmt"

	"bundle/install/engine"
	"bundle/install/once"
	"bundle/install/plan"
	"bundle/manifest"
)

// attempt names one attempt to run a script on a host.
func (s *Session) attempt(t engine.Task) once.Script {
	return once.Script{Key: s.job.Cluster.Name + " " + t.Step.ID, Attempt: t.Attempt}
}

// Find implements [engine.Finder]: for scripts it asks the host how the
// attempt ended.
func (s *Session) Find(ctx context.Context, t engine.Task) (engine.Fate, engine.Outcome, error) {
	if t.Step.Kind != plan.KindHostScript && t.Step.Kind != manifest.StepExec || t.Attempt == "" {
		return engine.Unknown, engine.Outcome{}, nil
	}
	h, err := s.hosts.Get(ctx, t.Host)
	if err != nil {
		return engine.Unknown, engine.Outcome{}, err
	}
	r, err := s.attempt(t).Find(ctx, h)
	if err != nil {
		return engine.Unknown, engine.Outcome{}, err
	}
	switch {
	case r.State == once.Never:
		return engine.Never, engine.Outcome{}, nil
	case r.State == once.Ended && r.Code == 0:
		return engine.Ended, engine.Outcome{Changed: true, Detail: "it went on to its end while nobody watched"}, nil
	case r.State == once.Ended:
		err := fmt.Errorf("it ended with code %d", r.Code)
		if r.Said != "" {
			err = fmt.Errorf("%w: %s", err, r.Said)
		}
		return engine.Failed, engine.Outcome{}, err
	}
	return engine.Unknown, engine.Outcome{}, nil
}
