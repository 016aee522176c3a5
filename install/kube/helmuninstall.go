package kube

import (
	"context"
	"errors"
	"time"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"

	"bundle/manifest/step"
)

// lingers is how long an uninstall waits for the objects to go.
const lingers = time.Minute

// uninstall makes sure that a release is not there.
func (s *session) uninstall(ctx context.Context, a step.HelmUninstall) (Outcome, error) {
	h := s.helm(ctx, a.Namespace, a.Release)
	list, err := h.history()
	if err != nil {
		return Outcome{}, err
	}
	now := assess(list)
	if now.state == stateAbsent || now.state == stateRemoved {
		return Outcome{Detail: h.what() + " is not installed"}, nil
	}
	var going []gone
	if docs, err := decode(h.what(), []byte(now.last.Manifest)); err == nil {
		for _, d := range docs {
			if g, live, err := h.own(ctx, d); err == nil && live != nil {
				going = append(going, g)
			}
		}
	}
	un := action.NewUninstall(h.cfg)
	un.WaitStrategy, un.Timeout, un.IgnoreNotFound = helmkube.HookOnlyStrategy, budget(ctx), true
	if _, err := un.Run(a.Release); err != nil {
		if _, ok := errors.AsType[*Error](err); ok || ended(err) {
			return Outcome{}, err
		}
		return Outcome{}, fail(nil, h.what(), "%s cannot be uninstalled: %s", h.what(), helmReason(err)).because(err)
	}
	detail := "uninstalled " + h.what()
	wait, cancel := context.WithTimeout(ctx, lingers)
	defer cancel()
	if err := s.waitGone(wait, going); err != nil {
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Outcome{}, err
		}
		detail += ", but " + oneLine(err.Error())
	}
	return Outcome{Changed: true, Detail: detail}, nil
}
