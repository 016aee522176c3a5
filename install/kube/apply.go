package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"

	"bundle/manifest/step"
)

// target is one object of a manifest and how to get at it.
type target struct {
	doc
	res     dynamic.ResourceInterface
	mapping *meta.RESTMapping
	ns      string
}

func (t target) String() string { return object(t.GetKind(), t.ns, t.GetName()) }

// apply applies manifests, definitions and namespaces first.
func (s *session) apply(ctx context.Context, a step.Apply) (Outcome, error) {
	docs, err := s.load(ctx, a.Dir, a.Files, a.Recursive)
	if err != nil {
		return Outcome{}, err
	}
	n, err := s.each(ctx, docs, a.Namespace, "apply", s.applyOne)
	if err != nil {
		return Outcome{}, err
	}
	return counted(n, len(docs), "applied"), nil
}

// create makes what is not there.
func (s *session) create(ctx context.Context, a step.Create) (Outcome, error) {
	docs, err := s.load(ctx, a.Dir, a.Files, a.Recursive)
	if err != nil {
		return Outcome{}, err
	}
	n, err := s.each(ctx, docs, a.Namespace, "create", func(ctx context.Context, t target) (bool, error) {
		_, err := t.res.Create(ctx, t.Unstructured, metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return Outcome{}, err
	}
	return counted(n, len(docs), "created"), nil
}

func counted(n, of int, did string) Outcome {
	switch {
	case n == 0 && of == 1:
		return Outcome{Detail: "1 object, as it should be"}
	case n == 0:
		return Outcome{Detail: fmt.Sprintf("%d objects, all as they should be", of)}
	case n == of && of == 1:
		return Outcome{Changed: true, Detail: did + " 1 object"}
	case n == of:
		return Outcome{Changed: true, Detail: fmt.Sprintf("%s %d objects", did, n)}
	}
	return Outcome{Changed: true, Detail: fmt.Sprintf("%s %d of %d objects, the others were as they should be", did, n, of)}
}

// each does f with every object: namespaces and definitions first, which are
// then waited for, the rest in order. It gives how many f changed.
func (s *session) each(ctx context.Context, docs []doc, namespace, verb string, f func(context.Context, target) (bool, error)) (int, error) {
	var first, rest []doc
	for _, d := range docs {
		if k := d.GroupVersionKind().GroupKind().String(); k == crdKind || k == "Namespace" {
			first = append(first, d)
		} else {
			rest = append(rest, d)
		}
	}
	n := 0
	var defined []string
	for i, d := range append(first, rest...) {
		if i == len(first) && len(defined) > 0 {
			if err := s.established(ctx, defined); err != nil {
				return n, err
			}
			s.mapper.Reset()
		}
		t, err := s.target(ctx, d, namespace, verb)
		if err != nil {
			return n, err
		}
		changed, err := f(ctx, t)
		if err != nil {
			return n, cannot(verb, t.String(), t.from, err)
		}
		if changed {
			n++
		}
		if d.GroupVersionKind().GroupKind().String() == crdKind {
			defined = append(defined, d.GetName())
		}
	}
	if len(rest) == 0 && len(defined) > 0 {
		return n, s.established(ctx, defined)
	}
	return n, nil
}

// unknownKind is how long a kind without definition is waited for: a chart
// may have brought it a moment ago.
const unknownKind = 30 * time.Second

// target finds the resource of an object, and its namespace.
func (s *session) target(ctx context.Context, d doc, namespace, verb string) (target, error) {
	var m *meta.RESTMapping
	wait, cancel := context.WithTimeout(ctx, unknownKind)
	defer cancel()
	var last error
	err := s.poll(wait, s.o.Poll, func() (bool, error) {
		m, last = s.mapping(d.GroupVersionKind())
		if meta.IsNoMatchError(last) {
			return false, nil
		}
		return true, last
	})
	switch {
	case meta.IsNoMatchError(last):
		return target{}, fail(ErrInput, object(d.GetKind(), "", d.GetName()), "cannot %s the %s %s of %s: the cluster knows no kind %s in %s",
			verb, d.GetKind(), d.GetName(), d.from, d.GetKind(), d.GetAPIVersion()).because(last).
			advise("install the custom resource definition of %s first", d.GetKind())
	case err != nil:
		return target{}, err
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		if d.GetNamespace() == "" {
			d.SetNamespace(orDefault(namespace))
		} else if namespace != "" && d.GetNamespace() != namespace {
			return target{}, fail(ErrInput, object(d.GetKind(), d.GetNamespace(), d.GetName()),
				"cannot %s the %s %s of %s: it is for namespace %s, the step for %s", verb, d.GetKind(), d.GetName(), d.from, d.GetNamespace(), namespace)
		}
	} else {
		d.SetNamespace("")
	}
	return target{doc: d, mapping: m, ns: d.GetNamespace(), res: s.objects(m, d.GetNamespace())}, nil
}

// applyOne applies one object and tells whether it changed.
func (s *session) applyOne(ctx context.Context, t target) (bool, error) {
	if t.GetName() == "" {
		return false, fail(ErrInput, t.String(), "cannot apply the %s of %s: it has a generateName, and applying needs a name", t.GetKind(), t.from)
	}
	live, err := s.settled(ctx, t)
	if err != nil {
		return false, err
	}
	t.SetManagedFields(nil)
	if live != nil {
		if err := s.adopt(ctx, t, live); err != nil {
			return false, err
		}
	}
	after, err := t.res.Apply(ctx, t.GetName(), t.Unstructured, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if unmergeable(err) {
		after, err = s.merge(ctx, t, live)
	}
	if err != nil {
		return false, err
	}
	return live == nil || !same(live, after), nil
}

// same tells whether two states of an object are the same but for what
// controllers write down: a workload's status changes all the time.
func same(a, b *unstructured.Unstructured) bool {
	if a.GetResourceVersion() == b.GetResourceVersion() {
		return true
	}
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, o := range []*unstructured.Unstructured{a, b} {
		delete(o.Object, "status")
		o.SetResourceVersion("")
		o.SetManagedFields(nil)
		o.SetGeneration(0)
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
		if len(o.GetAnnotations()) == 0 {
			o.SetAnnotations(nil)
		}
	}
	return equality.Semantic.DeepEqual(a.Object, b.Object)
}

// settled gives the object as it is, or nil. One that is being deleted is
// waited for until it is gone.
func (s *session) settled(ctx context.Context, t target) (*unstructured.Unstructured, error) {
	var live *unstructured.Unstructured
	err := s.poll(ctx, s.o.Poll, func() (bool, error) {
		var err error
		live, err = t.res.Get(ctx, t.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			live = nil
			return true, nil
		}
		if err == nil && live.GetDeletionTimestamp() != nil {
			s.note("%s is being deleted; waiting until it is gone", t)
			return false, nil
		}
		return err == nil, err
	})
	if err != nil && live != nil && live.GetDeletionTimestamp() != nil && ended(err) {
		return nil, fail(ErrTimeout, t.String(), "%s is being deleted and does not go away: %s", t, lingering(live)).because(err)
	}
	return live, err
}

// adopt takes over the fields that kubectl's client-side apply owns, so that
// those that the manifest no longer has are removed.
func (s *session) adopt(ctx context.Context, t target, live *unstructured.Unstructured) error {
	const csa = "kubectl-client-side-apply"
	found := false
	for _, f := range live.GetManagedFields() {
		found = found || f.Manager == csa && f.Operation == metav1.ManagedFieldsOperationUpdate && f.Subresource == ""
	}
	if !found {
		return nil
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(csa), fieldManager)
	if err != nil || patch == nil {
		return nil // forced ownership is enough for what the manifest has
	}
	_, err = t.res.Patch(ctx, t.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// unmergeable tells whether the server cannot apply a manifest that it would
// take otherwise.
func unmergeable(err error) bool {
	if err == nil {
		return false
	}
	s := reason(err)
	return apierrors.IsUnsupportedMediaType(err) || strings.Contains(s, "duplicate entries for key") ||
		strings.Contains(s, "failed to create typed patch object")
}
