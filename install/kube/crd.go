package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"bundle/manifest/step"
)

const crdKind = "CustomResourceDefinition.apiextensions.k8s.io"

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// definition is what we read of a custom resource definition.
type definition struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Group string `json:"group"`
		Names struct {
			Kind       string   `json:"kind"`
			Plural     string   `json:"plural"`
			Singular   string   `json:"singular"`
			ShortNames []string `json:"shortNames"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Served bool   `json:"served"`
		} `json:"versions"`
	} `json:"spec"`
	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// called tells whether people mean the definition by a name, in any case:
// whole name, plural, singular, kind or short name, or one of these with the
// group behind it.
func (d definition) called(name string) bool {
	n := d.Spec.Names
	names := append([]string{d.Metadata.Name, n.Plural, n.Singular, n.Kind}, n.ShortNames...)
	return slices.ContainsFunc(names, func(s string) bool {
		return s != "" && (strings.EqualFold(s, name) || strings.EqualFold(s+"."+d.Spec.Group, name))
	})
}

// state tells whether the definition is established, or else what is in the
// way.
func (d definition) state() (established bool, why string) {
	for _, c := range d.Status.Conditions {
		switch {
		case c.Type == "NamesAccepted" && c.Status == metav1.ConditionFalse:
			return false, "its names are not accepted: " + oneLine(c.Message)
		case c.Type == "NonStructuralSchema" && c.Status == metav1.ConditionTrue:
			why = "its schema is not structural: " + oneLine(c.Message)
		case c.Type == "Terminating" && c.Status == metav1.ConditionTrue:
			return false, "it is being deleted"
		case c.Type == "Established":
			established = c.Status == metav1.ConditionTrue
			if !established {
				why = cmp.Or(why, oneLine(c.Message))
			}
		}
	}
	return established, cmp.Or(why, "the API server has not looked at it yet")
}

// served gives a version that the API server answers for.
func (d definition) served() (schema.GroupVersionResource, bool) {
	for _, v := range d.Spec.Versions {
		if v.Served {
			return schema.GroupVersionResource{Group: d.Spec.Group, Version: v.Name, Resource: d.Spec.Names.Plural}, true
		}
	}
	return schema.GroupVersionResource{}, false
}

// waitCRD waits until a definition is established and its resource answers.
func (s *session) waitCRD(ctx context.Context, a step.WaitCRD) (Outcome, error) {
	every := cmp.Or(time.Duration(a.IntervalSeconds)*time.Second, s.o.Poll)
	begin := time.Now()
	var found definition
	err := s.waitDefinitions(ctx, []string{a.CRD}, func(d definition) { found = d })
	if err == nil {
		err = s.waitServed(ctx, a.CRD, found, every)
	}
	if err != nil {
		return Outcome{}, err
	}
	detail := found.Metadata.Name + " is established"
	if d := time.Since(begin); d > 2*time.Second {
		detail += " after " + span(d)
	}
	return Outcome{Detail: detail}, nil
}

// established waits for definitions by their whole names.
func (s *session) established(ctx context.Context, names []string) error {
	var found []definition
	if err := s.waitDefinitions(ctx, names, func(d definition) { found = append(found, d) }); err != nil {
		return err
	}
	for _, d := range found {
		if err := s.waitServed(ctx, d.Metadata.Name, d, min(s.o.Poll, 250*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// waitDefinitions waits until all of names are established, and gives each to
// use. It reads all definitions once, since they are large, and then watches.
func (s *session) waitDefinitions(ctx context.Context, names []string, use func(definition)) error {
	why, lacking := "the API server has not said which it has", names[0]
	settled := func(all map[string]definition) bool {
		var found []definition
		for _, name := range names {
			d, reason := pick(all, name)
			if d == nil {
				lacking, why = name, reason
				return false
			}
			found = append(found, *d)
		}
		for _, d := range found {
			use(d)
		}
		return true
	}
	told := time.AfterFunc(20*time.Second, func() { s.note("waiting for the custom resource definition %s", names[0]) })
	defer told.Stop()
	err := s.poll(ctx, s.o.Poll, func() (bool, error) { return s.watchDefinitions(ctx, settled) })
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return fail(ErrTimeout, "custom resource definition "+lacking, "the custom resource definition %s is not established: %s", lacking, why).because(err).
		advise("whatever brings the definition, an operator most of the time, did not; look at its pods")
}

// watchDefinitions shows settled all definitions, again at every change, until
// that is content or the watch ends.
func (s *session) watchDefinitions(ctx context.Context, settled func(map[string]definition) bool) (bool, error) {
	list, err := s.dyn.Resource(crds).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	all := map[string]definition{}
	put := func(o *unstructured.Unstructured) {
		if d, err := convert[definition](o.Object); err == nil {
			all[o.GetName()] = *d
		}
	}
	for i := range list.Items {
		put(&list.Items[i])
	}
	if settled(all) {
		return true, nil
	}
	minutes := int64(300)
	w, err := s.dyn.Resource(crds).Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion(), TimeoutSeconds: &minutes})
	if err != nil {
		return false, ctx.Err() // it is listed again
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case e, ok := <-w.ResultChan():
			o, is := e.Object.(*unstructured.Unstructured)
			if !ok || !is || e.Type == watch.Error {
				return false, nil
			}
			if e.Type == watch.Deleted {
				delete(all, o.GetName())
			} else {
				put(o)
			}
			if settled(all) {
				return true, nil
			}
		}
	}
}

// waitServed waits until the resource of an established definition answers.
func (s *session) waitServed(ctx context.Context, name string, d definition, every time.Duration) error {
	gvr, ok := d.served()
	if !ok {
		return nil // none of its versions ever answers
	}
	err := s.poll(ctx, every, func() (bool, error) {
		_, err := s.dyn.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil && !ended(err) {
			return true, nil // it answers, with an error of its own
		}
		return err == nil, err
	})
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return fail(ErrTimeout, "custom resource definition "+name, "the custom resource definition %s is established, but its resource does not answer", name).because(err)
}

// pick finds an established definition by name, and says what is there where
// there is none.
func pick(all map[string]definition, name string) (found *definition, why string) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		d := all[key]
		if !d.called(name) {
			continue
		}
		ok, reason := d.state()
		if ok {
			return &d, ""
		}
		why = d.Metadata.Name + " is there, but " + reason
	}
	switch {
	case why != "":
		return nil, why
	case len(all) == 0:
		return nil, "the cluster has no custom resource definitions"
	}
	if near := alike(all, name); near != "" {
		return nil, fmt.Sprintf("the cluster has %d definitions but not this one; close to it are %s", len(all), near)
	}
	return nil, fmt.Sprintf("the cluster has %d definitions but not this one", len(all))
}

// alike lists definitions with a name that resembles another.
func alike(all map[string]definition, name string) string {
	short, _, _ := strings.Cut(strings.ToLower(name), ".")
	var near []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		singular := strings.ToLower(all[key].Spec.Names.Singular)
		if short != "" && (strings.Contains(strings.ToLower(key), short) || singular != "" && strings.Contains(short, singular)) {
			near = append(near, key)
		}
	}
	return clip(strings.Join(near, ", "), 200)
}
