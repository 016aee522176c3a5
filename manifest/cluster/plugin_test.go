package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"bundle/manifest"
)

func addresses(hosts []Host) string {
	var list []string
	for _, h := range hosts {
		list = append(list, strings.TrimPrefix(h.Address, "10.0.0."))
	}
	return strings.Join(list, " ")
}

// five is a cluster of two masters and three nodes.
func five(t *testing.T) *Cluster {
	return parse(t, `kind: Cluster
spec:
  hosts:
  - {ips: [10.0.0.1, 10.0.0.2], roles: [master]}
  - {ips: [10.0.0.3], roles: [node], labels: {disk: ssd}}
  - {ips: [10.0.0.4, 10.0.0.5], roles: [node, edge]}
`, Options{})
}

func TestSelect(t *testing.T) {
	c := five(t)
	for _, tt := range []struct {
		hook  bool
		phase Phase
		on    string
		want  string
		warn  string
		err   string
	}{
		{false, PhasePreInit, "", "1 2 3 4 5", "", ""},
		{false, PhasePostInstall, "10.0.0.4,10.0.0.1", "4 1", "", ""},
		{false, PhasePostInstall, "10.0.0.4-10.0.0.200, 10.0.0.4", "4 5", "", ""},
		{false, PhasePreInit, "10.0.0.100-10.0.0.200", "", "which no host is", ""},
		{false, PhasePreInit, "10.0.0.9", "", "", "C:3: the Plugin \"p\" selects 10.0.0.9, which is no host of the cluster"},
		{false, PhasePreInit, "master0", "1", "", ""},
		{false, PhasePreInit, "master", "1 2", "", ""},
		{false, PhasePreInit, "node|master0", "3 4 5 1", "", ""},
		{false, PhasePreInit, "edge", "4 5", "", ""},
		{false, PhasePreInit, "disk=ssd", "3", "", ""},
		{false, PhasePreInit, "disk=hdd", "", "which no host is", ""},
		{false, PhasePreInit, "node-role.kubernetes.io/master=", "1 2", "", ""},
		{false, PhasePreInit, "node-role.kubernetes.io/control-plane=", "1 2", "", ""},
		{false, PhasePreInit, "node-role.kubernetes.io/edge=", "4 5", "", ""},
		{false, PhasePreInit, "infra", "", "which no host is", ""},
		{false, PhasePreInit, "10.0.0.1-5", "", "", "is no address, role or label"},
		{false, PhasePreInit, "10.0.0", "", "", "is no address, role or label"},
		{false, PhasePreInit, "$MASTER_IP_1", "", "", "is no address, role or label"},
		{true, PhasePreInit, "", "", "has no scope, and so runs on no host", ""},
		{true, PhasePreInit, "master|node", "1 2 3 4 5", "", ""},
		{true, PhasePostInit, "master", "1 2", "", ""},
		{true, PhasePostInstall, "node", "1", "", ""},
		{true, PhasePreInstall, "", "1", "", ""},
		{true, PhasePreClean, "node", "3 4 5", "", ""},
	} {
		p := Plugin{Name: "p", Type: TypeShell, Phases: []Phase{tt.phase}, Hook: tt.hook, Source: "C:3"}
		if tt.on != "" {
			p.On = []string{tt.on}
		}
		hosts, w, err := c.Select(p)
		switch {
		case tt.err != "":
			if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: got %v", tt, err)
			}
		case err != nil, addresses(hosts) != tt.want, tt.warn == "" && len(w) > 0, !strings.Contains(warnings(w), tt.warn):
			t.Errorf("%+v:\n got %s, %v, %s", tt, addresses(hosts), err, warnings(w))
		}
	}
	for _, kind := range []string{TypeLabel, TypeTaint, TypeETCD, TypeClusterCheck} {
		if hosts, _, err := c.Select(Plugin{Type: kind}); err != nil || addresses(hosts) != "1" {
			t.Errorf("%s: %v %v", kind, hosts, err)
		}
	}
	if hosts, _, err := (&Cluster{}).Select(Plugin{Type: TypeShell}); err != nil || hosts != nil {
		t.Errorf("no hosts: %v %v", hosts, err)
	}
	// What Select gives may be changed.
	hosts, _, _ := c.Select(Plugin{Type: TypeShell})
	hosts[0].Address = "x"
	if c.Hosts[0].Address == "x" {
		t.Error("the cluster changed")
	}
}

func TestPlugins(t *testing.T) {
	list, w, err := ParsePlugins("plugins/all.yaml", read(t, "plugins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shell := list[0]
	equal(t, "shell", shell, Plugin{
		Name: "phases", Type: TypeShell, Phases: []Phase{PhasePreInit, PhasePostInstall}, On: []string{"10.0.0.1,10.0.0.3-10.0.0.4"},
		Data: "\nsecond\n", Line: 8, Source: "plugins/all.yaml:1",
	})
	for i, want := range []Phase{PhasePreInit, PhasePreGuest, PhasePreGuest} {
		equal(t, list[i+1].Name, list[i+1].Phases, []Phase{want})
	}
	text := warnings(w)
	for _, want := range []string{
		"plugins/all.yaml:5: the Plugin \"phases\" asks for the phase PreInstall",
		"plugins/all.yaml:6: an on without quotes",
		"the Plugin \"labels\" is of the type LABEL, which runs in the phase pre-guest whatever its action says",
		`the document is of kind "Secret", not Plugin; it is ignored`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning %q in\n%s", want, text)
		}
	}
	if len(w) != 4 {
		t.Errorf("warned\n%s", text)
	}
	// Sealer 0.5 set labels later.
	old, _, err := ParsePlugins("plugin/all.yaml", read(t, "plugins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "labels in 0.5", old[2].Phases, []Phase{PhasePostInstall})

	c := five(t)
	var rows []string
	for _, p := range list[1:] {
		got, _, err := c.Table(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			rows = append(rows, fmt.Sprint(r.Host.Address, " ", r.Name, r.Labels, r.Taints, " ", r.Source))
		}
	}
	equal(t, "rows", rows, []string{
		"10.0.0.1 master-0map[] [] plugins/all.yaml:16",
		"10.0.0.2 node-0map[] [] plugins/all.yaml:18",
		"10.0.0.1 map[a:b c:d] [] plugins/all.yaml:25",
		"10.0.0.2 map[a:b c:d] [] plugins/all.yaml:25",
		"10.0.0.1 map[] [k=v:NoSchedule-] plugins/all.yaml:33",
		"10.0.0.2 map[] [k=v:NoSchedule-] plugins/all.yaml:33",
	})
	hosts, _, err := c.Select(list[1])
	if err != nil || addresses(hosts) != "1 2" {
		t.Errorf("host names go to their hosts: %v %v", hosts, err)
	}
}

func TestTableRefuses(t *testing.T) {
	c := five(t)
	for _, tt := range []struct{ kind, data, want string }{
		{TypeHostname, "10.0.0.1", "C:11: the Plugin \"p\" has a line of 1 words; write an address, a blank and the value"},
		{TypeHostname, "\n10.0.0.1 a b", "C:12: the Plugin \"p\" has a line of 3 words"},
		{TypeHostname, "10.0.0.1 a;b", "for a host name"},
		{TypeHostname, "10.0.0.9 a", "which is no host of the cluster"},
		{TypeLabel, "10.0.0.1 a", `has "a" for a label`},
		{TypeTaint, "10.0.0.1 a", `has "a" for a taint`},
		{TypeShell, "10.0.0.1 a", "whose data is no table"},
	} {
		_, _, err := c.Table(Plugin{Name: "p", Type: tt.kind, Data: tt.data, Line: 11, Source: "C:3"})
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q:\n got %v\nwant %s", tt.kind, tt.data, err, tt.want)
		}
	}
	if rows, _, err := c.Table(Plugin{Type: TypeTaint, Data: "10.0.0.1 a=b:NoSchedule, c-"}); err != nil || len(rows) != 1 || len(rows[0].Taints) != 2 {
		t.Errorf("got %v, %v", rows, err)
	}
}

func TestPluginRefused(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"spec: {type: SHELL, data: x}", `the Plugin without a name has no action; say action: PreInit or another phase`},
		{"metadata: {name: a}\nspec: {action: PreInit}", `p.yaml:1: the Plugin "a" has no type; say type: SHELL`},
		{"spec: {type: LVM, action: PreInit}", `has the unknown type "LVM"; it may be SHELL, HOSTNAME, LABEL`},
		{"spec: {type: lvm.so, action: PreInit}", "is a Go library, which cannot be run"},
		{"spec:\n  type: SHELL\n  action: preinit", `p.yaml:4: the Plugin without a name has the unknown phase "preinit"; did you mean PreInit?`},
		{"spec: {type: SHELL, action: PostInit}", `did you mean`},
		{"spec: {type: SHELL, action: pre_init_host}", `did you mean pre-init-host?`},
		{"spec: {type: SHELL, action: Whenever}", `it may be Originally, PostClean,`},
		{"spec: {type: SHELL, action: PreInit|post-install}", "mixes the phases of sealer before 0.9 with those of 0.9"},
		{"spec: {type: SHELL, action: PreInit, data: '$MASTER_IP_1'}", "$MASTER_IP_1 is not filled in; say --set MASTER_IP_1=VALUE"},
		{"spec: {type: SHELL, action: PreInit, data: [x]}", "spec.data must be a text, not a list"},
		{"spec: {type: SHELL, action: {a: b}}", "spec.action must be a list, not a mapping"},
		{"spec: x", "must be a mapping, not a text"},
	} {
		_, _, err := ParsePlugins("p.yaml", []byte("kind: Plugin\n"+tt.in))
		if tt.in == "spec: {type: SHELL, action: PostInit}" {
			tt.want = "has the unknown phase"
		}
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.in, err, tt.want)
		}
	}
	list, _, err := ParsePluginsSet("p.yaml", []byte("kind: Plugin\nspec: {type: shell, action: PreInit, data: 'x $MASTER_IP_1'}"), map[string]string{"MASTER_IP_1": "10.0.0.1"})
	if err != nil || list[0].Data != "x 10.0.0.1" || list[0].Type != TypeShell {
		t.Errorf("got %v, %v", list, err)
	}
	_, w, err := ParsePlugins("p.yaml", []byte("kind: Plugin\nspec: {type: SHELL, action: pre-install, scope: master, color: red}"))
	if err != nil || len(w) != 2 || !strings.Contains(warnings(w), "has no data and does nothing") || !strings.Contains(warnings(w), `p.yaml:2: spec of the Plugin has no field "color"`) {
		t.Errorf("got %s, %v", warnings(w), err)
	}
	if _, w, err := ParsePlugins("p.yaml", []byte("kind: Plugin\nspec: {type: LABEL, action: pre-install, data: ''}")); err != nil || !strings.Contains(warnings(w), "which sealer 0.9 refused") {
		t.Errorf("got %s, %v", warnings(w), err)
	}
}

// TestImagePlugins: the plugins of the seed's build folder.
func TestImagePlugins(t *testing.T) {
	for name, want := range map[string]Phase{"plugin_clean": PhasePostClean, "plugin_iptables": PhasePreInit, "plugin_localpv": PhasePreInit} {
		list, _, err := ParsePlugins("plugin/"+name+".yaml", read(t, "cnstack-ce/charts/build-cnstack-ce/"+name+".yaml"))
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		equal(t, name, list[0].Phases, []Phase{want})
		equal(t, name, list[0].Hook, false)
	}
}

func TestEnv(t *testing.T) {
	c := parse(t, string(read(t, "v2.yaml")), Options{Env: []string{"Network=cli", "Extra=", "LocalRegistryURLish=x"}})
	image := []manifest.EnvVar{
		{Name: "Network", Value: "image"}, {Name: "FromImage", Value: "1"}, {Name: "Color", Value: "red"},
		{Name: "Color", Value: "green", App: "nginx"}, {Name: "Size", Value: "big", App: "nginx"}, {Name: "Network", Value: "app", App: "nginx"},
		{Name: "ContainerRuntime", Value: "docker"}, {Name: "SvcCIDR", Value: "1.2.3.0/24"},
	}
	global := c.GlobalEnv(image)
	want := map[string]string{
		"Network": "cli", "FromImage": "1", "Color": "red", "Extra": "", "Motto": `a=b "c"`,
		"SvcCIDR": "10.96.0.0/16,fd00:1::/112", "PodCIDR": "100.64.0.0/16", "CertSANs": "api.example.com,10.0.0.100",
		"LocalRegistryDomain": "registry.internal", "LocalRegistryPort": "5001", "LocalRegistryURL": "registry.internal:5001",
		"ExternalRegistryDomain": "harbor.example.com", "ExternalRegistryPort": "8443", "ExternalRegistryURL": "harbor.example.com:8443",
		"RegistryDomain": "harbor.example.com", "RegistryPort": "8443", "RegistryURL": "harbor.example.com:8443",
		"ContainerRuntime": "containerd", "KubeSvcIP": "10.96.0.1", "DNSSvcIP": "10.96.0.10",
	}
	equal(t, "global", global, want)
	host := c.HostEnv(c.Hosts[0], image)
	want["Network"], want["EtcdDevice"], want["HostIP"] = "flannel", "/dev/vdb", "10.0.0.1"
	equal(t, "host", host, want)
	if _, ok := c.HostEnv(c.Hosts[2], image)["EtcdDevice"]; ok {
		t.Error("a host has the variables of another")
	}
	app := c.AppEnv("nginx", image)
	equal(t, "app", app["Color"]+" "+app["Size"]+" "+app["Network"], "blue big cli")

	six := parse(t, "kind: Cluster\nspec: {hosts: [{ips: ['fd00::1'], roles: [master]}], registry: {externalRegistry: {domain: 'fd00::9'}}, env: ['SvcCIDR=fd00:9::/112']}", Options{})
	env := six.HostEnv(six.Hosts[0], nil)
	equal(t, "v6", env["HostIPFamily"]+" "+env["HostIP"]+" "+env["DNSSvcIP"]+" "+env["KubeSvcIP"], "6 fd00::1 fd00:9::a fd00:9::1")
	equal(t, "external without a port", env["RegistryURL"]+" "+env["RegistryPort"], "fd00::9 ")

	plain := parse(t, "kind: Cluster\nspec: {masters: {ipList: [10.0.0.1]}, network: {svcCIDR: 10.96.0.0/30}}", Options{}).GlobalEnv(nil)
	equal(t, "plain", plain, map[string]string{
		"LocalRegistryDomain": "sea.hub", "LocalRegistryPort": "5000", "LocalRegistryURL": "sea.hub:5000",
		"RegistryDomain": "sea.hub", "RegistryPort": "5000", "RegistryURL": "sea.hub:5000", "KubeSvcIP": "10.96.0.1",
	})
	w := warnings(parse(t, "kind: Cluster\nspec:\n  hosts:\n  - ips: [10.0.0.1, 10.0.0.2]\n    roles: [master]\n    env: [RegistryURL=x]\n  env: [RegistryDomain=sea.hub]\n", Options{}).Warnings)
	equal(t, "warnings", w, "Clusterfile:6: the variable RegistryURL follows from other fields of the Clusterfile; the value given here has no effect\n")
}
