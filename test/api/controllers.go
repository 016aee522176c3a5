package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node is one node that kwok plays.
type Node struct {
	Name string
	// IP is its internal address.
	IP     string
	Labels map[string]string
	Taints []corev1.Taint
}

func (c *Cluster) startControllers(ctx context.Context) error {
	kubeconfig := c.KubeconfigFile()
	for _, args := range [][]string{
		{"kube-controller-manager", "--kubeconfig", kubeconfig, "--service-account-private-key-file", c.path("sa.key"),
			"--root-ca-file", c.path("ca.crt"), "--cluster-signing-cert-file", c.path("ca.crt"), "--cluster-signing-key-file", c.path("ca.key"),
			"--use-service-account-credentials", "--leader-elect=false", "--secure-port", "0"},
		{"kube-scheduler", "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port", "0"},
		{"kwok", "--kubeconfig", kubeconfig, "--manage-all-nodes=false",
			"--manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=fake", "--cidr", "10.0.0.1/24"},
	} {
		p, err := start(c.opts.Bin, c.opts.Dir, args[0], args[1:]...)
		if err != nil {
			return err
		}
		c.others = append(c.others, p)
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	for _, n := range c.opts.Nodes {
		if _, err := client.CoreV1().Nodes().Create(ctx, n.object(), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("node %s cannot be made: %w", n.Name, err)
		}
	}
	// A service account is the first thing that a pod needs of the controllers.
	if err := c.until(ctx, "the first service account", c.others[0], func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	}); err != nil {
		return err
	}
	return c.until(ctx, "the nodes to be Ready", c.others[2], func(ctx context.Context) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, n := range nodes.Items {
			if !ready(n) {
				return fmt.Errorf("node %s is not Ready", n.Name)
			}
		}
		return nil
	})
}

func (n Node) object() *corev1.Node {
	labels := map[string]string{"kubernetes.io/hostname": n.Name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
	for k, v := range n.Labels {
		labels[k] = v
	}
	size := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("16"),
		corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        n.Name,
			Labels:      labels,
			Annotations: map[string]string{"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
		},
		Spec: corev1.NodeSpec{Taints: n.Taints},
		Status: corev1.NodeStatus{
			Capacity: size, Allocatable: size,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: n.IP}, {Type: corev1.NodeHostName, Address: n.Name},
			},
		},
	}
}

func ready(n corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// BinDir is where test/kube puts its programs: KUBE_BIN, or what its build
// script says. It errs if they have not been built.
func BinDir() (string, error) {
	dir := os.Getenv("KUBE_BIN")
	if dir == "" {
		out, err := exec.Command("sh", "../kube/build.sh", "../../.cache/kube", "where").Output()
		if err != nil {
			return "", fmt.Errorf("the folder of the Kubernetes programs is not known: %w", err)
		}
		dir = strings.TrimSpace(string(out))
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", errors.New(name + " has not been built: run make -C test/kube api")
		}
	}
	return dir, nil
}

func portTaken(log []byte) bool { return bytes.Contains(log, []byte("address already in use")) }
