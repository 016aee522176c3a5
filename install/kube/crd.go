package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

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
	every := time.Duration(a.IntervalSeconds) * time.Second
	begin := time.Now()
	name, err := s.waitDefinition(ctx, a.CRD, cmp.Or(every, s.o.Poll))
	if err != nil {
		return Outcome{}, err
	}
	detail := name + " is established"
	if d := time.Since(begin); d > 2*time.Second {
		detail += " after " + span(d)
	}
	return Outcome{Detail: detail}, nil
}

// established waits for definitions by their whole names.
func (s *session) established(ctx context.Context, names []string) error {
	for _, name := range names {
		if _, err := s.waitDefinition(ctx, name, min(s.o.Poll, 250*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) waitDefinition(ctx context.Context, name string, every time.Duration) (string, error) {
	var all []definition
	why := "the API server has not said which it has"
	found, told := "", time.Now()
	err := s.poll(ctx, every, func() (bool, error) {
		var err error
		if all, err = s.definitions(ctx); err != nil {
			return false, err
		}
		found, why = pick(all, name)
		if found == "" && time.Since(told) > 30*time.Second {
			told = time.Now()
			s.note("waiting for the custom resource definition %s: %s", name, why)
		}
		if found == "" {
			return false, nil
		}
		ok, err := s.answers(ctx, all, found)
		if !ok {
			why = "it is established, but its resource does not answer yet"
		}
		return ok, err
	})
	if err == nil || !ended(err) || ctx.Err() == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return found, err
	}
	return "", fail(ErrTimeout, "custom resource definition "+name, "the custom resource definition %s is not established: %s", name, why).because(err).
		advise("whatever brings the definition, an operator most of the time, did not; look at its pods")
}

func (s *session) definitions(ctx context.Context) ([]definition, error) {
	list, err := s.dyn.Resource(crds).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []definition
	for _, o := range list.Items {
		var d definition
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d) == nil {
			all = append(all, d)
		}
	}
	return all, nil
}

// pick finds an established definition by name, and says what is there where
// there is none.
func pick(all []definition, name string) (found, why string) {
	for _, d := range all {
		if !d.called(name) {
			continue
		}
		ok, reason := d.state()
		if ok {
			return d.Metadata.Name, ""
		}
		why = d.Metadata.Name + " is there, but " + reason
	}
	if why != "" {
		return "", why
	}
	if len(all) == 0 {
		return "", "the cluster has no custom resource definitions"
	}
	var near []string
	short, _, _ := strings.Cut(strings.ToLower(name), ".")
	for _, d := range all {
		if short != "" && (strings.Contains(strings.ToLower(d.Metadata.Name), short) || strings.Contains(short, strings.ToLower(d.Spec.Names.Singular)) && d.Spec.Names.Singular != "") {
			near = append(near, d.Metadata.Name)
		}
	}
	if near != nil {
		return "", fmt.Sprintf("the cluster has %d definitions but not this one; close to it are %s", len(all), clip(strings.Join(near, ", "), 200))
	}
	return "", fmt.Sprintf("the cluster has %d definitions but not this one", len(all))
}

// answers tells whether the resource of a definition is served.
func (s *session) answers(ctx context.Context, all []definition, name string) (bool, error) {
	i := slices.IndexFunc(all, func(d definition) bool { return d.Metadata.Name == name })
	gvr, ok := all[i].served()
	if !ok {
		return true, nil // none of its versions ever answers
	}
	_, err := s.dyn.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil && !ended(err) {
		return true, nil // it answers, with an error of its own
	}
	return err == nil, err
}
