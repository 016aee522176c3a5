package cluster

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// cluster reads the Cluster document, of either shape.
func (p *parser) cluster(r reader) {
	p.clusterLine = r.root.Line
	r.object(&p.c.Name, func(n *yaml.Node) { p.spec(r, n) })
}

func (p *parser) spec(r reader, n *yaml.Node) {
	c := p.c
	what := "spec of the Cluster"
	has := func(name string) bool { return child(n, name) != nil }
	if has("hosts") && (has("masters") || has("nodes")) {
		r.bad(r.at(child(n, "hosts")), "use hosts alone", "the Cluster has both hosts and masters or nodes")
	}
	p.old = !has("hosts") && (has("masters") || has("nodes") || has("network") || has("provider"))
	r.fields(n, what, map[string]func(*yaml.Node){
		"image": r.into(&c.Image, "spec.image"),
		"env":   func(n *yaml.Node) { p.envs(r, &c.Env, n, "spec.env") },
		"ssh":   func(n *yaml.Node) { p.ssh = p.readSSH(r, n, "spec.ssh") },
		"cmd": func(n *yaml.Node) {
			r.texts(&c.Cmd, "spec.cmd")(n)
			c.CmdSources = r.sources(n)
		},
		"cmd_args": r.texts(&c.CmdArgs, "spec.cmd_args"),
		"appNames": func(n *yaml.Node) {
			r.texts(&c.Apps, "spec.appNames")(n)
			c.AppsSource = r.at(n)
		},
		"dataRoot": func(n *yaml.Node) {
			if c.DataRoot = strings.TrimRight(r.word(n, "spec.dataRoot"), "/"); c.DataRoot != "" && !folderPath.MatchString(c.DataRoot) {
				r.bad(r.at(n), "", "spec.dataRoot must be an absolute path of letters, digits and . _ -, not %.80q", c.DataRoot)
			}
		},
		"containerRuntime": func(n *yaml.Node) {
			r.fields(n, "spec.containerRuntime", map[string]func(*yaml.Node){"type": func(n *yaml.Node) {
				if c.Runtime = r.word(n, "spec.containerRuntime.type"); c.Runtime != "" && c.Runtime != "docker" && c.Runtime != "containerd" {
					r.bad(r.at(n), "", "spec.containerRuntime.type is %.40q; it must be docker or containerd", c.Runtime)
				}
			}})
		},
		"registry":    func(n *yaml.Node) { p.registry(r, n) },
		"hostAliases": func(n *yaml.Node) { p.aliases(r, n) },
		"hosts": func(n *yaml.Node) {
			r.elements(n, "spec.hosts", func(n *yaml.Node, at manifest.Source) { p.host(r, n, at) })
		},
		"masters":  func(n *yaml.Node) { p.ipList(r, n, "spec.masters", RoleMaster) },
		"nodes":    func(n *yaml.Node) { p.ipList(r, n, "spec.nodes", RoleNode) },
		"certSANS": func(n *yaml.Node) { p.certSANs(r.items(n, "spec.certSANS")) },
		"network": func(n *yaml.Node) {
			r.fields(n, "spec.network", map[string]func(*yaml.Node){
				"podCIDR": func(n *yaml.Node) { c.PodCIDR = p.cidrs(item{r.word(n, "podCIDR"), r.at(n)}, "podCIDR") },
				"svcCIDR": func(n *yaml.Node) { c.ServiceCIDR = p.cidrs(item{r.word(n, "svcCIDR"), r.at(n)}, "svcCIDR") },
			})
		},
		"provider": func(n *yaml.Node) {
			if s := r.word(n, "spec.provider"); s != "" && s != "BAREMETAL" {
				r.bad(r.at(n), "name hosts that are there, with provider BAREMETAL", "spec.provider is %.40q; machines are not made here", s)
			}
		},
	})
}

func (p *parser) readSSH(r reader, n *yaml.Node, what string) SSH {
	var s SSH
	r.fields(n, what, map[string]func(*yaml.Node){
		"user":     r.into(&s.User, what+".user"),
		"passwd":   r.secret(&s.Password, what+".passwd"),
		"pk":       r.into(&s.KeyFile, what+".pk"),
		"pkPasswd": r.secret(&s.KeyPassword, what+".pkPasswd"),
		"port":     r.port(&s.Port, what+".port"),
	})
	if strings.ContainsAny(s.User, " \t\n:@/\\") {
		r.bad(r.at(n), "", "%s.user is %.40q, which is no user's name", what, s.User)
	}
	return s
}

// fillSSH gives the fields of the first that are set, then of the next.
func fillSSH(list ...SSH) SSH {
	var s SSH
	for _, l := range list {
		s.User = cmp.Or(s.User, l.User)
		s.Port = cmp.Or(s.Port, l.Port)
		s.Password = cmp.Or(s.Password, l.Password)
		s.KeyFile = cmp.Or(s.KeyFile, l.KeyFile)
		s.KeyPassword = cmp.Or(s.KeyPassword, l.KeyPassword)
	}
	return s
}

func (p *parser) envs(r reader, dst *[]manifest.EnvVar, n *yaml.Node, what string) {
	for _, it := range r.items(n, what) {
		p.env(dst, it)
	}
}

// env reads one NAME=VALUE.
func (p *parser) env(dst *[]manifest.EnvVar, it item) {
	name, value, ok := strings.Cut(it.text, "=")
	name = strings.TrimSpace(name)
	switch {
	case !ok:
		p.bad(it.at, "write NAME=VALUE", "the variable %.60q has no value", it.text)
	case !varName.MatchString(name):
		p.bad(it.at, "a name has letters, digits and _, and no digit first", "%.60q cannot be the name of a variable", name)
	case strings.ContainsRune(value, 0):
		p.bad(it.at, "", "the value of the variable %s holds a NUL", name)
	default:
		*dst = append(*dst, manifest.EnvVar{Name: name, Value: value, Source: it.at})
	}
}

func (p *parser) registry(r reader, n *yaml.Node) {
	reg := &p.c.Registry
	domain := func(n *yaml.Node, what string) string {
		s := r.word(n, what)
		if _, err := netip.ParseAddr(s); s != "" && err != nil && (!dnsName.MatchString(s) || strings.HasPrefix(s, "*")) {
			r.bad(r.at(n), "a port has its own field", "%s is %.60q, which is no host name", what, s)
		}
		return s
	}
	r.fields(n, "spec.registry", map[string]func(*yaml.Node){
		"localRegistry": func(n *yaml.Node) {
			r.fields(n, "localRegistry", map[string]func(*yaml.Node){
				"domain":   func(n *yaml.Node) { reg.Domain = cmp.Or(domain(n, "localRegistry.domain"), reg.Domain) },
				"port":     r.port(&reg.Port, "localRegistry.port"),
				"ha":       r.boolean(&reg.HA, "localRegistry.ha"),
				"insecure": r.boolean(&reg.Insecure, "localRegistry.insecure"),
				"username": r.into(&reg.Username, "localRegistry.username"),
				"password": r.secret(&reg.Password, "localRegistry.password"),
				"cert": func(n *yaml.Node) {
					r.fields(n, "cert", map[string]func(*yaml.Node){"subjectAltName": func(n *yaml.Node) {
						add := func(n *yaml.Node) {
							for _, it := range r.items(n, "subjectAltName") {
								p.certName(&reg.CertNames, it)
							}
						}
						r.fields(n, "subjectAltName", map[string]func(*yaml.Node){"dnsNames": add, "ips": add})
					}})
				},
			})
		},
		"externalRegistry": func(n *yaml.Node) {
			port := 0
			r.fields(n, "externalRegistry", map[string]func(*yaml.Node){
				"domain":   func(n *yaml.Node) { reg.External = domain(n, "externalRegistry.domain") },
				"port":     r.port(&port, "externalRegistry.port"),
				"username": r.into(&reg.ExternalUsername, "externalRegistry.username"),
				"password": r.secret(&reg.ExternalPassword, "externalRegistry.password"),
			})
			switch {
			case reg.External == "":
				r.bad(r.at(n), "", "externalRegistry needs a domain")
			case port != 0:
				reg.External = hostPort(reg.External, port)
			}
		},
	})
}

func (p *parser) aliases(r reader, n *yaml.Node) {
	r.elements(n, "spec.hostAliases", func(n *yaml.Node, at manifest.Source) {
		var a Alias
		r.fields(n, "an entry of spec.hostAliases", map[string]func(*yaml.Node){
			"ip":        r.into(&a.IP, "ip"),
			"hostnames": r.texts(&a.Names, "hostnames"),
		})
		ip, err := netip.ParseAddr(a.IP)
		switch {
		case err != nil || ip.Zone() != "":
			r.bad(at, "", "spec.hostAliases has %.60q for an address", a.IP)
		case len(a.Names) == 0:
			r.bad(at, "", "spec.hostAliases has no names for %s", a.IP)
		}
		for i, name := range a.Names {
			if a.Names[i] = strings.TrimSpace(name); !dnsName.MatchString(a.Names[i]) || strings.HasPrefix(a.Names[i], "*") {
				r.bad(at, "", "spec.hostAliases has %.60q for a host name", name)
			}
		}
		p.c.Aliases = append(p.c.Aliases, a)
	})
}

func (p *parser) certSANs(list []item) {
	for _, it := range list {
		p.certName(&p.c.CertSANs, it)
	}
}

// certName reads a name or address of a certificate.
func (p *parser) certName(dst *[]string, it item) {
	s := strings.TrimSpace(it.text)
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		s = ip.Unmap().String()
	} else if !dnsName.MatchString(s) {
		p.bad(it.at, "", "%.60q is neither a host name nor an address, as a certificate needs", s)
		return
	}
	if !slices.Contains(*dst, s) {
		*dst = append(*dst, s)
	}
}

// cidrs reads networks separated by commas, at most one for each IP family.
func (p *parser) cidrs(it item, what string) string {
	var out []string
	var four, six int
	for s := range strings.SplitSeq(it.text, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		n, err := netip.ParsePrefix(s)
		if err != nil || n.Addr().Is4In6() {
			p.bad(it.at, "write it like 10.96.0.0/16", "%s is %.60q, which is no network", what, s)
			return ""
		}
		if n.Addr().Is4() {
			four++
		} else {
			six++
		}
		out = append(out, n.Masked().String())
	}
	if four > 1 || six > 1 {
		p.bad(it.at, "", "%s has more than one network of an IP family", what)
	}
	return strings.Join(out, ",")
}

// defaults fills in what the Clusterfile leaves out or says in another place.
func (p *parser) defaults(at manifest.Source) {
	c := p.c
	c.Name = cmp.Or(c.Name, DefaultName)
	if !fileName.MatchString(c.Name) || strings.Contains(c.Name, "..") {
		p.bad(at, "", "the Cluster's name is %.60q; it becomes a folder's name and must have letters, digits and . _ - only", c.Name)
	}
	c.DataRoot = cmp.Or(c.DataRoot, DefaultDataRoot)
	for _, e := range c.Env {
		it := item{e.Value, e.Source}
		switch e.Name {
		case "PodCIDR":
			c.PodCIDR = p.cidrs(it, e.Name)
		case "SvcCIDR":
			c.ServiceCIDR = p.cidrs(it, e.Name)
		case "CertSANs":
			for s := range strings.SplitSeq(e.Value, ",") {
				if strings.TrimSpace(s) != "" {
					p.certName(&c.CertSANs, item{s, e.Source})
				}
			}
		}
	}
	p.derivedWarnings()
}
