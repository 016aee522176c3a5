package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"

	"bundle/manifest/step"
)

// States of a release, from what its history says.
type state int

const (
	stateAbsent       state = iota
	stateRemoved            // uninstalled, with its history kept
	stateDeployed           // the last revision is deployed
	stateBroken             // the last revision failed, an earlier one did not
	stateNever              // no revision was ever deployed
	statePending            // an upgrade or a rollback was aborted
	stateUninstalling       // an uninstall was aborted
)

// standing is where a release stands.
type standing struct {
	state state
	all   []*release.Release
	last  *release.Release
	// good is the latest revision that came to be, if any did.
	good *release.Release
}

// assess reads the history of a release, oldest first. The latest revision
// that came to be may have no deployed status any more: an upgrade takes it
// away before it gives the new one its own.
func assess(list []*release.Release) standing {
	if len(list) == 0 {
		return standing{state: stateAbsent}
	}
	s := standing{all: list, last: list[len(list)-1]}
	for _, r := range slices.Backward(list) {
		if deployed(r) && (s.good == nil || r.Info.Status == common.StatusDeployed && s.good.Info.Status != common.StatusDeployed) {
			s.good = r
		}
	}
	switch st := s.last.Info.Status; {
	case st == common.StatusDeployed:
		s.state = stateDeployed
	case st == common.StatusUninstalled:
		s.state = stateRemoved
	case st == common.StatusUninstalling:
		s.state = stateUninstalling
	case s.good == nil:
		s.state = stateNever
	case st.IsPending():
		s.state = statePending
	default:
		s.state = stateBroken
	}
	return s
}

func sorted(list []*release.Release) []*release.Release {
	slices.SortFunc(list, func(a, b *release.Release) int { return cmp.Compare(a.Version, b.Version) })
	for _, r := range list {
		if r.Info == nil {
			r.Info = &release.Info{Status: common.StatusUnknown}
		}
	}
	return list
}

// recover brings a release that is in no usable state into one, and says what
// it did.
func (h *helm) recover(ctx context.Context, now standing) (string, error) {
	status := now.last.Info.Status
	switch now.state {
	case stateNever:
		why := fmt.Sprintf("an earlier try to install %s ended as %s, so it was cleared away", h.what(), status)
		h.note("%s was left as %s by an earlier try; clearing it away", h.what(), status)
		return why, h.clear(ctx, now.all)
	case stateUninstalling:
		// Its objects are applied again; nothing more is deleted.
		now.last.Info.Status, now.last.Info.Description = common.StatusFailed, "Its uninstall was aborted"
		return "an earlier uninstall of " + h.what() + " was aborted", h.cfg.Releases.Update(now.last)
	case statePending:
		h.note("%s was left as %s by an earlier try; rolling back to revision %d", h.what(), status, now.good.Version)
		return h.rollBack(ctx, now)
	}
	return fmt.Sprintf("the last try to upgrade %s had failed", h.what()), nil
}

// rollBack goes back to the last revision that came to be. Where that fails,
// the pending revision is called failed, and the upgrade goes on from there.
func (h *helm) rollBack(ctx context.Context, now standing) (string, error) {
	status := now.last.Info.Status
	rb := action.NewRollback(h.cfg)
	rb.Version, rb.MaxHistory, rb.DisableHooks = now.good.Version, maxHistory, true
	rb.WaitStrategy, rb.Timeout = helmkube.HookOnlyStrategy, budget(ctx)
	rb.ForceConflicts = now.good.ApplyMethod == string(release.ApplyMethodServerSideApply)
	rb.Description = fmt.Sprintf("Rolled back to %d after an aborted try", now.good.Version)
	err := rb.Run(h.rel)
	if err != nil && (ctx.Err() != nil || severed(err)) {
		return "", err
	}
	if err := h.markAborted(); err != nil {
		return "", err
	}
	if err != nil {
		return fmt.Sprintf("an earlier try left %s as %s and it could not be rolled back (%s)", h.what(), status, helmReason(err)), nil
	}
	return fmt.Sprintf("an earlier try left %s as %s, so it was rolled back to revision %d", h.what(), status, now.good.Version), nil
}

// markAborted calls revisions failed that are said to be under way.
func (h *helm) markAborted() error {
	list, err := h.history()
	if err != nil {
		return err
	}
	for _, r := range list {
		if !r.Info.Status.IsPending() {
			continue
		}
		r.Info.Status, r.Info.Description = common.StatusFailed, "It was aborted"
		if err := h.cfg.Releases.Update(r); err != nil {
			return err
		}
	}
	return nil
}

// kept are the kinds that hold what cannot be made again; the next install
// takes them over.
var kept = []string{"PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition", "Secret"}

// clear removes what a release that never was deployed left behind: objects
// that are its own, but for those that hold data, and its records.
func (h *helm) clear(ctx context.Context, all []*release.Release) error {
	var going []gone
	seen := map[string]bool{}
	for _, r := range all {
		docs, err := decode(h.what(), []byte(r.Manifest))
		if err != nil {
			continue // never stored by Helm in a form that it cannot read
		}
		for _, d := range slices.Backward(docs) {
			if slices.Contains(kept, d.GetKind()) || d.GetName() == "" {
				continue
			}
			g, live, err := h.own(ctx, d)
			if err != nil {
				return err
			}
			if live == nil || seen[g.String()] {
				continue
			}
			seen[g.String()] = true
			policy := metav1.DeletePropagationBackground
			err = g.res.Delete(ctx, g.name, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &g.uid}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return cannot("clear away", g.String(), "", err)
			}
			going = append(going, g)
		}
	}
	if err := h.waitGone(ctx, going); err != nil {
		return err
	}
	for _, r := range all {
		if _, err := h.cfg.Releases.Delete(r.Name, r.Version); err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
			return err
		}
	}
	return nil
}

// own finds an object of the release; it is nil where there is none or where
// it is not the release's.
func (h *helm) own(ctx context.Context, d doc) (gone, *unstructured.Unstructured, error) {
	m, err := h.mapping(d.GroupVersionKind())
	if meta.IsNoMatchError(err) {
		return gone{}, nil, nil
	}
	if err != nil {
		return gone{}, nil, err
	}
	ns := d.GetNamespace()
	if ns == "" {
		ns = h.ns
	}
	g := gone{res: h.objects(m, ns), kind: d.GetKind(), ns: scoped(m, ns), name: d.GetName()}
	live, err := g.res.Get(ctx, g.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return g, nil, nil
	}
	if err != nil {
		return g, nil, err
	}
	notes := live.GetAnnotations()
	if notes["meta.helm.sh/release-name"] != h.rel || notes["meta.helm.sh/release-namespace"] != h.ns || notes["helm.sh/resource-policy"] == "keep" {
		return g, nil, nil
	}
	g.uid = live.GetUID()
	return g, live, nil
}

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

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
