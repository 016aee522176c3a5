package api

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: sea.hub:5000/library/web:1}]
`

// What the other tests of this folder rest on: a workload becomes ready by
// itself, on nodes without a taint.
func TestDeploymentBecomesReady(t *testing.T) {
	ns := namespace(t)
	kubectl(t, deployment, "-n", ns, "apply", "-f", "-")
	kubectl(t, "", "-n", ns, "rollout", "status", "deployment/web", "--timeout=60s")
	pods, err := client(t).CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 3 {
		t.Errorf("%d pods, want 3", len(pods.Items))
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName == master0 || p.Spec.NodeName == "" {
			t.Errorf("pod %s is on node %q, which has a taint", p.Name, p.Spec.NodeName)
		}
	}
}

// The API server goes away and comes back, as it does in an install; nothing
// that was written is lost.
func TestAPIServerComesBackWithItsData(t *testing.T) {
	ns := namespace(t)
	cluster.StopAPIServer()
	if _, err := client(t).CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); err == nil {
		t.Error("the API server answers although it was stopped")
	}
	if err := cluster.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t).CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestNodesHaveTheAddressesThatTestsSelectThemBy(t *testing.T) {
	n, err := client(t).CoreV1().Nodes().Get(t.Context(), master0, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Status.Addresses) == 0 || n.Status.Addresses[0].Address != master0IP {
		t.Errorf("%s has the addresses %v, want %s first", master0, n.Status.Addresses, master0IP)
	}
}
