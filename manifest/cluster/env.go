package cluster

import (
	"net/netip"
	"strconv"
	"strings"

	"bundle/manifest"
)

// reserved are the variables that follow from the Clusterfile. A variable of
// the user whose name begins with one of them is taken away, as in sealer.
var reserved = []string{
	"LocalRegistryDomain", "LocalRegistryPort", "LocalRegistryURL",
	"ExternalRegistryDomain", "ExternalRegistryPort", "ExternalRegistryURL",
	"RegistryDomain", "RegistryPort", "RegistryURL",
	"ContainerRuntime", "DNSSvcIP", "KubeSvcIP",
}

func isReserved(name string) bool {
	for _, p := range reserved {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// GlobalEnv gives the variables that are the same on every host; templates see
// these. image are those that the bundle sets. In order, the later wins:
//
//  1. the bundle's own;
//  2. spec.env, in order, then those of the command line;
//  3. those that follow from the Clusterfile: LocalRegistryDomain, Port and
//     URL, the same of ExternalRegistry where there is one, and of Registry,
//     which is the external one if there is one; ContainerRuntime if it says
//     one; KubeSvcIP and DNSSvcIP, the first and tenth address of the first
//     service network, if that is known; HostIPFamily=6 if hosts have IPv6
//     addresses.
func (c *Cluster) GlobalEnv(image []manifest.EnvVar) map[string]string {
	env := map[string]string{}
	for _, e := range image {
		if e.App == "" {
			env[e.Name] = e.Value
		}
	}
	put(env, c.Env, "")
	c.derive(env)
	return env
}

// HostEnv is [Cluster.GlobalEnv] for the scripts of one host: the host's own
// variables come behind those of 2, and HostIP is its address.
func (c *Cluster) HostEnv(h Host, image []manifest.EnvVar) map[string]string {
	env := c.GlobalEnv(image)
	put(env, h.Env, "")
	c.derive(env)
	env["HostIP"] = h.Address
	return env
}

// AppEnv is [Cluster.GlobalEnv] for the templates of one application: the
// bundle's variables for it win over the bundle's other ones, those of the
// Clusterfile's Application over all.
func (c *Cluster) AppEnv(app string, image []manifest.EnvVar) map[string]string {
	env := c.GlobalEnv(image)
	set := map[string]bool{}
	for _, e := range c.Env {
		set[e.Name] = set[e.Name] || e.App == ""
	}
	for _, e := range image {
		if e.App == app && !set[e.Name] {
			env[e.Name] = e.Value
		}
	}
	put(env, c.Env, app)
	c.derive(env)
	return env
}

func put(env map[string]string, list []manifest.EnvVar, app string) {
	for _, e := range list {
		if e.App == app && !isReserved(e.Name) {
			env[e.Name] = e.Value
		}
	}
}

func (c *Cluster) derive(env map[string]string) {
	domain, port := c.Registry.Domain, strconv.Itoa(c.Registry.Port)
	set := func(prefix, domain, port, url string) {
		env[prefix+"Domain"], env[prefix+"Port"], env[prefix+"URL"] = domain, port, url
	}
	set("LocalRegistry", domain, port, c.Registry.URL())
	set("Registry", domain, port, c.Registry.URL())
	if ext := c.Registry.External; ext != "" {
		d, p := splitPort(ext)
		set("ExternalRegistry", d, p, ext)
		set("Registry", d, p, ext)
	}
	if c.Runtime != "" {
		env["ContainerRuntime"] = c.Runtime
	}
	service := c.ServiceCIDR
	if service == "" {
		service = env["SvcCIDR"]
	}
	first, _, _ := strings.Cut(service, ",")
	if n, err := netip.ParsePrefix(strings.TrimSpace(first)); err == nil {
		if ip, ok := nth(n, 1); ok {
			env["KubeSvcIP"] = ip
		}
		if ip, ok := nth(n, 10); ok {
			env["DNSSvcIP"] = ip
		}
	}
	if len(c.Hosts) > 0 && strings.Contains(c.Hosts[0].Address, ":") {
		env["HostIPFamily"] = "6"
	}
}

// splitPort cuts a port off a domain, if there is one.
func splitPort(s string) (domain, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") || strings.Count(s, ":") > 1 && s[0] != '[' {
		return s, ""
	}
	return strings.Trim(s[:i], "[]"), s[i+1:]
}

// nth gives an address of a network by its number.
func nth(n netip.Prefix, i int) (string, bool) {
	a := n.Masked().Addr()
	for range i {
		a = a.Next()
	}
	return a.String(), a.IsValid() && n.Contains(a)
}

// derivedWarnings tells of variables that have no effect.
func (p *parser) derivedWarnings() {
	derived := map[string]string{}
	p.c.derive(derived)
	tell := func(list []manifest.EnvVar) {
		for _, e := range list {
			if isReserved(e.Name) && derived[e.Name] != e.Value {
				p.warn(e.Source, "the variable %s follows from other fields of the Clusterfile; the value given here has no effect", e.Name)
			}
		}
	}
	tell(p.c.Env)
	told := map[manifest.Source]bool{}
	for _, h := range p.c.Hosts {
		if len(h.Env) > 0 && !told[h.Env[0].Source] {
			told[h.Env[0].Source] = true
			tell(h.Env)
		}
	}
}
