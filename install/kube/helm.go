package kube

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	helmkube "helm.sh/helm/v4/pkg/kube"
	ri "helm.sh/helm/v4/pkg/release"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/strvals"

	"bundle/manifest/chart"
	"bundle/manifest/step"
)

// maxHistory is how many revisions of a release are kept.
const maxHistory = 10

// wish is a release as a step asks for it.
type wish struct {
	step.HelmRelease
	chart  *chart.Chart
	values map[string]any
}

// mark is the description of a revision that carries the wish out: it tells a
// later run that nothing is to do, and people that it was us.
func (w wish) mark() string {
	values, err := json.Marshal(w.values)
	if err != nil {
		values = []byte(err.Error())
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", w.chart.Digest(), w.Namespace, digest.FromBytes(values))
	return fmt.Sprintf("Installed by bundle from input sha256:%x", h.Sum(nil))
}

// release installs or upgrades a release, after what an aborted run left of
// it is in order.
func (s *session) release(ctx context.Context, a step.HelmRelease) (Outcome, error) {
	w := wish{HelmRelease: a}
	var err error
	if w.chart, err = s.chartOf(ctx, a); err != nil {
		return Outcome{}, err
	}
	if w.values, err = s.valuesOf(ctx, a); err != nil {
		return Outcome{}, err
	}
	h := s.helm(ctx, a.Namespace, a.Release)
	if a.CreateNamespace {
		if _, err := s.ensureNamespace(ctx, a.Namespace); err != nil {
			return Outcome{}, err
		}
	} else if _, err := s.kube.CoreV1().Namespaces().Get(ctx, a.Namespace, metav1.GetOptions{}); err != nil {
		if !apierrors.IsNotFound(err) {
			return Outcome{}, err
		}
		return Outcome{}, fail(ErrInput, "namespace "+a.Namespace, "%s cannot be installed: there is no namespace %s", h.what(), a.Namespace).
			because(err).advise("make the namespace before, or write --create-namespace in the command")
	}
	var story []string
	for try := 1; ; try++ {
		out, err := h.reach(ctx, w, &story)
		if err == nil {
			out.Detail = strings.Join(append(story, out.Detail), "; ")
			out.Changed = out.Changed || len(story) > 0
			return out, nil
		}
		_, told := errors.AsType[*Error](err)
		lost := errors.Is(err, errRecord) || !told && !ended(err) && severed(err)
		if ctx.Err() != nil || !lost || try == tries {
			return Outcome{}, h.failed(ctx, w, err)
		}
		s.note("%s: %s; looking again", h.what(), oneLine(err.Error()))
	}
}

// tries is how often a release is begun anew whose connection broke.
const tries = 5

// errRecord: a revision came to be, but its record could not be written.
var errRecord = errors.New("not recorded")

// reach brings the release to what is asked for.
func (h *helm) reach(ctx context.Context, w wish, story *[]string) (Outcome, error) {
	list, err := h.history()
	if err != nil {
		return Outcome{}, err
	}
	now := assess(list)
	if w.Mode == step.ModeUpgrade && len(w.values) == 0 && now.good != nil {
		w.values = now.good.Config // what `helm upgrade` does
	}
	switch now.state {
	case stateAbsent, stateRemoved:
		if w.Mode == step.ModeUpgrade {
			return Outcome{}, fail(ErrInput, h.what(), "%s cannot be upgraded: it is not installed", h.what())
		}
		return h.install(ctx, w, now.state == stateRemoved)
	case stateDeployed:
		missing, err := h.missing(ctx, now.last)
		if err != nil {
			return Outcome{}, err
		}
		if now.last.Info.Description == w.mark() && len(missing) == 0 {
			return h.keep(ctx, w, now.last)
		}
		if len(missing) > 0 {
			*story = append(*story, fmt.Sprintf("%d objects of %s were gone, such as %s", len(missing), h.what(), missing[0]))
		}
		return h.upgrade(ctx, w, now.last)
	}
	did, err := h.recover(ctx, w, now)
	if err != nil {
		return Outcome{}, err
	}
	*story = append(*story, did)
	if now.good == nil && now.state != stateUninstalling {
		return h.install(ctx, w, false)
	}
	return h.upgrade(ctx, w, now.last)
}

// keep is for a release that is as it is wanted; with wait its objects have
// to be ready, too.
func (h *helm) keep(ctx context.Context, w wish, last *release.Release) (Outcome, error) {
	if w.Wait {
		list, err := h.client.Build(bytes.NewBufferString(last.Manifest), false)
		if err != nil {
			return Outcome{}, err
		}
		waiter, err := h.client.GetWaiter(helmkube.StatusWatcherStrategy)
		if err != nil {
			return Outcome{}, err
		}
		if err := waiter.Wait(list, budget(ctx)); err != nil {
			return Outcome{}, err
		}
	}
	return Outcome{Detail: fmt.Sprintf("%s is deployed, revision %d of %s %s", h.what(), last.Version, w.chart.Name, w.chart.Version)}, nil
}

// budget is the time that Helm may take, with some left to write down how it
// ended.
func budget(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return DefaultTimeout("helm.release")
	}
	left := time.Until(end)
	return max(left-min(left/10, 5*time.Second), time.Second)
}

func strategy(w wish) helmkube.WaitStrategy {
	if w.Wait || w.Atomic {
		return helmkube.StatusWatcherStrategy
	}
	return helmkube.HookOnlyStrategy
}

// install makes the first revision, or with replace the next of a release
// that was uninstalled and left its history.
func (h *helm) install(ctx context.Context, w wish, replace bool) (Outcome, error) {
	hc, err := w.chart.Helm()
	if err != nil {
		return Outcome{}, err
	}
	in := action.NewInstall(h.cfg)
	in.ReleaseName, in.Namespace, in.Replace = w.Release, w.Namespace, replace
	in.ServerSideApply = false
	in.WaitStrategy, in.Timeout, in.RollbackOnFailure = strategy(w), budget(ctx), w.Atomic
	in.Description = w.mark()
	h.note("installing %s from %s %s", h.what(), w.chart.Name, w.chart.Version)
	// The context of the SDK is for a return in the midst of things; waits and
	// requests end by ours.
	rel, err := in.RunWithContext(h.late, hc, clone(w.values))
	return h.settle(ctx, w, rel, "installed", err)
}

// upgrade makes the next revision.
func (h *helm) upgrade(ctx context.Context, w wish, last *release.Release) (Outcome, error) {
	hc, err := w.chart.Helm()
	if err != nil {
		return Outcome{}, err
	}
	up := action.NewUpgrade(h.cfg)
	up.Install, up.Namespace, up.ResetValues, up.MaxHistory = true, w.Namespace, true, maxHistory
	up.WaitStrategy, up.Timeout, up.RollbackOnFailure = strategy(w), budget(ctx), w.Atomic
	up.Description = w.mark()
	up.ForceConflicts = last.ApplyMethod == string(release.ApplyMethodServerSideApply)
	h.note("upgrading %s to %s %s", h.what(), w.chart.Name, w.chart.Version)
	rel, err := up.RunWithContext(h.late, w.Release, hc, clone(w.values))
	return h.settle(ctx, w, rel, "upgraded", err)
}

// settle makes sure that what the SDK says is what is written down.
func (h *helm) settle(ctx context.Context, w wish, rel ri.Releaser, did string, err error) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	list, err := h.history()
	if err != nil {
		return Outcome{}, err
	}
	now := assess(list)
	if now.state != stateDeployed || now.last.Info.Description != w.mark() {
		return Outcome{}, fail(errRecord, h.what(), "%s was %s, but its record was not written", h.what(), did)
	}
	return Outcome{Changed: true, Detail: fmt.Sprintf("%s %s, revision %d of %s %s", did, h.what(), now.last.Version, w.chart.Name, w.chart.Version)}, nil
}

// failed makes one sentence of why a release did not come to be.
func (h *helm) failed(ctx context.Context, w wish, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		if w.Atomic && errors.Is(own, ErrTimeout) && own.hint == "" {
			own.hint = "what was installed was taken back, since the command says --atomic"
		}
		return own
	}
	if ended(err) || ctx.Err() != nil {
		return err
	}
	text := helmReason(err)
	var class error
	hint := ""
	switch {
	case strings.Contains(text, "cannot be imported into the current release"):
		class, hint = ErrConflict, "delete the object, or leave it out of the chart"
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), meta.IsNoMatchError(err),
		strings.Contains(text, "no matches for kind"), strings.Contains(text, "execution error"),
		strings.Contains(text, "values don't meet the specifications"), strings.Contains(text, "unable to build kubernetes objects"):
		class = ErrInput
	}
	e := fail(class, h.what(), "%s from %s %s: %s", h.what(), w.chart.Name, w.chart.Version, text).because(err)
	e.hint = hint
	return e
}

// helmReason drops the words that the SDK puts before a reason.
func helmReason(err error) string {
	s := oneLine(err.Error())
	for _, lead := range []string{
		"unable to continue with install: ", "unable to continue with update: ", "unable to build kubernetes objects from release manifest: ",
		"unable to build kubernetes objects from new release manifest: ", "cluster reachability check failed: ", "kubernetes cluster unreachable: ",
		"failed to create resource: ", "error validating \"\": ", "error validating data: ",
	} {
		s = strings.TrimPrefix(s, lead)
	}
	return s
}

// missing lists the objects of a revision that are not there.
func (h *helm) missing(ctx context.Context, last *release.Release) ([]string, error) {
	docs, err := decode(h.what(), []byte(last.Manifest))
	if err != nil {
		return nil, nil // Helm reads it in its own way
	}
	var out []string
	for _, d := range docs {
		m, err := h.mapping(d.GroupVersionKind())
		if err == nil && d.GetName() != "" {
			ns := d.GetNamespace()
			if ns == "" {
				ns = h.ns
			}
			_, err = h.objects(m, ns).Get(ctx, d.GetName(), metav1.GetOptions{})
		}
		switch {
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
			out = append(out, object(d.GetKind(), d.GetNamespace(), d.GetName()))
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}

// chartOf loads the chart that a step names.
func (s *session) chartOf(ctx context.Context, a step.HelmRelease) (*chart.Chart, error) {
	if strings.HasPrefix(a.Chart, "oci://") {
		c, err := s.packed(ctx, a)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail(ErrInput, a.Chart, "the bundle has no chart %s", a.Chart).
				advise("bundle charts lists what it has")
		}
		return usable(c, err)
	}
	p, err := s.locate(a.Dir, a.Chart)
	if err != nil {
		return nil, err
	}
	if p.host {
		data, err := s.read(ctx, p)
		if err != nil {
			return nil, err
		}
		return usable(chart.LoadBytes(p.name, data))
	}
	c, err := chart.LoadFS(s.files(), p.name)
	if errors.Is(err, fs.ErrNotExist) {
		packed, perr := s.packed(ctx, a)
		if errors.Is(perr, fs.ErrNotExist) {
			return nil, s.absent(p.name, err)
		}
		c, err = packed, perr
	}
	return usable(c, err)
}

// packed gives a chart that is no file.
func (s *session) packed(ctx context.Context, a step.HelmRelease) (*chart.Chart, error) {
	if s.o.Chart == nil {
		return nil, fs.ErrNotExist
	}
	return s.o.Chart(ctx, a.Chart, a.Version)
}

func usable(c *chart.Chart, err error) (*chart.Chart, error) {
	if err == nil {
		return c, nil
	}
	object := ""
	if e, ok := errors.AsType[*chart.Error](err); ok {
		object = e.Chart
	}
	return nil, fail(ErrInput, object, "%s", oneLine(err.Error())).because(err)
}

// valuesOf reads the values that a step gives, the last one wins.
func (s *session) valuesOf(ctx context.Context, a step.HelmRelease) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range a.Values {
		p, err := s.locate(a.Dir, name)
		if err != nil {
			return nil, err
		}
		data, err := s.read(ctx, p)
		if err != nil {
			return nil, err
		}
		v, err := chart.ParseValues(p.name, data)
		if err != nil {
			return nil, fail(ErrInput, p.name, "%s", err).because(err)
		}
		out = loader.MergeMaps(out, v)
	}
	for _, set := range []struct {
		words []string
		parse func(string, map[string]any) error
		flag  string
	}{{a.Set, strvals.ParseInto, "--set"}, {a.SetString, strvals.ParseIntoString, "--set-string"}} {
		for _, word := range set.words {
			if err := set.parse(word, out); err != nil {
				return nil, fail(ErrInput, set.flag+" "+word, "%s %s cannot be read: %s", set.flag, word, oneLine(err.Error())).because(err)
			}
		}
	}
	return clone(out), nil
}

// clone copies values, in the form that a stored release has them.
func clone(v map[string]any) map[string]any {
	data, err := json.Marshal(v)
	if err != nil {
		return v
	}
	out := map[string]any{}
	if json.Unmarshal(data, &out) != nil {
		return v
	}
	return out
}

// revisions gives releases as what they are, oldest first.
func revisions(list []ri.Releaser) ([]*release.Release, error) {
	var out []*release.Release
	for _, r := range list {
		switch r := r.(type) {
		case *release.Release:
			out = append(out, r)
		case release.Release:
			out = append(out, &r)
		default:
			return nil, fmt.Errorf("a release of the unknown form %T", r)
		}
	}
	return sorted(out), nil
}

// deployed tells whether a revision came to be.
func deployed(r *release.Release) bool {
	return r.Info != nil && (r.Info.Status == common.StatusDeployed || r.Info.Status == common.StatusSuperseded)
}
