package kube

import (
	"errors"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"bundle/manifest/step"
)

func TestLabelsAreSetOnceAndNeverOverwrittenUnasked(t *testing.T) {
	have := map[string]string{"lb": "nginx", "old": "x"}
	got, err := metaChange(have, step.Meta{Set: map[string]string{"lb": "nginx", "new": "1"}, Remove: []string{"old", "absent"}}, "label", "node n1")
	if want := map[string]any{"new": "1", "old": nil}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	_, err = metaChange(have, step.Meta{Set: map[string]string{"lb": "haproxy"}}, "label", "node n1")
	want := `the label lb of node n1 is "nginx" already, not "haproxy", and the step does not overwrite`
	if !errors.Is(err, ErrConflict) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	got, err = metaChange(have, step.Meta{Set: map[string]string{"lb": "haproxy"}, Overwrite: true}, "label", "node n1")
	if err != nil || got["lb"] != "haproxy" {
		t.Errorf("overwriting gave %v, %v", got, err)
	}
}

func TestTaintsAreKnownByKeyAndEffect(t *testing.T) {
	master := corev1.Taint{Key: "master", Effect: "NoSchedule"}
	gpu := corev1.Taint{Key: "gpu", Value: "a", Effect: "NoExecute"}
	for name, c := range map[string]struct {
		have    []corev1.Taint
		a       step.Taint
		want    []corev1.Taint
		changed bool
		err     error
	}{
		"add":             {nil, step.Taint{Key: "gpu", Value: "a", Effect: "NoExecute"}, []corev1.Taint{gpu}, true, nil},
		"there":           {[]corev1.Taint{gpu}, step.Taint{Key: "gpu", Value: "a", Effect: "NoExecute"}, []corev1.Taint{gpu}, false, nil},
		"other value":     {[]corev1.Taint{gpu}, step.Taint{Key: "gpu", Value: "b", Effect: "NoExecute"}, nil, false, ErrConflict},
		"overwrite":       {[]corev1.Taint{gpu}, step.Taint{Key: "gpu", Value: "b", Effect: "NoExecute", Overwrite: true}, []corev1.Taint{{Key: "gpu", Value: "b", Effect: "NoExecute"}}, true, nil},
		"other effect":    {[]corev1.Taint{gpu}, step.Taint{Key: "gpu", Effect: "NoSchedule"}, []corev1.Taint{gpu, {Key: "gpu", Effect: "NoSchedule"}}, true, nil},
		"remove":          {[]corev1.Taint{master, gpu}, step.Taint{Key: "master", Effect: "NoSchedule", Remove: true}, []corev1.Taint{gpu}, true, nil},
		"remove all":      {[]corev1.Taint{gpu}, step.Taint{Key: "gpu", Remove: true}, []corev1.Taint{}, true, nil},
		"remove absent":   {[]corev1.Taint{gpu}, step.Taint{Key: "master", Effect: "NoSchedule", Remove: true}, []corev1.Taint{gpu}, false, nil},
		"remove by value": {[]corev1.Taint{gpu}, step.Taint{Key: "gpu", Value: "b", Effect: "NoExecute", Remove: true}, []corev1.Taint{}, true, nil},
	} {
		got, changed, err := taintChange(c.have, c.a, "node n1")
		if !errors.Is(err, c.err) || changed != c.changed || err == nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, %v, %v", name, got, changed, err)
		}
	}
}

func TestMaster0IsFoundByAddressBeforeName(t *testing.T) {
	nodes := []corev1.Node{
		{ObjectMeta: metav1.ObjectMeta{Name: "10.0.0.2"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: "InternalIP", Address: "10.0.0.9"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: "InternalIP", Address: "10.0.0.2"}, {Type: "Hostname", Address: "master-b"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: "InternalIP", Address: "fd00::1"}}}},
	}
	for address, want := range map[string]string{"10.0.0.2": "b", "master-b": "b", "C": "c", "fd00:0::1": "c"} {
		if n := byAddress(nodes, address); n == nil || n.Name != want {
			t.Errorf("%s found %v, want %s", address, n, want)
		}
	}
	if n := byAddress(nodes, ""); n != nil {
		t.Errorf("no address found %s", n.Name)
	}
}
