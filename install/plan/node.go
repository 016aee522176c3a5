package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// NodeChange is what a node.labels step does to one node.
type NodeChange struct {
	// Address of the host; the node is found by it.
	Address string            `json:"address"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Taints are key[=value]:Effect, with a trailing "-" those that go.
	Taints []string `json:"taints,omitempty"`
}

// NodeChanges gives the arguments of a node.labels step.
func NodeChanges(s manifest.Step) ([]NodeChange, error) {
	var a struct{ Nodes []NodeChange }
	if err := decodeArgs(s, KindNodeLabels, &a); err != nil {
		return nil, err
	}
	return a.Nodes, nil
}

// HostNames gives the arguments of a host.name step: names by address.
func HostNames(s manifest.Step) (map[string]string, error) {
	var a struct{ Names map[string]string }
	if err := decodeArgs(s, KindHostName, &a); err != nil {
		return nil, err
	}
	return a.Names, nil
}

func decodeArgs(s manifest.Step, kind string, into any) error {
	if s.Kind != kind {
		return fmt.Errorf("step %s is a %s, not a %s", s.ID, s.Kind, kind)
	}
	data, err := json.Marshal(s.Args)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("step %s (%s) has bad arguments: %w", s.ID, s.Kind, err)
	}
	return nil
}

// args gives the JSON form of a value.
func args(v any) map[string]any {
	data, err := json.Marshal(v)
	if err != nil {
		return nil // what is given holds nothing that JSON has no form for
	}
	var m map[string]any
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	return m
}

// hostNames makes the step of a plugin of type HOSTNAME.
func (b *builder) hostNames(p cluster.Plugin, s Step) (Step, bool, error) {
	rows, warnings, err := b.in.Cluster.Table(p)
	b.pass(warnings)
	if err != nil || len(rows) == 0 {
		return s, false, err
	}
	names, owner := map[string]string{}, map[string]string{}
	for _, r := range rows {
		if other := owner[r.Name]; other != "" && other != r.Host.Address {
			return s, false, &inputError{
				text: fmt.Sprintf("%s: %s and %s would both be called %s", r.Source, other, r.Host.Address, r.Name),
				hint: "give each host a name of its own",
			}
		}
		owner[r.Name] = r.Host.Address
		if names[r.Host.Address] == "" {
			s.Hosts = append(s.Hosts, r.Host.Address)
		}
		names[r.Host.Address] = r.Name
	}
	s.Kind, s.Idempotent = KindHostName, true
	s.Args = args(map[string]any{"names": names})
	s.Summary = fmt.Sprintf("Set the host names that the plugin %s gives", p.Name)
	return s, true, nil
}

// nodeTable makes the step of a plugin of type LABEL or TAINT.
func (b *builder) nodeTable(p cluster.Plugin, s Step) (Step, bool, error) {
	rows, warnings, err := b.in.Cluster.Table(p)
	b.pass(warnings)
	if err != nil {
		return s, false, err
	}
	changes := map[string]*NodeChange{}
	for _, r := range rows {
		c := changes[r.Host.Address]
		if c == nil {
			c = &NodeChange{Address: r.Host.Address}
			changes[r.Host.Address] = c
		}
		for k, v := range r.Labels {
			c.label(k, v)
		}
		c.Taints = append(c.Taints, r.Taints...)
	}
	return b.nodeStep(s, changes, fmt.Sprintf("as the plugin %s says", p.Name))
}

func (c *NodeChange) label(k, v string) {
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	c.Labels[k] = v
}

// nodeLabels makes the step for the roles, labels and taints of the hosts.
func (b *builder) nodeLabels() error {
	changes := map[string]*NodeChange{}
	for _, h := range b.in.Cluster.Hosts {
		c := &NodeChange{Address: h.Address, Taints: h.Taints}
		for _, r := range h.Roles {
			c.label("node-role.kubernetes.io/"+r, "")
		}
		for _, k := range slices.Sorted(maps.Keys(h.Labels)) {
			c.label(k, h.Labels[k])
		}
		changes[h.Address] = c
	}
	s, ok, err := b.nodeStep(Step{Step: manifest.Step{ID: "nodes.labels", Phase: PhaseNodes}}, changes, "as the Clusterfile says")
	if err == nil && ok {
		b.add(s)
	}
	return err
}

func (b *builder) nodeStep(s Step, changes map[string]*NodeChange, as string) (Step, bool, error) {
	var list []NodeChange
	for _, h := range b.in.Cluster.Hosts { // in order
		if c := changes[h.Address]; c != nil {
			list = append(list, *c)
		}
	}
	if len(list) == 0 {
		return s, false, nil
	}
	s.Kind, s.Idempotent, s.Hosts = KindNodeLabels, true, []string{b.master0()}
	s.Args = args(map[string]any{"nodes": list})
	s.Summary = fmt.Sprintf("Set roles, labels and taints of %s, %s", count(len(list), "node"), as)
	return s, true, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
