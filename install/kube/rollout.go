package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"bundle/manifest/step"
)

// progress is how far a workload has come.
type progress struct {
	Desired, Updated, Ready int32
	Done                    bool
	// Text says it in words.
	Text string
}

// waitRollout waits until a workload is rolled out. One that does not exist
// yet is waited for, too: an operator may make it.
func (s *session) waitRollout(ctx context.Context, a step.WaitRollout) (Outcome, error) {
	m, err := s.resolve(a.Resource)
	if meta.IsNoMatchError(err) {
		return Outcome{}, fail(ErrInput, a.Resource, "the cluster knows no resource %s", a.Resource).because(err)
	}
	if err != nil {
		return Outcome{}, err
	}
	w := ref{Kind: m.GroupVersionKind.Kind, Namespace: scoped(m, a.Namespace), Name: a.Name}
	begin, told := time.Now(), time.Now()
	p := progress{Text: "it is not there"}
	err = s.poll(ctx, s.o.Poll, func() (bool, error) {
		now, err := s.progress(ctx, w)
		if apierrors.IsNotFound(err) {
			p = progress{Text: "it is not there"}
		} else if err != nil {
			return false, err
		} else {
			p = now
		}
		if !p.Done && time.Since(told) > 15*time.Second {
			told = time.Now()
			s.note("waiting for %s: %s", w, p.Text)
		}
		return p.Done, nil
	})
	if err == nil {
		detail := fmt.Sprintf("%s is rolled out, %s", w, p.Text)
		if d := time.Since(begin); d > 2*time.Second {
			detail += ", after " + span(d)
		}
		return Outcome{Detail: detail}, nil
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Outcome{}, err
	}
	return Outcome{}, s.notReady(w.String(), p.Text, []ref{w}, span(time.Since(begin)), err)
}

// progress looks at one workload.
func (s *session) progress(ctx context.Context, w ref) (progress, error) {
	apps := s.kube.AppsV1()
	switch w.Kind {
	case "Deployment":
		d, err := apps.Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return progress{}, err
		}
		return deploymentProgress(d), nil
	case "StatefulSet":
		d, err := apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return progress{}, err
		}
		return statefulSetProgress(d), nil
	case "DaemonSet":
		d, err := apps.DaemonSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return progress{}, err
		}
		return daemonSetProgress(d), nil
	}
	return progress{}, fail(ErrInput, w.String(), "a %s does not roll out", w.Kind)
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// deploymentProgress judges as `kubectl rollout status` does, and wants the
// replicas ready.
func deploymentProgress(d *appsv1.Deployment) progress {
	want := replicas(d.Spec.Replicas)
	p := progress{Desired: want, Updated: d.Status.UpdatedReplicas, Ready: d.Status.AvailableReplicas}
	switch {
	case d.Status.ObservedGeneration < d.Generation:
		p.Text = "its controller has not looked at it yet"
	case p.Updated < want:
		p.Text = fmt.Sprintf("%d of %d replicas are up to date", p.Updated, want)
	case d.Status.Replicas > p.Updated:
		p.Text = fmt.Sprintf("%d old replicas still run", d.Status.Replicas-p.Updated)
	case p.Ready < want:
		p.Text = fmt.Sprintf("%d of %d replicas are ready", p.Ready, want)
	default:
		p.Done, p.Text = true, fmt.Sprintf("%d of %d replicas are ready", p.Ready, want)
	}
	return p
}

func statefulSetProgress(d *appsv1.StatefulSet) progress {
	want := replicas(d.Spec.Replicas)
	p := progress{Desired: want, Updated: d.Status.UpdatedReplicas, Ready: d.Status.ReadyReplicas}
	wantUpdated := want
	rolling := d.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType
	if u := d.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		wantUpdated = max(0, want-*u.Partition)
	}
	switch {
	case d.Status.ObservedGeneration < d.Generation:
		p.Text = "its controller has not looked at it yet"
	case p.Ready < want:
		p.Text = fmt.Sprintf("%d of %d replicas are ready", p.Ready, want)
	case rolling && p.Updated < wantUpdated && d.Status.UpdateRevision != d.Status.CurrentRevision:
		p.Text = fmt.Sprintf("%d of %d replicas are up to date", p.Updated, wantUpdated)
	default:
		p.Done, p.Text = true, fmt.Sprintf("%d of %d replicas are ready", p.Ready, want)
	}
	return p
}

func daemonSetProgress(d *appsv1.DaemonSet) progress {
	p := progress{Desired: d.Status.DesiredNumberScheduled, Updated: d.Status.UpdatedNumberScheduled, Ready: d.Status.NumberAvailable}
	switch {
	case d.Status.ObservedGeneration < d.Generation:
		p.Text = "its controller has not looked at it yet"
	case d.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType && p.Updated < p.Desired:
		p.Text = fmt.Sprintf("%d of %d nodes are up to date", p.Updated, p.Desired)
	case p.Ready < p.Desired:
		p.Text = fmt.Sprintf("%d of %d nodes are ready", p.Ready, p.Desired)
	default:
		p.Done, p.Text = true, fmt.Sprintf("%d of %d nodes are ready", p.Ready, p.Desired)
	}
	return p
}

// convert reads an object of the dynamic client into its type.
func convert[T any](o map[string]any) (*T, error) {
	t := new(T)
	return t, runtime.DefaultUnstructuredConverter.FromUnstructured(o, t)
}
