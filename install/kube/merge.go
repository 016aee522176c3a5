package kube

import (
	"bytes"
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// lastApplied is where kubectl keeps what it applied.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// merge applies an object the way kubectl does without --server-side: by a
// three-way merge of what was applied last, the manifest and the live object.
func (s *session) merge(ctx context.Context, t target, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	modified, err := annotated(t.Unstructured)
	if err != nil {
		return nil, err
	}
	if live == nil {
		return t.res.Create(ctx, modified, metav1.CreateOptions{FieldManager: fieldManager})
	}
	// The object may have been adopted a moment ago.
	live, err = t.res.Get(ctx, t.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	patch, kind, err := threeWay([]byte(live.GetAnnotations()[lastApplied]), modified, live)
	if err != nil {
		return nil, fail(ErrInput, t.String(), "cannot apply %s (%s): %s", t, t.from, oneLine(err.Error())).because(err)
	}
	if bytes.Equal(patch, []byte("{}")) {
		return live, nil
	}
	return t.res.Patch(ctx, t.GetName(), kind, patch, metav1.PatchOptions{FieldManager: fieldManager})
}

// annotated is the object with what is applied noted in it.
func annotated(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	o = o.DeepCopy()
	notes := o.GetAnnotations()
	delete(notes, lastApplied)
	o.SetAnnotations(notes)
	text, err := json.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	if notes == nil {
		notes = map[string]string{}
	}
	notes[lastApplied] = string(text) + "\n"
	o.SetAnnotations(notes)
	return o, nil
}

// threeWay computes the patch that makes modified of live, without what
// original had and modified has not. Lists of pod templates
// are replaced as they are: merging two entries of one key, which are what
// brought us here, would give another list each time.
func threeWay(original []byte, modified, live *unstructured.Unstructured) ([]byte, types.PatchType, error) {
	if len(original) == 0 {
		original = []byte("{}")
	}
	current, err := json.Marshal(live.Object)
	if err != nil {
		return nil, "", err
	}
	want, err := json.Marshal(modified.Object)
	if err != nil {
		return nil, "", err
	}
	typed, err := scheme.Scheme.New(modified.GroupVersionKind())
	if err != nil || runsPods(modified.GroupVersionKind()) {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, want, current)
		return patch, types.MergePatchType, err
	}
	keys, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return nil, "", err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, want, current, keys, true)
	return patch, types.StrategicMergePatchType, err
}

// runsPods tells whether objects of a kind hold the template of a pod.
func runsPods(k schema.GroupVersionKind) bool {
	return k.Group == "apps" || k.Group == "batch" || k.Kind == "Pod" || k.Kind == "ReplicationController"
}
