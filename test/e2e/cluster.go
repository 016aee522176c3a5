package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Cluster is Kubernetes as the operator sees it from one host.
type Cluster struct{ On *Host }

// Kubectl gives what kubectl prints on the host.
func (c Cluster) Kubectl(ctx context.Context, args string) (string, error) {
	return c.On.Run(ctx, "export KUBECONFIG=/etc/kubernetes/admin.conf; kubectl --cache-dir=/tmp/kubectl "+args)
}

type object struct {
	Metadata struct {
		Name, Namespace, DeletionTimestamp string
		Labels                             map[string]string
	}
	Spec struct {
		NodeName string
		Taints   []struct{ Key, Effect string }
	}
	Status struct {
		Phase      string
		Conditions []struct{ Type, Status, Message string }

		ContainerStatuses, InitContainerStatuses []containerStatus
	}
}

type containerStatus struct {
	Image, ImageID string
	Ready          bool
	State          struct {
		Waiting *struct{ Reason, Message string }
	}
}

func (c Cluster) list(ctx context.Context, args string) ([]object, error) {
	out, err := c.Kubectl(ctx, "get "+args+" -o json")
	if err != nil {
		return nil, err
	}
	var l struct{ Items []object }
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		return nil, fmt.Errorf("kubectl get %s: %w", args, err)
	}
	return l.Items, nil
}

// Nodes gives the names of the nodes, each with whether it is Ready.
func (c Cluster) Nodes(ctx context.Context) (map[string]bool, error) {
	nodes, err := c.list(ctx, "nodes")
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, n := range nodes {
		for _, cond := range n.Status.Conditions {
			if cond.Type == "Ready" {
				out[n.Metadata.Name] = cond.Status == "True"
			}
		}
	}
	return out, nil
}

// Releases gives the newest state of every Helm release, by namespace/name.
func (c Cluster) Releases(ctx context.Context) (map[string]string, error) {
	secrets, err := c.list(ctx, "secrets -A -l owner=helm")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range secrets {
		if state := s.Metadata.Labels["status"]; state != "superseded" {
			out[s.Metadata.Namespace+"/"+s.Metadata.Labels["name"]] = state
		}
	}
	return out, nil
}

// Container is one container that runs or should.
type Container struct {
	Pod, Node, Image, Digest string
	Ready                    bool
	Why                      string
}

var digestOf = regexp.MustCompile(`sha256:[0-9a-f]{64}$`)

// Containers gives all of the cluster's, but for those that are being deleted.
func (c Cluster) Containers(ctx context.Context) ([]Container, error) {
	pods, err := c.list(ctx, "pods -A")
	if err != nil {
		return nil, err
	}
	var out []Container
	for _, p := range pods {
		if p.Metadata.DeletionTimestamp != "" {
			continue // the bundle's last commands scale down
		}
		name := p.Metadata.Namespace + "/" + p.Metadata.Name
		if len(p.Status.ContainerStatuses) == 0 {
			why := p.Status.Phase
			for _, cond := range p.Status.Conditions {
				why += " " + cond.Message
			}
			out = append(out, Container{Pod: name, Node: p.Spec.NodeName, Why: strings.TrimSpace(why)})
		}
		for i, list := range [][]containerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
			for _, s := range list {
				ct := Container{Pod: name, Node: p.Spec.NodeName, Image: s.Image, Digest: digestOf.FindString(s.ImageID), Ready: s.Ready || i == 1}
				if s.State.Waiting != nil {
					ct.Why = s.State.Waiting.Reason + " " + s.State.Waiting.Message
				}
				out = append(out, ct)
			}
		}
	}
	return out, nil
}
