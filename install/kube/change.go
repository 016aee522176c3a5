package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"bundle/manifest/step"
)

// named finds one object by what people call it.
func (s *session) named(ctx context.Context, verb, resource, namespace, name string) (
	res dynamic.ResourceInterface, live *unstructured.Unstructured, what string, err error,
) {
	m, err := s.resolve(resource)
	if meta.IsNoMatchError(err) {
		return nil, nil, "", fail(ErrInput, resource, "cannot %s %s %s: the cluster knows no resource %s", verb, resource, name, resource).because(err)
	}
	if err != nil {
		return nil, nil, "", err
	}
	what = object(m.GroupVersionKind.Kind, scoped(m, namespace), name)
	res = s.objects(m, namespace)
	live, err = res.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, what, fail(ErrInput, what, "cannot %s %s: it is not there", verb, what).because(err)
	}
	return res, live, what, err
}

// scale sets the number of replicas.
func (s *session) scale(ctx context.Context, a step.Scale) (Outcome, error) {
	res, live, what, err := s.named(ctx, "scale", a.Resource, a.Namespace, a.Name)
	if err != nil {
		return Outcome{}, err
	}
	was, found, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if !found {
		was = 1
	}
	if was == int64(a.Replicas) {
		return Outcome{Detail: fmt.Sprintf("%s has %d replicas", what, a.Replicas)}, nil
	}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, a.Replicas)
	_, err = res.Patch(ctx, a.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, "scale")
	if err != nil {
		return Outcome{}, cannot("scale", what, "", err)
	}
	return Outcome{Changed: true, Detail: fmt.Sprintf("scaled %s from %d to %d", what, was, a.Replicas)}, nil
}

// patch changes one object.
func (s *session) patch(ctx context.Context, a step.Patch) (Outcome, error) {
	kind, data, err := patchOf(a)
	if err != nil {
		return Outcome{}, err
	}
	res, live, what, err := s.named(ctx, "patch", a.Resource, a.Namespace, a.Name)
	if err != nil {
		return Outcome{}, err
	}
	after, err := res.Patch(ctx, a.Name, kind, data, metav1.PatchOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsUnsupportedMediaType(err):
		return Outcome{}, fail(ErrInput, what, "cannot patch %s: custom resources know no strategic patch", what).because(err).
			advise("write --type=merge in the command")
	case err != nil:
		return Outcome{}, cannot("patch", what, "", err)
	}
	return outcome(!same(live, after), "patched "+what, what+" is as the patch wants it"), nil
}

const maxPatch = 1 << 20

// patchOf gives a patch as JSON.
func patchOf(a step.Patch) (types.PatchType, []byte, error) {
	kind, ok := map[string]types.PatchType{
		"": types.StrategicMergePatchType, "strategic": types.StrategicMergePatchType,
		"merge": types.MergePatchType, "json": types.JSONPatchType,
	}[a.Type]
	bad := func(why string) error {
		return fail(ErrInput, a.Resource+" "+a.Name, "the patch of %s %s %s", a.Resource, a.Name, why)
	}
	if !ok {
		return "", nil, bad(fmt.Sprintf("is of the unknown type %q", a.Type))
	}
	if len(a.Patch) > maxPatch {
		return "", nil, bad(fmt.Sprintf("is larger than %d bytes", maxPatch))
	}
	found, err := values([]byte(a.Patch))
	if err != nil {
		return "", nil, bad("cannot be read: " + oneLine(err.Error()))
	}
	if len(found) != 1 {
		return "", nil, bad(fmt.Sprintf("holds %d values, not one", len(found)))
	}
	_, isMap := found[0].(map[string]any)
	_, isList := found[0].([]any)
	if kind == types.JSONPatchType && !isList {
		return "", nil, bad("is no list of operations")
	}
	if kind != types.JSONPatchType && !isMap {
		return "", nil, bad("is no mapping")
	}
	data, err := yaml.YAMLToJSON([]byte(a.Patch))
	if err != nil {
		return "", nil, bad("cannot be read: " + oneLine(err.Error()))
	}
	return kind, data, nil
}
