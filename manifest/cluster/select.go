package cluster

import (
	"net/netip"
	"slices"
	"strings"

	"bundle/manifest"
)

// once are the phases of sealer 0.9 that run on the first master, whatever
// the scope says.
var once = map[Phase]bool{
	PhasePreInstall: true, PhasePostInstall: true, PhasePreUninstall: true, PhasePostUninstall: true,
	PhasePreScaleUp: true, PhasePostScaleUp: true, PhaseUpgrade: true, PhaseRollback: true,
}

// Select gives the hosts that a plugin runs on, in the order in which they
// take their turn. For a plugin of several phases set Phases to the one that
// is meant; else the first counts.
//
// Before 0.9 a plugin without selector runs on all hosts, masters first. Since
// 0.9 it runs on none, except in the phases that belong to the cluster, which
// run on the first master. A selector is a list, separated by commas or |, of
//
//	10.0.0.1              a host
//	10.0.0.1-10.0.0.9     the hosts of a range
//	master0               the first master
//	master, node, other   the hosts of a role
//	key=value             the hosts with a label of the Clusterfile
//
// An address that is no host's is an error, as it is most likely a typing
// mistake; a range, role or label that no host has is a warning. Plugins of
// the types LABEL, TAINT, ETCD and CLUSTERCHECK work on the cluster and so run
// on the first master; HOSTNAME runs on the hosts of its table.
func (c *Cluster) Select(p Plugin) ([]Host, []Warning, error) {
	r := &report{}
	hosts := c.sel(r, p)
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return hosts, r.warnings, nil
}

func (c *Cluster) sel(r *report, p Plugin) []Host {
	if len(c.Hosts) == 0 {
		return nil
	}
	master0 := c.Hosts[:1:1]
	switch p.Type {
	case TypeHostname:
		var hosts []Host
		for _, row := range c.table(r, p) {
			hosts = append(hosts, row.Host)
		}
		return hosts
	case TypeLabel, TypeTaint, TypeETCD, TypeClusterCheck:
		return master0
	}
	var phase Phase
	if len(p.Phases) > 0 {
		phase = p.Phases[0]
	}
	if p.Hook && once[phase] {
		return master0
	}
	words := selectors(p.On)
	if len(words) == 0 {
		if !p.Hook {
			return slices.Clone(c.Hosts)
		}
		r.warn(p.Source, "the Plugin %s has no scope, and so runs on no host", quoted(p.Name))
		return nil
	}
	var hosts []Host
	seen := map[string]bool{}
	for _, w := range words {
		found := c.match(r, p.Source, "the Plugin "+quoted(p.Name), w)
		for _, h := range found {
			if !seen[h.Address] {
				seen[h.Address] = true
				hosts = append(hosts, h)
			}
		}
	}
	return hosts
}

// selectors cuts selectors into words.
func selectors(on []string) []string {
	var words []string
	for _, s := range on {
		for w := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == ',' || c == '|' }) {
			if w = strings.TrimSpace(w); w != "" {
				words = append(words, w)
			}
		}
	}
	return words
}

// match gives the hosts that one word of a selector means.
func (c *Cluster) match(r *report, at manifest.Source, what, w string) []Host {
	where := func(ok func(Host) bool) []Host {
		var list []Host
		for _, h := range c.Hosts {
			if ok(h) {
				list = append(list, h)
			}
		}
		if len(list) == 0 {
			r.warn(at, "%s selects %.60q, which no host is", what, w)
		}
		return list
	}
	if e, ok := parseEndpoint(w); ok {
		for _, h := range c.Hosts {
			if h.Address == e.addr.String() {
				return []Host{h}
			}
		}
		r.bad(at, "", "%s selects %s, which is no host of the cluster", what, e.addr)
		return nil
	}
	if first, last, ok := strings.Cut(w, "-"); ok {
		if a, b, ok := rangeOf(strings.TrimSpace(first), strings.TrimSpace(last)); ok {
			return where(func(h Host) bool {
				x, err := netip.ParseAddr(h.Address)
				return err == nil && x.Is4() == a.Is4() && a.Compare(x) <= 0 && x.Compare(b) <= 0
			})
		}
	}
	if key, value, ok := strings.Cut(w, "="); ok {
		return where(func(h Host) bool { return h.labelled(strings.TrimSpace(key), strings.TrimSpace(value)) })
	}
	switch {
	case w == "master0":
		return c.Hosts[:1:1]
	case w == RoleMaster, w == RoleNode:
		return where(func(h Host) bool { return h.Has(w) })
	case labelKey.MatchString(w) && !strings.ContainsAny(w, "/") && strings.Trim(w, "0123456789.-") != "":
		return where(func(h Host) bool { return h.Has(w) })
	}
	r.bad(at, "", "%s selects %.60q, which is no address, role or label", what, w)
	return nil
}

// rolePrefix is the label that Kubernetes keeps roles in.
const rolePrefix = "node-role.kubernetes.io/"

// labelled tells whether the Clusterfile gives the host a label.
func (h Host) labelled(key, value string) bool {
	if v, ok := h.Labels[key]; ok {
		return v == value
	}
	role, ok := strings.CutPrefix(key, rolePrefix)
	if !ok || value != "" {
		return false
	}
	if role == "control-plane" {
		role = RoleMaster
	}
	return h.Has(role)
}
