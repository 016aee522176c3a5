package cluster

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// maxHosts is how many hosts a cluster may have; Kubernetes itself is made
// for 5000.
const maxHosts = 5000

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// endpoint is an address with the port that it came with, or 0.
type endpoint struct {
	addr netip.Addr
	port int
}

// endpoints reads addresses as Clusterfiles and the short form write them:
// ADDRESS, ADDRESS:PORT, FIRST-LAST and several of these separated by commas.
func (p *parser) endpoints(it item) []endpoint {
	var list []endpoint
	for s := range strings.SplitSeq(it.text, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if first, last, ok := strings.Cut(s, "-"); ok {
			list = append(list, p.ipRange(it.at, strings.TrimSpace(first), strings.TrimSpace(last))...)
			continue
		}
		e, ok := parseEndpoint(s)
		if !ok {
			p.bad(it.at, "", "%.60q is no IP address", s)
			continue
		}
		if p.usable(it.at, e.addr) {
			list = append(list, e)
		}
	}
	return list
}

func parseEndpoint(s string) (endpoint, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return endpoint{addr: a.Unmap()}, a.Zone() == ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return endpoint{}, false
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return endpoint{}, false
	}
	n, ok := portOf(port)
	return endpoint{a.Unmap(), n}, ok
}

// ipRange gives all addresses from first to last.
func (p *parser) ipRange(at manifest.Source, first, last string) []endpoint {
	a, b, ok := rangeOf(first, last)
	if !ok {
		p.bad(at, "write it like 10.0.0.1-10.0.0.5", "%.40q to %.40q is no range of addresses", first, last)
		return nil
	}
	var list []endpoint
	for ; a.IsValid() && a.Compare(b) <= 0; a = a.Next() {
		if len(list) == maxHosts {
			p.bad(at, "", "the range %s-%s has more than %d addresses", first, last, maxHosts)
			return nil
		}
		if !p.usable(at, a) {
			return nil
		}
		list = append(list, endpoint{addr: a})
	}
	return list
}

// rangeOf reads the ends of a range.
func rangeOf(first, last string) (a, b netip.Addr, ok bool) {
	a, errA := netip.ParseAddr(first)
	b, errB := netip.ParseAddr(last)
	a, b = a.Unmap(), b.Unmap()
	return a, b, errA == nil && errB == nil && a.Zone() == "" && b.Zone() == "" && a.Is4() == b.Is4() && a.Compare(b) <= 0
}

// usable refuses addresses that no host can have.
func (p *parser) usable(at manifest.Source, a netip.Addr) bool {
	if a.IsUnspecified() || a.IsMulticast() {
		p.bad(at, "", "%s cannot be the address of a host", a)
		return false
	}
	if a.IsLoopback() {
		p.warn(at, "%s is a loopback address; other hosts and pods cannot reach it", a)
	}
	return true
}

// ipList reads masters and nodes of the old shape.
func (p *parser) ipList(r reader, n *yaml.Node, what, role string) {
	r.fields(n, what, map[string]func(*yaml.Node){
		"ipList": func(n *yaml.Node) {
			for _, it := range r.items(n, what+".ipList") {
				for _, e := range p.endpoints(it) {
					p.add(Host{Address: e.addr.String(), Roles: []string{role}, SSH: SSH{Port: e.port}, Source: it.at})
				}
			}
		},
		// How machines of a cloud should be; nothing to us.
		"count": nil, "cpu": nil, "memory": nil, "systemDisk": nil, "dataDisks": nil,
	})
}

// host reads an entry of hosts of the new shape.
func (p *parser) host(r reader, n *yaml.Node, at manifest.Source) {
	h := Host{Source: at}
	var ips []item
	r.fields(n, "an entry of spec.hosts", map[string]func(*yaml.Node){
		"ips":    func(n *yaml.Node) { ips = r.items(n, "ips") },
		"roles":  func(n *yaml.Node) { h.Roles = p.roles(r.items(n, "roles")) },
		"env":    func(n *yaml.Node) { p.envs(r, &h.Env, n, "env") },
		"ssh":    func(n *yaml.Node) { h.SSH = p.readSSH(r, n, "ssh") },
		"labels": func(n *yaml.Node) { h.Labels = p.labels(r, n) },
		"taints": func(n *yaml.Node) { h.Taints = p.taints(r.items(n, "taints")) },
	})
	if len(ips) == 0 {
		r.bad(at, "", "the entry of spec.hosts has no ips")
	}
	if len(h.Roles) == 0 {
		r.bad(at, "say roles: [master] or [node]", "the entry of spec.hosts has no roles")
	}
	for _, it := range ips {
		for _, e := range p.endpoints(it) {
			one := h
			one.Address, one.Source = e.addr.String(), it.at
			if e.port != 0 {
				one.SSH.Port = e.port
			}
			p.add(one)
		}
	}
}

func (p *parser) roles(list []item) []string {
	var roles []string
	for _, it := range list {
		for s := range strings.SplitSeq(it.text, ",") {
			if s = strings.TrimSpace(s); s == "" || slices.Contains(roles, s) {
				continue
			}
			if !labelKey.MatchString(s) || strings.Contains(s, "/") {
				p.bad(it.at, "", "%.60q cannot be a role", s)
				continue
			}
			roles = append(roles, s)
		}
	}
	return roles
}

func (p *parser) labels(r reader, n *yaml.Node) map[string]string {
	labels := map[string]string{}
	for _, f := range r.pairs(n, "labels") {
		v := r.word(f.value, "the label "+f.name)
		if !labelKey.MatchString(f.name) || !labelValue.MatchString(v) {
			r.bad(r.at(f.key), "", "%.80q cannot be a label", f.name+"="+v)
			continue
		}
		labels[f.name] = v
	}
	return labels
}

func (p *parser) taints(list []item) []string {
	var taints []string
	for _, it := range list {
		s := strings.TrimSpace(it.text)
		if !validTaint(s) {
			p.bad(it.at, "write key=value:NoSchedule, with a - behind it to remove it", "%.80q cannot be a taint", s)
			continue
		}
		taints = append(taints, s)
	}
	return taints
}

func validTaint(s string) bool {
	s, remove := strings.CutSuffix(s, "-")
	key, effect, ok := strings.Cut(s, ":")
	key, value, _ := strings.Cut(key, "=")
	if !labelKey.MatchString(key) || !labelValue.MatchString(value) {
		return false
	}
	switch effect {
	case "NoSchedule", "PreferNoSchedule", "NoExecute":
		return true
	}
	return !ok && remove && value == ""
}

func (p *parser) cliHosts(role, flag string, list []string) {
	for _, s := range list {
		for _, e := range p.endpoints(item{s, commandLine(flag)}) {
			p.add(Host{Address: e.addr.String(), Roles: []string{role}, SSH: SSH{Port: e.port}, Source: commandLine(flag)})
		}
	}
}

// add takes a host unless there is one of that address.
func (p *parser) add(h Host) {
	switch i, ok := p.index[h.Address]; {
	case ok:
		p.bad(h.Source, "", "the host %s is there already, from %s", h.Address, p.hosts[i].Source)
	case len(p.hosts) == maxHosts:
		if !p.full {
			p.bad(h.Source, "", "the cluster has more than %d hosts", maxHosts)
		}
		p.full = true
	default:
		p.index[h.Address] = len(p.hosts)
		p.hosts = append(p.hosts, h)
	}
}

// settle puts masters first and fills in how to reach each host.
func (p *parser) settle(at manifest.Source) {
	c := p.c
	slices.SortStableFunc(p.hosts, func(a, b Host) int {
		switch {
		case a.Master() == b.Master():
			return 0
		case a.Master():
			return -1
		}
		return 1
	})
	for _, h := range p.hosts {
		h.SSH = fillSSH(h.SSH, p.ssh, SSH{User: DefaultUser, Port: DefaultSSHPort})
		c.Hosts = append(c.Hosts, h)
	}
	switch {
	case len(p.problems) > 0:
	case len(c.Hosts) == 0 && p.o.AllowNoHosts:
	case len(c.Hosts) == 0:
		p.bad(at, "add them to the Clusterfile or say -m ADDRESS", "the cluster has no hosts")
	case !c.Hosts[0].Master():
		p.bad(c.Hosts[0].Source, "", "the cluster has no master")
	default:
		six := strings.Contains(c.Hosts[0].Address, ":")
		for _, h := range c.Hosts {
			if strings.Contains(h.Address, ":") != six {
				p.bad(h.Source, "", "the host %s is of another IP family than %s", h.Address, c.Hosts[0].Address)
				break
			}
		}
	}
}
