package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"bundle/manifest/cluster"
	"bundle/manifest/step"
)

// WaitAPI waits until the API server says that it is ready.
func (c *Cluster) WaitAPI(ctx context.Context) error {
	s, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	last, begin := "no answer", time.Now()
	err = c.poll(ctx, c.o.Poll, func() (bool, error) {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		body, err := s.kube.Discovery().RESTClient().Get().AbsPath("/readyz").MaxRetries(0).DoRaw(try)
		if err == nil {
			return true, nil
		}
		last = readyReason(body, err)
		return false, nil
	})
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, why := c.out.state(); why != "" {
		last = why
	}
	return fail(ErrTimeout, "the API server "+c.server, "the API server %s is not ready after %s: %s", c.server, span(time.Since(begin)), last).
		because(err).advise("look at the API server on the first master: crictl ps -a, journalctl -u kubelet")
}

// readyReason finds the checks that failed in what /readyz says.
func readyReason(body []byte, err error) string {
	var failed []string
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "[-]"); ok {
			name, _, _ := strings.Cut(rest, " ")
			failed = append(failed, name)
		}
	}
	if failed != nil {
		return "these checks fail: " + clip(strings.Join(failed, ", "), 300)
	}
	return oneLine(reachReason(err))
}

// WaitNodes waits until every address is that of a node, and with ready until
// these nodes are Ready. The caller bounds it by ctx.
func (c *Cluster) WaitNodes(ctx context.Context, want []string, ready bool) error {
	s, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	begin, told := time.Now(), time.Now()
	var lacking string
	var object string
	err = c.poll(ctx, c.o.Poll, func() (bool, error) {
		list, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		object, lacking = missingNode(list.Items, want, ready)
		if lacking != "" && time.Since(told) > 15*time.Second {
			told = time.Now()
			c.note("waiting for nodes: %s", lacking)
		}
		return lacking == "", nil
	})
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && lacking != "" {
		if away, _ := c.out.state(); away < notice {
			return fail(ErrTimeout, object, "%s after %s", lacking, span(time.Since(begin))).because(err).
				advise("look at the kubelet of that host: journalctl -u kubelet")
		}
	}
	return c.explain(ctx, fmt.Sprintf("wait for %d nodes", len(want)), time.Since(begin), err)
}

// missingNode names the first node that is not as it is wanted.
func missingNode(nodes []corev1.Node, want []string, ready bool) (object, lacking string) {
	for _, address := range want {
		n := byAddress(nodes, address)
		if n == nil {
			return "node " + address, fmt.Sprintf("no node has the address %s (there are %s)", address, addresses(nodes))
		}
		if ok, why := nodeReady(n); ready && !ok {
			return "node " + n.Name, fmt.Sprintf("node %s (%s) is not ready: %s", n.Name, address, why)
		}
	}
	return "", ""
}

// nodeReady tells whether a node is Ready, or why it is not.
func nodeReady(n *corev1.Node) (bool, string) {
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		switch c.Status {
		case corev1.ConditionTrue:
			return true, ""
		case corev1.ConditionUnknown:
			return false, "its kubelet has not reported since " + c.LastHeartbeatTime.UTC().Format("15:04:05") + " UTC"
		}
		return false, oneLine(cleanMessage(c.Message))
	}
	return false, "its kubelet has not reported yet"
}

// LabelNodes gives the nodes of hosts the roles, labels and taints that the
// hosts ask for: a role is the label node-role.kubernetes.io/ROLE. What the
// Clusterfile says replaces what is there.
func (c *Cluster) LabelNodes(ctx context.Context, hosts []cluster.Host) (Outcome, error) {
	limit := DefaultTimeout("")
	run, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := c.session(run)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	n, err := s.labelNodes(run, hosts)
	if err != nil {
		return Outcome{}, c.explain(ctx, "label the nodes", limit, err)
	}
	return outcome(n > 0, fmt.Sprintf("changed %d of %d nodes", n, len(hosts)), fmt.Sprintf("%d nodes have their roles, labels and taints", len(hosts))), nil
}

func (s *session) labelNodes(ctx context.Context, hosts []cluster.Host) (int, error) {
	list, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	m, err := s.resolve("node")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, h := range hosts {
		node := byAddress(list.Items, h.Address)
		if node == nil {
			return n, fail(ErrInput, "node "+h.Address, "no node has the address %s (there are %s)", h.Address, addresses(list.Items))
		}
		taints, err := parseTaints(h)
		if err != nil {
			return n, err
		}
		c := chosen{res: s.objects(m, ""), kind: "Node", names: []string{node.Name}}
		changed, err := s.edit(ctx, c, "label", func(o *unstructured.Unstructured) ([]byte, error) { return nodePatch(o, h, taints) })
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

// nodePatch is the one patch that gives a node what its host asks for.
func nodePatch(o *unstructured.Unstructured, h cluster.Host, taints []step.Taint) ([]byte, error) {
	set := maps.Clone(h.Labels)
	if set == nil {
		set = map[string]string{}
	}
	for _, role := range h.Roles {
		set["node-role.kubernetes.io/"+role] = ""
	}
	labels, err := metaChange(o.GetLabels(), step.Meta{Set: set, Overwrite: true}, "label", "node "+o.GetName())
	if err != nil {
		return nil, err
	}
	have, err := taintsOf(o)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, t := range taints {
		now, c, err := taintChange(have, t, "node "+o.GetName())
		if err != nil {
			return nil, err
		}
		have, changed = now, changed || c
	}
	switch {
	case len(labels) == 0 && !changed:
		return nil, nil
	case !changed:
		return mergeOf(o, map[string]any{"labels": labels}, nil)
	}
	return mergeOf(o, map[string]any{"labels": labels}, map[string]any{"taints": have})
}

func parseTaints(h cluster.Host) ([]step.Taint, error) {
	var out []step.Taint
	for _, text := range h.Taints {
		t, ok := step.ParseTaint(text)
		if !ok {
			return nil, fail(ErrInput, "host "+h.Address, "the taint %q of host %s is none (key=value:Effect, or with a - behind it)", text, h.Address)
		}
		t.Overwrite = true
		out = append(out, t)
	}
	return slices.Clip(out), nil
}
