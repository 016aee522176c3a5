package kube

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"

	"bundle/manifest/step"
)

// chosen are the objects that a step is for.
type chosen struct {
	res   dynamic.ResourceInterface
	kind  string
	ns    string
	names []string
}

func (c chosen) what(name string) string { return object(c.kind, c.ns, name) }

// choose finds the objects that a step is for, by name. Absent ones and empty
// choices are errors: a step that is for nothing is a mistake.
func (s *session) choose(ctx context.Context, t step.Target, resource, namespace string) (chosen, error) {
	if t.Target == step.TargetMaster0 {
		resource = "node"
	}
	m, err := s.resolve(resource)
	if meta.IsNoMatchError(err) {
		return chosen{}, fail(ErrInput, resource, "the cluster knows no resource %s", resource).because(err)
	}
	if err != nil {
		return chosen{}, err
	}
	c := chosen{res: s.objects(m, namespace), kind: m.GroupVersionKind.Kind, ns: scoped(m, namespace)}
	switch t.Target {
	case step.TargetNames:
		c.names = t.Names
		return c, nil
	case step.TargetMaster0:
		name, err := s.master0(ctx)
		c.names = []string{name}
		return c, err
	case step.TargetAll, step.TargetSelector:
		if _, err := labels.Parse(t.Selector); err != nil {
			return chosen{}, fail(ErrInput, t.Selector, "the selector %q cannot be read: %s", t.Selector, oneLine(err.Error())).because(err)
		}
		list, err := c.res.List(ctx, metav1.ListOptions{LabelSelector: t.Selector})
		if err != nil {
			return chosen{}, err
		}
		for _, o := range list.Items {
			c.names = append(c.names, o.GetName())
		}
		if len(c.names) == 0 && t.Target == step.TargetSelector {
			return chosen{}, fail(ErrInput, resource, "no %s has %s", strings.ToLower(c.kind), t.Selector)
		}
		if len(c.names) == 0 {
			return chosen{}, fail(ErrInput, resource, "there is no %s", strings.ToLower(c.kind))
		}
		return c, nil
	}
	return chosen{}, fail(ErrInput, resource, "the step is for the unknown target %q", t.Target)
}

// master0 gives the name of the first master's node.
func (s *session) master0(ctx context.Context) (string, error) {
	list, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	if n := byAddress(list.Items, s.o.Master0); n != nil {
		return n.Name, nil
	}
	return "", fail(ErrInput, "node "+s.o.Master0, "no node has the address %s of the first master (there are %s)", s.o.Master0, addresses(list.Items)).
		advise("kubectl get nodes -o wide shows which address each node registered with")
}

// byAddress finds the node with an internal address, or else with a host name.
func byAddress(nodes []corev1.Node, address string) *corev1.Node {
	if address == "" {
		return nil
	}
	for i, n := range nodes {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP && sameIP(a.Address, address) {
				return &nodes[i]
			}
		}
	}
	for i, n := range nodes {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeHostName && strings.EqualFold(a.Address, address) {
				return &nodes[i]
			}
		}
		if strings.EqualFold(n.Name, address) {
			return &nodes[i]
		}
	}
	return nil
}

// addresses lists nodes for a message.
func addresses(nodes []corev1.Node) string {
	if len(nodes) == 0 {
		return "none"
	}
	var s []string
	for _, n := range nodes {
		s = append(s, n.Name+" at "+internalIP(n))
	}
	return clip(strings.Join(s, ", "), 300)
}

func internalIP(n corev1.Node) string {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	return "no address"
}

// edit changes the objects of a choice, one after the other, each in one
// request that fails where the object changed meanwhile. change gives the
// merge patch, or nil where nothing is to do.
func (s *session) edit(ctx context.Context, c chosen, verb string, change func(o *unstructured.Unstructured) (patch []byte, err error)) (int, error) {
	n := 0
	for _, name := range c.names {
		err := s.poll(ctx, s.o.Poll, func() (bool, error) {
			live, err := c.res.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return false, fail(ErrInput, c.what(name), "there is no %s", c.what(name)).because(err)
			}
			if err != nil {
				return false, err
			}
			patch, err := change(live)
			if err != nil || patch == nil {
				return true, err
			}
			_, err = c.res.Patch(ctx, name, mergePatch, patch, metav1.PatchOptions{FieldManager: fieldManager})
			if apierrors.IsConflict(err) {
				return false, nil // somebody was faster; look again
			}
			if err == nil {
				n++
			}
			return true, err
		})
		if err != nil {
			return n, cannot(verb, c.what(name), "", err)
		}
	}
	return n, nil
}
