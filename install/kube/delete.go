package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"bundle/manifest/step"
)

// gone is an object that is to go away.
type gone struct {
	res  dynamic.ResourceInterface
	kind string
	ns   string
	name string
	uid  types.UID
}

func (g gone) String() string { return object(g.kind, g.ns, g.name) }

// remove deletes the object, if it is still the one that was meant.
func (g gone) remove(ctx context.Context) error {
	policy := metav1.DeletePropagationBackground
	err := g.res.Delete(ctx, g.name, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &g.uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// delete removes objects and waits until they are gone.
func (s *session) delete(ctx context.Context, a step.Delete) (Outcome, error) {
	targets, err := s.doomed(ctx, a)
	if err != nil {
		return Outcome{}, err
	}
	var going []gone
	for _, g := range targets {
		live, err := g.res.Get(ctx, g.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return Outcome{}, err
		}
		g.uid = live.GetUID()
		if err := g.remove(ctx); err != nil {
			return Outcome{}, cannot("delete", g.String(), "", err)
		}
		going = append(going, g)
	}
	if err := s.waitGone(ctx, going); err != nil {
		return Outcome{}, err
	}
	if len(going) == 0 {
		return Outcome{Detail: "nothing of it was there"}, nil
	}
	var names []string
	for _, g := range going {
		names = append(names, g.String())
	}
	return Outcome{Changed: true, Detail: "deleted " + clip(strings.Join(names, ", "), 200)}, nil
}

// doomed lists what a step deletes. Kinds that the cluster does not know have
// no objects.
func (s *session) doomed(ctx context.Context, a step.Delete) ([]gone, error) {
	var out []gone
	if len(a.Files) == 0 {
		m, err := s.resolve(a.Resource)
		if meta.IsNoMatchError(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, name := range a.Names {
			out = append(out, gone{res: s.objects(m, a.Namespace), kind: m.GroupVersionKind.Kind, ns: scoped(m, a.Namespace), name: name})
		}
		return out, nil
	}
	docs, err := s.load(ctx, a.Dir, a.Files, false)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		m, err := s.mapping(d.GroupVersionKind())
		if meta.IsNoMatchError(err) || d.GetName() == "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		ns := d.GetNamespace()
		if ns == "" {
			ns = a.Namespace
		}
		out = append(out, gone{res: s.objects(m, ns), kind: d.GetKind(), ns: scoped(m, ns), name: d.GetName()})
	}
	return out, nil
}

// waitGone waits until none of the objects is left.
func (s *session) waitGone(ctx context.Context, list []gone) error {
	var last *unstructured.Unstructured
	told := time.Time{}
	err := s.poll(ctx, s.o.Poll, func() (bool, error) {
		for len(list) > 0 {
			live, err := list[0].res.Get(ctx, list[0].name, metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err), meta.IsNoMatchError(err), err == nil && live.GetUID() != list[0].uid:
				list = list[1:]
				continue
			case err != nil:
				return false, err
			}
			last = live
			if time.Since(told) > 15*time.Second {
				told = time.Now()
				s.note("waiting until %s is gone", list[0])
			}
			return false, nil
		}
		return true, nil
	})
	if err == nil || !ended(err) || last == nil || len(list) == 0 {
		return err
	}
	e := fail(ErrTimeout, list[0].String(), "%s does not go away: %s", list[0], lingering(last)).because(err)
	if n := len(list) - 1; n > 0 {
		e.text += fmt.Sprintf(" (and %d more objects wait)", n)
	}
	return e
}

// lingering says why an object that is deleted is still there.
func lingering(o *unstructured.Unstructured) string {
	for _, kind := range []string{
		"NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure", "NamespaceDeletionContentFailure",
		"NamespaceFinalizersRemaining", "NamespaceContentRemaining",
	} {
		for _, c := range conditions(o) {
			if c["type"] == kind && c["status"] == "True" && text(c["message"]) != "" {
				return oneLine(text(c["message"]))
			}
		}
	}
	if f := o.GetFinalizers(); len(f) > 0 {
		return "it waits for whoever sees to its finalizers " + clip(strings.Join(f, ", "), 300)
	}
	if o.GetKind() == "Namespace" {
		return "what is in it has not gone yet"
	}
	return "nothing says why"
}

// ensureNamespace makes a namespace, after an earlier one of the name is gone.
func (s *session) ensureNamespace(ctx context.Context, name string) (made bool, err error) {
	api := s.kube.CoreV1().Namespaces()
	var list []gone
	live, err := api.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && live.DeletionTimestamp == nil:
		return false, nil
	case err == nil:
		m, err := s.resolve("namespace")
		if err != nil {
			return false, err
		}
		list = append(list, gone{res: s.objects(m, ""), kind: "Namespace", name: name, uid: live.UID})
	case !apierrors.IsNotFound(err):
		return false, err
	}
	if err := s.waitGone(ctx, list); err != nil {
		return false, err
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	m, err := s.resolve("namespace")
	if err != nil {
		return false, err
	}
	_, err = s.objects(m, "").Create(ctx, o, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, cannot("make", "namespace "+name, "", err)
	}
	return true, nil
}
