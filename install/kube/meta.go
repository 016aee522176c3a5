package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"bundle/manifest/step"
)

const mergePatch = types.MergePatchType

// meta sets and removes labels or annotations; what is "label" or
// "annotation".
func (s *session) meta(ctx context.Context, a step.Meta, what string) (Outcome, error) {
	c, err := s.choose(ctx, a.Target, a.Resource, a.Namespace)
	if err != nil {
		return Outcome{}, err
	}
	verb := map[string]string{"label": "label", "annotation": "annotate"}[what]
	n, err := s.edit(ctx, c, verb, func(o *unstructured.Unstructured) ([]byte, error) {
		have := o.GetLabels()
		if what == "annotation" {
			have = o.GetAnnotations()
		}
		want, err := metaChange(have, a, what, c.what(o.GetName()))
		if err != nil || len(want) == 0 {
			return nil, err
		}
		return mergeOf(o, map[string]any{what + "s": want}, nil)
	})
	if err != nil {
		return Outcome{}, err
	}
	return edited(n, c, what+"s"), nil
}

func edited(n int, c chosen, what string) Outcome {
	kind := strings.ToLower(c.kind)
	if len(c.names) == 1 {
		return outcome(n > 0, "changed the "+what+" of "+c.what(c.names[0]), c.what(c.names[0])+" has the "+what)
	}
	return outcome(n > 0, fmt.Sprintf("changed the %s of %d of %d %ss", what, n, len(c.names), kind),
		fmt.Sprintf("%d %ss have the %s", len(c.names), kind, what))
}

// metaChange gives what a merge patch of labels or annotations has to say.
func metaChange(have map[string]string, a step.Meta, what, object string) (map[string]any, error) {
	want := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(a.Set)) {
		value := a.Set[key]
		old, there := have[key]
		switch {
		case there && old == value:
		case there && !a.Overwrite:
			return nil, fail(ErrConflict, object, "the %s %s of %s is %q already, not %q, and the step does not overwrite", what, key, object, old, value).
				advise("remove the %s, or write --overwrite in the command", what)
		default:
			want[key] = value
		}
	}
	for _, key := range a.Remove {
		if _, there := have[key]; there {
			want[key] = nil
		}
	}
	return want, nil
}

// mergeOf writes a merge patch that only fits the object as it was read.
func mergeOf(o *unstructured.Unstructured, metadata, spec map[string]any) ([]byte, error) {
	md := map[string]any{"resourceVersion": o.GetResourceVersion()}
	maps.Copy(md, metadata)
	patch := map[string]any{"metadata": md}
	if spec != nil {
		patch["spec"] = spec
	}
	return json.Marshal(patch)
}

// taint adds or removes one taint.
func (s *session) taint(ctx context.Context, a step.Taint) (Outcome, error) {
	c, err := s.choose(ctx, a.Target, "node", "")
	if err != nil {
		return Outcome{}, err
	}
	n, err := s.edit(ctx, c, "taint", func(o *unstructured.Unstructured) ([]byte, error) {
		have, err := taintsOf(o)
		if err != nil {
			return nil, err
		}
		want, changed, err := taintChange(have, a, c.what(o.GetName()))
		if err != nil || !changed {
			return nil, err
		}
		return mergeOf(o, nil, map[string]any{"taints": want})
	})
	if err != nil {
		return Outcome{}, err
	}
	return edited(n, c, "taints"), nil
}

// taintsOf reads the taints of a node.
func taintsOf(o *unstructured.Unstructured) ([]corev1.Taint, error) {
	list, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "taints")
	data, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	var taints []corev1.Taint
	return taints, json.Unmarshal(data, &taints)
}

// taintChange gives the taints of a node after a step. A taint is what its
// key and effect say; its value is what it may be refused for.
func taintChange(have []corev1.Taint, a step.Taint, object string) (want []corev1.Taint, changed bool, err error) {
	found := false
	for _, t := range have {
		same := t.Key == a.Key && (a.Effect == "" || string(t.Effect) == a.Effect)
		switch {
		case !same:
			want = append(want, t)
		case a.Remove:
			changed = true
		case t.Value == a.Value:
			want, found = append(want, t), true
		case !a.Overwrite:
			return nil, false, fail(ErrConflict, object, "the taint %s:%s of %s has the value %q already, not %q, and the step does not overwrite",
				a.Key, a.Effect, object, t.Value, a.Value).advise("remove the taint, or write --overwrite in the command")
		default:
			changed = true
		}
	}
	if !a.Remove && !found {
		want = append(want, corev1.Taint{Key: a.Key, Value: a.Value, Effect: corev1.TaintEffect(a.Effect)})
		changed = true
	}
	if want == nil {
		want = []corev1.Taint{} // null would not be a list
	}
	return want, changed, nil
}

// sameIP tells whether two addresses are the same, however they are written.
func sameIP(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Unmap() == y.Unmap()
}
