package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// asking bounds how long the reasons of one failure are looked for.
const asking = 10 * time.Second

// notReady is the error of objects that were waited for in vain. state is how
// far it came; the most telling finding says why.
func (s *session) notReady(what, state string, refs []ref, after string, cause error) error {
	ctx, cancel := context.WithTimeout(s.late, asking)
	defer cancel()
	found := s.diagnose(ctx, refs)
	over := errors.Is(cause, context.DeadlineExceeded)
	e := fail(ErrNotReady, what, "%s is not ready after %s", what, after).because(cause)
	if over {
		e.Class = ErrTimeout
	}
	if len(found) == 0 {
		if state != "" {
			e.text += ": " + state
		}
		return e
	}
	first := found[0]
	e.text += ": " + first.Text
	if n := len(found) - 1; n > 0 {
		e.text += fmt.Sprintf(" (and %d more)", n)
	}
	e.object, e.hint, e.Class = cmp.Or(first.Object, what), first.Hint, ErrNotReady
	if over {
		e.cause = errors.Join(ErrTimeout, cause)
	}
	return e
}

// diagnose says why objects are not ready, the most telling reason first, and
// nothing about those that are. It says what it can find out; errors on the
// way only make it say less.
func (s *session) diagnose(ctx context.Context, refs []ref) []Finding {
	var out []Finding
	scenes := map[string]scene{}
	for _, r := range suspects(refs) {
		sc, ok := scenes[r.Namespace]
		if !ok {
			sc = s.scene(ctx, r.Namespace)
			scenes[r.Namespace] = sc
		}
		out = append(out, s.examine(ctx, sc, r)...)
	}
	out = ranked(out)
	for i := range out {
		if i == 0 { // one log is enough, and costs a request
			s.addLog(ctx, &out[i])
		}
	}
	return out
}

// Kinds that say most about why something is not ready, and kinds that are
// never unready.
var (
	eloquent   = []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Pod", "PersistentVolumeClaim", "Service"}
	speechless = []string{"ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Namespace",
		"NetworkPolicy", "StorageClass", "PriorityClass", "IngressClass", "Ingress", "CronJob", "LimitRange", "ResourceQuota",
		"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
)

// suspects puts the objects first that say most: time may not be enough for
// all.
func suspects(refs []ref) []ref {
	var first, rest []ref
	for _, r := range refs {
		switch {
		case slices.Contains(eloquent, r.Kind):
			first = append(first, r)
		case !slices.Contains(speechless, r.Kind):
			rest = append(rest, r)
		}
	}
	return append(first, rest...)
}

// scene reads what lies around the pods of a namespace, all but the pods.
func (s *session) scene(ctx context.Context, namespace string) scene {
	var sc scene
	if l, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
		sc.nodes = l.Items
	}
	if namespace == "" {
		return sc
	}
	if l, err := s.kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{Limit: 2000}); err == nil {
		sc.events = l.Items
	}
	if l, err := s.kube.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{}); err == nil {
		sc.claims = l.Items
	}
	return sc
}

// examine looks at one object.
func (s *session) examine(ctx context.Context, sc scene, r ref) []Finding {
	switch r.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController":
		return s.examineWorkload(ctx, sc, r)
	case "Job":
		j, err := s.kube.BatchV1().Jobs(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return absent(r, err)
		}
		return s.examineJob(ctx, sc, j)
	case "Pod":
		p, err := s.kube.CoreV1().Pods(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return absent(r, err)
		}
		sc.pods = []corev1.Pod{*p}
		return sc.podFindings()
	case "PersistentVolumeClaim":
		if f, ok := sc.claimFinding(r.Namespace, r.Name, ""); ok {
			return []Finding{f}
		}
		return nil
	}
	o, err := s.get(ctx, r)
	if err != nil {
		return absent(r, err)
	}
	if r.Kind == "Service" && r.APIVersion == "v1" {
		return serviceFinding(r, o)
	}
	return other(r, o)
}

func absent(r ref, err error) []Finding {
	if apierrors.IsNotFound(err) {
		return []Finding{{Cause: CauseProgress, Object: r.String(), Text: r.String() + " is not there"}}
	}
	return nil
}

// examineWorkload looks at a workload, what it owns and its pods.
func (s *session) examineWorkload(ctx context.Context, sc scene, r ref) []Finding {
	o, err := s.get(ctx, r)
	if err != nil {
		return absent(r, err)
	}
	owners := []*unstructured.Unstructured{o}
	if sel, ok := selectorOf(o); ok {
		if l, err := s.kube.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: sel}); err == nil {
			sc.pods = l.Items
		}
		if r.Kind == "Deployment" {
			owners = append(owners, s.replicaSets(ctx, o, sel)...)
		}
	}
	found := append(sc.podFindings(), sc.refusals(r, owners)...)
	if p, err := s.progress(ctx, r); len(found) == 0 && err == nil && !p.Done {
		found = append(found, Finding{Cause: CauseProgress, Object: r.String(), Text: r.String() + ": " + p.Text})
	}
	return found
}

// replicaSets gives the replica sets of a deployment, whose events say why
// there are no pods.
func (s *session) replicaSets(ctx context.Context, o *unstructured.Unstructured, sel string) []*unstructured.Unstructured {
	l, err := s.kube.AppsV1().ReplicaSets(o.GetNamespace()).List(ctx, metav1.ListOptions{LabelSelector: sel})
	if err != nil {
		return nil
	}
	var out []*unstructured.Unstructured
	for _, rs := range l.Items {
		if metav1.IsControlledBy(&rs, o) && wanted(&rs) {
			out = append(out, &unstructured.Unstructured{Object: map[string]any{
				"metadata": map[string]any{"name": rs.Name, "uid": string(rs.UID)}}})
		}
	}
	return out
}

func wanted(rs *appsv1.ReplicaSet) bool { return replicas(rs.Spec.Replicas) > rs.Status.ReadyReplicas }

func (s *session) examineJob(ctx context.Context, sc scene, j *batchv1.Job) []Finding {
	if l, err := s.kube.CoreV1().Pods(j.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "job-name=" + j.Name}); err == nil {
		sc.pods = l.Items
	}
	if f, ok := sc.jobFinding(j); ok {
		return []Finding{f}
	}
	if j.Status.CompletionTime != nil {
		return nil
	}
	r := ref{Kind: "Job", Namespace: j.Namespace, Name: j.Name}
	owner := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": j.Name, "uid": string(j.UID)}}}
	found := append(sc.podFindings(), sc.refusals(r, []*unstructured.Unstructured{owner})...)
	if len(found) == 0 {
		found = append(found, Finding{Cause: CauseProgress, Object: r.String(), Text: r.String() + " is not complete"})
	}
	return found
}

// get reads an object by what a manifest calls it.
func (s *session) get(ctx context.Context, r ref) (*unstructured.Unstructured, error) {
	if r.APIVersion == "" {
		m, err := s.resolve(r.Kind)
		if err != nil {
			return nil, err
		}
		return s.objects(m, r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
	}
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(r.APIVersion)
	o.SetKind(r.Kind)
	m, err := s.mapping(o.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	return s.objects(m, r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
}

// selectorOf gives the selector of a workload's pods.
func selectorOf(o *unstructured.Unstructured) (string, bool) {
	if o.GetKind() == "ReplicationController" {
		m, ok, _ := unstructured.NestedStringMap(o.Object, "spec", "selector")
		return labels.Set(m).String(), ok && len(m) > 0
	}
	m, ok, _ := unstructured.NestedMap(o.Object, "spec", "selector")
	if !ok {
		return "", false
	}
	sel, err := convert[metav1.LabelSelector](m)
	if err != nil {
		return "", false
	}
	parsed, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil || parsed.Empty() {
		return "", false
	}
	return parsed.String(), true
}

// addLog adds the last lines of a container's log to a finding.
func (s *session) addLog(ctx context.Context, f *Finding) {
	if f.log == nil {
		return
	}
	const lines, most = 5, 64 << 10
	n, limit := int64(lines), int64(most)
	r, err := s.kube.CoreV1().Pods(f.log.namespace).GetLogs(f.log.pod, &corev1.PodLogOptions{
		Container: f.log.container, Previous: f.log.previous, TailLines: &n, LimitBytes: &limit,
	}).Stream(ctx)
	if err != nil {
		return
	}
	defer r.Close()
	data, _ := io.ReadAll(io.LimitReader(r, most))
	if last := tail(data, lines, 500); last != "" {
		f.Text += "; its last lines: " + last
	}
}
