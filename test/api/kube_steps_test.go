package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"bundle/install/kube"
	clusterfile "bundle/manifest/cluster"
	"bundle/manifest/step"
)

// crd is a definition; the kind is its name with a capital.
func crd(group, name string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]ss.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: %[3]s, plural: %[2]ss, singular: %[2]s, shortNames: [%[2]sx]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, group, name, strings.ToUpper(name[:1])+name[1:])
}

// dropCRD removes a definition after the test.
func dropCRD(t *testing.T, name string) {
	t.Cleanup(func() {
		c := connect(t, nil)
		_, _ = c.Run(context.Background(), asStep(step.Delete{Resource: "crd", Names: []string{name}}, 30))
	})
}

func TestManifestsAreAppliedOnceWhateverTheirOrder(t *testing.T) {
	ns := namespace(t)
	group := ns + ".example.com"
	dropCRD(t, "widgets."+group)
	c := connect(t, map[string]string{
		// The resource comes before its definition, the objects before their
		// namespace.
		"m/a-widget.yaml": "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n",
		"m/b.yaml": crd(group, "widget") + "---\n" + deployment + `---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: b}}
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
`,
		"m/c/d.json":  `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"}}`,
		"m/notes.txt": "not a manifest",
	})
	twice(t, c, step.Apply{Files: []string{"m"}, Namespace: ns})
	twice(t, c, step.Apply{Files: []string{"*.yaml", "c"}, Dir: "m/", Namespace: ns, Recursive: true, ServerSide: true})
	twice(t, c, step.Create{Files: []string{"m/c/*"}, Namespace: "default"})
	do(t, c, step.WaitCRD{CRD: "WIDGET"}, false)
	do(t, c, step.WaitCRD{CRD: "widgetx." + group}, false)
	do(t, c, step.WaitRollout{Resource: "deployment", Name: "web", Namespace: ns}, false)

	twice(t, c, step.Scale{Resource: "deployment", Name: "web", Namespace: ns, Replicas: 1})
	twice(t, c, step.Patch{Resource: "deploy", Name: "web", Namespace: ns, Type: "strategic", Patch: "spec: {template: {spec: {containers: [{name: web, imagePullPolicy: Never}]}}}"})
	twice(t, c, step.Patch{Resource: "widgets", Name: "w", Namespace: ns, Type: "merge", Patch: `{"spec":{"size":4}}`})
	do(t, c, step.Patch{Resource: "widgetx", Name: "w", Namespace: ns, Type: "json", Patch: `[{"op":"add","path":"/spec/list","value":[1]}]`}, true)
	twice(t, c, step.Label{Meta: step.Meta{Target: step.Target{Target: step.TargetNames, Names: []string{"web"}}, Resource: "service", Namespace: ns, Set: map[string]string{"a": "b"}}})
	twice(t, c, step.Annotate{Meta: step.Meta{Target: step.Target{Target: step.TargetAll}, Resource: "widget", Namespace: ns, Set: map[string]string{"a": "b c"}}})
	twice(t, c, step.Annotate{Meta: step.Meta{Target: step.Target{Target: step.TargetSelector, Selector: "a=b"}, Resource: "svc", Namespace: ns, Set: map[string]string{"x": ""}, Remove: []string{"never"}}})

	twice(t, c, step.Delete{Resource: "widget", Names: []string{"w", "never"}, Namespace: ns})
	twice(t, c, step.Delete{Files: []string{"m/b.yaml", "m/a-widget.yaml"}, Namespace: ns})
	do(t, c, step.Delete{Resource: "widget", Names: []string{"w"}, Namespace: ns}, false) // the kind is gone, too
	twice(t, c, step.Delete{Resource: "configmap", Names: []string{"deep"}})
}

func TestNamespaceIsMadeAgainAfterAnEarlierOneIsGone(t *testing.T) {
	c := connect(t, nil)
	ns := namespace(t) + "-x"
	twice(t, c, step.Namespace{Name: ns})
	// Something in it does not want to go.
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	if _, err := client(t).CoreV1().ConfigMaps(ns).Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	release := func() error {
		_, err := client(t).CoreV1().ConfigMaps(ns).Patch(context.Background(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		return err
	}
	if err := client(t).CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace to say what holds it", func() bool {
		n, err := client(t).CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(n.Status.Conditions, func(c corev1.NamespaceCondition) bool {
			return c.Type == corev1.NamespaceFinalizersRemaining && c.Status == corev1.ConditionTrue
		})
	})
	refuse(t, c, step.Delete{Resource: "ns", Names: []string{ns}}, 1, kube.ErrTimeout, "namespace "+ns, "namespace "+ns+" does not go away: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances")
	refuse(t, c, step.Namespace{Name: ns}, 1, kube.ErrTimeout, "namespace "+ns, "does not go away")
	done := make(chan error, 1)
	go func() { done <- release() }()
	do(t, c, step.Namespace{Name: ns}, true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	twice(t, c, step.Delete{Resource: "namespace", Names: []string{ns}})
}

func TestWhatKubectlAppliedIsTakenOver(t *testing.T) {
	ns := namespace(t)
	const before = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {old: \"1\"}}\ndata: {gone: a, changed: b}\n"
	kubectl(t, before, "-n", ns, "apply", "-f", "-")
	c := connect(t, map[string]string{"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {changed: c}\n"})
	twice(t, c, step.Apply{Files: []string{"c.yaml"}, Namespace: ns})
	got, err := client(t).CoreV1().ConfigMaps(ns).Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 1 || got.Data["changed"] != "c" || len(got.Labels) != 0 {
		t.Errorf("left is %v %v", got.Data, got.Labels)
	}
}

// Two variables of one name are a mistake that kubectl and Helm 3 let pass.
func TestManifestThatOnlyKubectlTakesIsApplied(t *testing.T) {
	ns := namespace(t)
	const twin = "[{name: web, image: a, env: [{name: A, value: one}, {name: A, value: two}]}]"
	text := strings.Replace(deployment, "[{name: web, image: sea.hub:5000/library/web:1}]", twin, 1)
	files := map[string]string{"d.yaml": text, "e.yaml": strings.Replace(strings.Replace(text, "value: two", "value: three", 1), "image: a", "image: b", 1)}
	c := connect(t, files)
	twice(t, c, step.Apply{Files: []string{"d.yaml"}, Namespace: ns})
	twice(t, c, step.Apply{Files: []string{"e.yaml"}, Namespace: ns})
	d, err := client(t).AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Spec.Template.Spec.Containers[0].Image; got != "b" {
		t.Errorf("the image is %s", got)
	}
}

func TestNodesAreChosenByAddressNameAndLabel(t *testing.T) {
	c := connect(t, nil)
	restore(t)
	first := step.Target{Target: step.TargetMaster0}
	twice(t, c, step.Taint{Target: first, Key: "node-role.kubernetes.io/master", Effect: "NoSchedule", Remove: true})
	twice(t, c, step.Taint{Target: step.Target{Target: step.TargetNames, Names: []string{"node1", "node2"}}, Key: "test/gpu", Value: "a", Effect: "PreferNoSchedule"})
	twice(t, c, step.Label{Meta: step.Meta{Target: first, Resource: "node", Set: map[string]string{"lb": "nginx", "addon-local-repo": "true"}}})
	twice(t, c, step.Label{Meta: step.Meta{Target: step.Target{Target: step.TargetSelector, Selector: "lb=nginx"}, Resource: "node", Set: map[string]string{"test/chosen": "yes"}}})
	twice(t, c, step.Label{Meta: step.Meta{Target: step.Target{Target: step.TargetAll}, Resource: "nodes", Set: map[string]string{"test/all": "yes"}}})
	n, err := client(t).CoreV1().Nodes().Get(t.Context(), master0, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Spec.Taints) != 0 || n.Labels["lb"] != "nginx" || n.Labels["test/chosen"] != "yes" || n.Labels["test/all"] != "yes" {
		t.Errorf("master0 has %v and %v", n.Spec.Taints, n.Labels)
	}

	label := step.Label{Meta: step.Meta{Target: first, Resource: "node", Set: map[string]string{"lb": "haproxy"}}}
	refuse(t, c, label, 10, kube.ErrConflict, "node master0", `the label lb of node master0 is "nginx" already, not "haproxy"`)
	label.Overwrite = true
	twice(t, c, label)
	refuse(t, c, step.Taint{Target: step.Target{Target: step.TargetNames, Names: []string{"node1"}}, Key: "test/gpu", Value: "b", Effect: "PreferNoSchedule"},
		10, kube.ErrConflict, "node node1", `has the value "a" already, not "b"`)
	refuse(t, c, step.Label{Meta: step.Meta{Target: step.Target{Target: step.TargetNames, Names: []string{"node9"}}, Resource: "node", Set: map[string]string{"a": "b"}}},
		10, kube.ErrInput, "node node9", "there is no node node9")
	refuse(t, c, step.Label{Meta: step.Meta{Target: step.Target{Target: step.TargetSelector, Selector: "no=body"}, Resource: "node", Set: map[string]string{"a": "b"}}},
		10, kube.ErrInput, "node", "no node has no=body")

	lost := connectAs(t, "10.99.0.1")
	refuse(t, lost, label, 10, kube.ErrInput, "node 10.99.0.1", "no node has the address 10.99.0.1 of the first master (there are master0 at 10.77.0.11, node1 at")
}

// restore gives the nodes back what a test changed.
func restore(t *testing.T) {
	before, err := client(t).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, old := range before.Items {
			n, err := client(t).CoreV1().Nodes().Get(context.Background(), old.Name, metav1.GetOptions{})
			if err != nil {
				continue
			}
			n.Labels, n.Spec.Taints = old.Labels, old.Spec.Taints
			if _, err := client(t).CoreV1().Nodes().Update(context.Background(), n, metav1.UpdateOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestHostsOfTheClusterfileLabelTheirNodes(t *testing.T) {
	c := connect(t, nil)
	restore(t)
	hosts := []clusterfile.Host{
		{Address: master0IP, Roles: []string{"master", "infra"}, Labels: map[string]string{"zone": "a"}, Taints: []string{"node-role.kubernetes.io/master:NoSchedule-"}},
		{Address: "10.77.0.12", Roles: []string{"node"}, Taints: []string{"disk=full:PreferNoSchedule"}},
	}
	if out, err := c.LabelNodes(t.Context(), hosts); err != nil || !out.Changed {
		t.Fatalf("%+v, %v", out, err)
	}
	if out, err := c.LabelNodes(t.Context(), hosts); err != nil || out.Changed {
		t.Errorf("the second time: %+v, %v", out, err)
	}
	n, err := client(t).CoreV1().Nodes().Get(t.Context(), master0, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := n.Labels["node-role.kubernetes.io/infra"]; !ok || n.Labels["zone"] != "a" || len(n.Spec.Taints) != 0 {
		t.Errorf("master0 has %v and %v", n.Labels, n.Spec.Taints)
	}
	hosts[1].Taints = []string{"nonsense"}
	if _, err := c.LabelNodes(t.Context(), hosts); err == nil || !strings.Contains(err.Error(), `the taint "nonsense" of host 10.77.0.12`) {
		t.Errorf("got %v", err)
	}
	if _, err := c.LabelNodes(t.Context(), []clusterfile.Host{{Address: "10.77.0.99"}}); err == nil || !strings.Contains(err.Error(), "no node has the address 10.77.0.99") {
		t.Errorf("got %v", err)
	}
}

func TestBadStepsTellWhatIsWrong(t *testing.T) {
	ns := namespace(t)
	c := connect(t, map[string]string{
		"unknown.yaml": "apiVersion: nowhere.example.com/v1\nkind: Gadget\nmetadata: {name: g}\n",
		"invalid.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n",
		"lost.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: nowhere}\n",
		"other.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: other}\n",
		"unnamed.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: c-}\n",
		"broken.yaml":  "a: [\n",
	})
	apply := func(file string) step.Apply { return step.Apply{Files: []string{file}, Namespace: ns} }
	refuse(t, c, apply("unknown.yaml"), 1, kube.ErrInput, "gadget g", "the cluster knows no kind Gadget in nowhere.example.com/v1")
	refuse(t, c, apply("invalid.yaml"), 10, kube.ErrInput, "service s in namespace "+ns, "cannot apply service s in namespace "+ns+" (invalid.yaml): Service \"s\" is invalid")
	refuse(t, c, step.Apply{Files: []string{"lost.yaml"}}, 10, kube.ErrInput, "configmap c in namespace nowhere", `namespaces "nowhere" not found`)
	refuse(t, c, apply("other.yaml"), 10, kube.ErrInput, "configmap c in namespace other", "it is for namespace other, the step for "+ns)
	refuse(t, c, apply("unnamed.yaml"), 10, kube.ErrInput, "configmap  in namespace "+ns, "generateName")
	refuse(t, c, apply("broken.yaml"), 10, kube.ErrInput, "broken.yaml", "broken.yaml, document 1: ")
	refuse(t, c, apply("absent/*.yaml"), 10, kube.ErrInput, "absent/*.yaml", "matches no file of the bundle")
	refuse(t, c, step.Scale{Resource: "deployment", Name: "absent", Namespace: ns, Replicas: 1}, 10, kube.ErrInput, "deployment absent in namespace "+ns, "it is not there")
	refuse(t, c, step.Patch{Resource: "gadget", Name: "x", Type: "merge", Patch: "{}"}, 10, kube.ErrInput, "gadget", "the cluster knows no resource gadget")
	refuse(t, c, step.Exec{}, 10, kube.ErrInput, "exec", "is not for the API server")
}
