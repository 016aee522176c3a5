package kube

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"helm.sh/helm/v4/pkg/action"
	ri "helm.sh/helm/v4/pkg/release"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// States of a release, from what its history says.
type state int

const (
	stateAbsent       state = iota
	stateRemoved            // uninstalled, with its history kept
	stateDeployed           // the last revision is deployed
	stateBroken             // the last revision failed, an earlier one did not
	stateNever              // no revision was ever deployed
	statePending            // an upgrade or a rollback was aborted, an earlier revision is good
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
func (h *helm) recover(ctx context.Context, w wish, now standing) (string, error) {
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
	}
	if err := h.markAborted(); err != nil {
		return "", err
	}
	h.note("%s was left as %s by an earlier try; going on from there", h.what(), status)
	if err := h.straighten(ctx, w, now); err != nil {
		return "", err
	}
	return fmt.Sprintf("an earlier try left %s as %s, so what it had changed was put right first", h.what(), status), nil
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

// straighten undoes what tries after the last good revision did and the next
// one would not know of: the SDK compares the new revision with the last good
// one, so that fields and objects that only a failed one had would stay. It
// goes forward, to the new revision; a rollback would run an old version
// against what the new one made of its data.
func (h *helm) straighten(ctx context.Context, w wish, now standing) error {
	rendered, err := h.render(w)
	if err != nil {
		return err
	}
	next, err := h.index(rendered)
	if err != nil {
		return nil // the upgrade itself says what is wrong with it
	}
	good, err := h.index(now.good.Manifest)
	if err != nil {
		good = nil
	}
	for _, r := range now.all {
		if r.Version <= now.good.Version {
			continue
		}
		docs, err := decode(h.what(), []byte(r.Manifest))
		if err != nil {
			continue
		}
		for _, d := range docs {
			want, wanted := next[h.key(d)]
			_, known := good[h.key(d)]
			if !wanted && (known || good == nil || slices.Contains(kept, d.GetKind())) {
				continue
			}
			g, live, err := h.own(ctx, d)
			if err != nil {
				return err
			}
			if live == nil {
				continue
			}
			if wanted {
				err = h.align(ctx, g, d, want, live)
			} else {
				err = g.remove(ctx)
			}
			if err != nil {
				return cannot("put right", g.String(), "", err)
			}
		}
	}
	return nil
}

// align makes of a live object what the next revision wants, without what an
// aborted one had put in.
func (h *helm) align(ctx context.Context, g gone, was, want doc, live *unstructured.Unstructured) error {
	original, err := json.Marshal(was.Object)
	if err != nil {
		return err
	}
	patch, kind, err := threeWay(original, want.Unstructured, live)
	if err != nil || bytes.Equal(patch, []byte("{}")) {
		return nil // what cannot be compared is left to the SDK
	}
	_, err = g.res.Patch(ctx, g.name, kind, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// render gives the manifest of the next revision.
func (h *helm) render(w wish) (string, error) {
	hc, err := w.chart.Helm()
	if err != nil {
		return "", err
	}
	up := action.NewUpgrade(h.cfg)
	up.Namespace, up.ResetValues, up.DryRunStrategy = w.Namespace, true, action.DryRunServer
	rel, err := up.RunWithContext(h.late, w.Release, hc, clone(w.values))
	if err != nil {
		return "", err
	}
	list, err := revisions([]ri.Releaser{rel})
	if err != nil {
		return "", err
	}
	return list[0].Manifest, nil
}

// index finds objects of a manifest by what they are.
func (h *helm) index(manifest string) (map[string]doc, error) {
	docs, err := decode(h.what(), []byte(manifest))
	out := map[string]doc{}
	for _, d := range docs {
		out[h.key(d)] = d
	}
	return out, err
}

func (h *helm) key(d doc) string {
	return d.GroupVersionKind().GroupKind().String() + "/" + cmp.Or(d.GetNamespace(), h.ns) + "/" + d.GetName()
}

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
			if err := g.remove(ctx); err != nil {
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
