package api

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// cluster is one for all tests of this folder: three nodes, master0 with the
// taint and the label that kubeadm gives a control plane.
var cluster *Cluster

// master0 is the name of the first node; the others are node1 and node2, with
// addresses behind its own.
const (
	master0   = "master0"
	master0IP = "10.77.0.11"
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	cluster, err = Start(context.Background(), Options{Controllers: true, Nodes: []Node{
		{
			Name: master0, IP: master0IP, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""},
			Taints: []corev1.Taint{{Key: "node-role.kubernetes.io/master", Effect: corev1.TaintEffectNoSchedule}},
		},
		{Name: "node1", IP: "10.77.0.12"},
		{Name: "node2", IP: "10.77.0.13"},
	}})
	if err != nil {
		return 1, err
	}
	defer cluster.Close()
	return m.Run(), nil
}

// client is a client of the cluster.
func client(t *testing.T) kubernetes.Interface {
	t.Helper()
	c, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// namespace makes one for the test alone and removes it afterwards.
func namespace(t *testing.T) string {
	t.Helper()
	ns, err := client(t).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client(t).CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	return ns.Name
}

// kubectl gives what kubectl prints; input, if any, is its standard input.
func kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), cluster.Kubectl(), append([]string{"--kubeconfig", cluster.KubeconfigFile()}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
