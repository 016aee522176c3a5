package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bundle/manifest"
)

// read gives a file of the test data of the module or of this package.
func read(t testing.TB, name string) []byte {
	t.Helper()
	if strings.HasPrefix(name, "cnstack") {
		name = filepath.Join("..", "..", "..", "testdata", name)
	}
	name = filepath.Join("testdata", name)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, text string, o Options) *Cluster {
	t.Helper()
	c, err := Parse("Clusterfile", strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func warnings(list []Warning) string {
	var b strings.Builder
	for _, w := range list {
		fmt.Fprintf(&b, "%s: %s\n", w.Source, w.Text)
	}
	return b.String()
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

var filled = Options{Set: map[string]string{
	"MASTER_IP_1": "10.0.0.1", "WORKER_IP_1": "10.0.0.2", "WORKER_IP_2": "10.0.0.3",
	"DataDiskDeviceName": "/dev/vdb", "PASSWD": `"a b": #c`,
}}

// TestProfiles: the three ways to deploy CNStack 1.1.0, as published and
// filled in on the command line.
func TestProfiles(t *testing.T) {
	for _, tt := range []struct {
		file             string
		hosts            []string
		plugins, configs int
	}{
		{"Clusterfile", []string{"10.0.0.1"}, 0, 0},
		{"Clusterfile.multi", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, 0, 0},
		{"Clusterfile.full", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, 2, 3},
	} {
		t.Run(tt.file, func(t *testing.T) {
			data := read(t, "cnstack-ce/deploy/"+tt.file)
			c, err := Parse(tt.file, bytes.NewReader(data), filled)
			if err != nil {
				t.Fatal(err)
			}
			var hosts []string
			for _, h := range c.Hosts {
				hosts = append(hosts, h.Address)
				equal(t, h.Address, h.SSH, SSH{User: "root", Port: 22, Password: `"a b": #c`})
			}
			equal(t, "hosts", hosts, tt.hosts)
			equal(t, "networks", c.PodCIDR+" "+c.ServiceCIDR, "100.64.0.0/10 10.96.0.0/22")
			equal(t, "root", c.Rootfs(), "/var/lib/sealer/data/my-cluster/rootfs")
			if len(c.Plugins) != tt.plugins || len(c.Configs) != tt.configs {
				t.Errorf("%d plugins, %d configs", len(c.Plugins), len(c.Configs))
			}
			for _, h := range c.Hosts[1:] {
				equal(t, "roles", h.Roles, []string{RoleNode})
			}
			for _, w := range c.Warnings {
				if !strings.Contains(w.Text, "has no placeholder") {
					t.Errorf("warned: %v", w)
				}
			}
		})
	}
}

// TestFullProfile: the documents of the full profile, word for word.
func TestFullProfile(t *testing.T) {
	c, err := Parse("Clusterfile.full", bytes.NewReader(read(t, "cnstack-ce/deploy/Clusterfile.full")), filled)
	if err != nil {
		t.Fatal(err)
	}
	vg, open := c.Plugins[0], c.Plugins[1]
	equal(t, "plugin", vg.Phases, []Phase{PhasePreInit})
	if !strings.HasPrefix(vg.Data, "VG_DEV=/dev/vdb\n") || !strings.Contains(vg.Data, "vgcreate open-local-pool-0 $VG_DEV\n") || !strings.Contains(vg.Data, "if [ $? -ne 0 ]") {
		t.Errorf("the script changed:\n%s", vg.Data)
	}
	equal(t, "first line of the script", vg.Line, 34)
	equal(t, "selector", open.On, []string{"10.0.0.1"})
	equal(t, "phases", open.Phases, []Phase{PhasePostInstall})
	sc := c.Configs[0]
	equal(t, "Config", sc, Config{
		Name: "cluster-addon-sc", Path: "charts/cluster-addon-configuration/values.yaml",
		Data: "dataStorageClass: open-local-lvm\n", Strategy: Overwrite, Source: "Clusterfile.full:55",
	})
	hosts, _, err := c.Select(vg)
	if err != nil || len(hosts) != 3 {
		t.Errorf("without a selector: %v, %v", hosts, err)
	}
	hosts, _, err = c.Select(open)
	if err != nil || len(hosts) != 1 || hosts[0].Address != "10.0.0.1" {
		t.Errorf("with a selector: %v, %v", hosts, err)
	}
}

// TestNewShape: a Clusterfile of 2.1.0 has no hosts; the command line brings
// them.
func TestNewShape(t *testing.T) {
	data := read(t, "cnstack-ce-2.x/deploy/Clusterfile")
	if bytes.HasSuffix(data, []byte("\n")) {
		t.Fatal("the test data lost what makes it special: no final newline")
	}
	_, err := Parse("Clusterfile", bytes.NewReader(data), Options{})
	if !errors.Is(err, ErrSyntax) || err.Error() != "Clusterfile:3: the cluster has no hosts; add them to the Clusterfile or say -m ADDRESS" {
		t.Errorf("got %v", err)
	}
	if c, err := Parse("Clusterfile", bytes.NewReader(data), Options{AllowNoHosts: true}); err != nil || len(c.Hosts) != 0 {
		t.Errorf("hosts not wanted: %v", err)
	}
	c, err := Parse("Clusterfile", bytes.NewReader(data), Options{
		Masters: []string{"10.0.0.1"}, Nodes: []string{"10.0.0.2,10.0.0.4-10.0.0.5"},
		SSH: SSH{User: "admin", Password: "pw"}, Env: []string{"Network=calico", "DefaultStorageClass="},
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := warnings(c.Warnings); w != "" {
		t.Errorf("warned: %s", w)
	}
	equal(t, "hosts", len(c.Hosts), 4)
	equal(t, "ssh", c.Hosts[3].SSH, SSH{User: "admin", Password: "pw", Port: 22})
	equal(t, "source", c.Hosts[3].Source, manifest.Source("command line -n"))
	env := c.GlobalEnv(nil)
	equal(t, "runtime", env["ContainerRuntime"], "containerd")
	equal(t, "registry", env["RegistryURL"], "registry-internal.adp.aliyuncs.com:5000")
	equal(t, "the command line wins", env["Network"]+env["DefaultStorageClass"], "calico")
	last := c.Configs[len(c.Configs)-1]
	equal(t, "process", last.Process, []string{"value", "toSecret"})
	if !strings.HasSuffix(last.Data, "-----END PUBLIC KEY-----") {
		t.Errorf("the end of the file is lost: %q", last.Data)
	}
}

func TestEveryField(t *testing.T) {
	c, err := Parse("v2.yaml", bytes.NewReader(read(t, "v2.yaml")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "name", c.Name+" "+c.Image+" "+c.Runtime+" "+c.Rootfs(), "prod.1 example.com/ackdistro:v1-22-15-ack-10 containerd /data/sealer/prod.1/rootfs")
	equal(t, "cmd", c.Cmd, []string{"helm install nginx charts/nginx", "kubectl apply -f manifests/x.yaml\n"})
	equal(t, "lines of cmd", c.CmdSources, []manifest.Source{"v2.yaml:20", "v2.yaml:21"})
	equal(t, "args", c.CmdArgs, []string{"V=1"})
	equal(t, "no apps, said so", c.Apps, []string{})
	equal(t, "line of apps", c.AppsSource, manifest.Source("v2.yaml:24"))
	equal(t, "aliases", c.Aliases, []Alias{{"10.0.0.50", []string{"nas.example.com", "nas"}}})
	equal(t, "registry", c.Registry, Registry{
		Domain: "registry.internal", Port: 5001, Insecure: true, Username: "admin", Password: "s3cret",
		CertNames: []string{"r.example.com", "10.0.0.9"},
		External:  "harbor.example.com:8443", ExternalUsername: "robot", ExternalPassword: "r0bot",
	})
	equal(t, "pods", c.PodCIDR, "100.64.0.0/16")
	equal(t, "services", c.ServiceCIDR, "10.96.0.0/16,fd00:1::/112")
	equal(t, "names of the API", c.CertSANs, []string{"api.example.com", "10.0.0.100"})
	var hosts []string
	for _, h := range c.Hosts {
		hosts = append(hosts, fmt.Sprintf("%s %v %s:%d %s %s", h.Address, h.Roles, h.SSH.User, h.SSH.Port, h.SSH.Password.Reveal(), h.SSH.KeyFile))
	}
	equal(t, "hosts", hosts, []string{
		"10.0.0.1 [master infra] root:22 0ther ~/.ssh/id_ed25519",
		"10.0.0.2 [master infra] root:2222 0ther ~/.ssh/id_ed25519",
		"10.0.0.11 [node] admin:2222 pa$$w0rd ~/.ssh/id_ed25519",
		"10.0.0.12 [node] admin:2222 pa$$w0rd ~/.ssh/id_ed25519",
	})
	equal(t, "labels", c.Hosts[2].Labels, map[string]string{"disk": "ssd", "node-role.kubernetes.io/edge": ""})
	equal(t, "taints", c.Hosts[2].Taints, []string{"a=b:NoSchedule", "c-"})
	equal(t, "secrets", c.Secrets(), []Secret{"0ther", "pa$$w0rd", "s3cret", "r0bot"})

	equal(t, "kubeadm", len(c.Kubeadm), 2)
	equal(t, "kind", c.Kubeadm[0].APIVersion+" "+c.Kubeadm[0].Kind, "kubeadm.k8s.io/v1beta3 ClusterConfiguration")
	if !strings.Contains(c.Kubeadm[0].Text, `audit-log-maxage: "7" # 天`) {
		t.Errorf("not as it was: %s", c.Kubeadm[0].Text)
	}
	equal(t, "launches", c.Launches, []Launch{{"nginx", []string{"helm upgrade -i nginx ."}, c.Launches[0].Source}})
	equal(t, "configs", c.Configs, []Config{
		{App: "nginx", Path: "application/apps/nginx/values.yaml", Strategy: Merge, Data: "replicas: 2\n", Source: c.Configs[0].Source},
		{Name: "clusterconfiguraion-full-func", Path: "etc/registry.yml.tmpl", Strategy: Overwrite, Process: []string{"value", "toJson"}, Data: "a: {b: 1}\n", Source: c.Configs[1].Source},
	})
	p := c.Plugins[0]
	equal(t, "plugin", p.Name+" "+p.Type, "磁盘_init SHELL")
	equal(t, "phases", p.Phases, []Phase{PhasePreInit, PhasePostInstall})
	equal(t, "dialect", p.Hook, true)
	w := warnings(c.Warnings)
	for _, text := range []string{
		`v2.yaml:61: spec of the Cluster has no field "unknownField"; it is ignored`,
		`documents of kind "ClusterConfiguration" are not known here; it is ignored`,
		`v2.yaml:18: the variable RegistryURL follows from other fields`,
	} {
		if !strings.Contains(w, text) {
			t.Errorf("no warning %q in\n%s", text, w)
		}
	}
	if n := len(c.Warnings); n != 3 {
		t.Errorf("%d warnings:\n%s", n, w)
	}
}

// TestSecretsStaySecret: no way of printing a Cluster shows a password.
func TestSecretsStaySecret(t *testing.T) {
	c, err := Parse("v2.yaml", bytes.NewReader(read(t, "v2.yaml")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(text), fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Hosts[0].SSH.Password), c.Secrets()[0].LogValue().String()} {
		for _, secret := range []string{"pa$$w0rd", "0ther", "s3cret", "r0bot"} {
			if strings.Contains(s, secret) {
				t.Errorf("%q is in %.300q", secret, s)
			}
		}
	}
	if c.Secrets()[0].Reveal() != "0ther" {
		t.Error("Reveal does not")
	}
}

func TestShort(t *testing.T) {
	c, err := Short([]string{"10.0.0.1,10.0.0.2"}, []string{"10.0.1.1-10.0.1.3", "10.0.0.9:2022"}, Options{
		SSH: SSH{User: "admin", Password: "pw", KeyFile: "/k", KeyPassword: "kp", Port: 222}, Env: []string{"A=1", "A=2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, h := range c.Hosts {
		hosts = append(hosts, fmt.Sprintf("%s %v %d", h.Address, h.Roles, h.SSH.Port))
	}
	equal(t, "hosts", hosts, []string{
		"10.0.0.1 [master] 222", "10.0.0.2 [master] 222",
		"10.0.1.1 [node] 222", "10.0.1.2 [node] 222", "10.0.1.3 [node] 222", "10.0.0.9 [node] 2022",
	})
	equal(t, "name", c.Name+c.DataRoot+c.Registry.URL(), "my-cluster/var/lib/sealer/datasea.hub:5000")
	equal(t, "env", c.GlobalEnv(nil)["A"], "2")
	for _, tt := range []struct {
		m, n []string
		o    Options
		want string
	}{
		{nil, nil, Options{}, "command line -m: the cluster has no hosts"},
		{nil, []string{"10.0.0.1"}, Options{}, "command line -n: the cluster has no master"},
		{[]string{"10.0.0.1"}, []string{"10.0.0.1"}, Options{}, "command line -n: the host 10.0.0.1 is there already, from command line -m"},
		{[]string{"master.example.com"}, nil, Options{}, `command line -m: "master.example.com" is no IP address`},
		{[]string{"10.0.0.1"}, nil, Options{Env: []string{"NOVALUE"}}, `command line -e: the variable "NOVALUE" has no value; write NAME=VALUE`},
		{[]string{"10.0.0.1"}, nil, Options{Env: []string{"1a=b"}}, `"1a" cannot be the name of a variable`},
		{[]string{"10.0.0.1-10.0.255.255"}, nil, Options{}, "more than 5000 addresses"},
		{[]string{"10.0.0.1-10.0.15.255"}, []string{"10.1.0.1-10.1.15.255"}, Options{}, "the cluster has more than 5000 hosts"},
		{[]string{"10.0.0.9-10.0.0.1"}, nil, Options{}, "is no range of addresses"},
		{[]string{"10.0.0.1"}, []string{"fd00::1"}, Options{}, "the host fd00::1 is of another IP family than 10.0.0.1"},
		{[]string{"0.0.0.0"}, nil, Options{}, "0.0.0.0 cannot be the address of a host"},
		{[]string{"fe80::1%eth0"}, nil, Options{}, "is no IP address"},
		{[]string{"10.0.0.1:0"}, nil, Options{}, "is no IP address"},
	} {
		_, err := Short(tt.m, tt.n, tt.o)
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v %v:\n got %v\nwant %s", tt.m, tt.n, err, tt.want)
		}
	}
	if c, err := Short([]string{"[fd00::1]:22,::ffff:10.0.0.1"}, nil, Options{}); err == nil {
		t.Errorf("mixed families: %v", c.Hosts)
	}
	if c, err := Short([]string{"127.0.0.1"}, nil, Options{}); err != nil || !strings.Contains(warnings(c.Warnings), "loopback") {
		t.Errorf("loopback: %v", err)
	}
}

// TestAddHosts: hosts of the command line come behind those of the file, and
// the same host twice is a mistake.
func TestAddHosts(t *testing.T) {
	text := "kind: Cluster\nspec:\n  hosts:\n  - {ips: [10.0.0.1], roles: [master]}\n"
	c := parse(t, text, Options{Nodes: []string{"10.0.0.2"}, Masters: []string{"10.0.0.3"}})
	equal(t, "hosts", c.Hosts[0].Address+" "+c.Hosts[1].Address+" "+c.Hosts[2].Address, "10.0.0.1 10.0.0.3 10.0.0.2")
	_, err := Parse("Clusterfile", strings.NewReader(text), Options{Nodes: []string{"10.0.0.1"}})
	if err == nil || err.Error() != "command line -n: the host 10.0.0.1 is there already, from Clusterfile:4" {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrClosed }

func TestReaderFails(t *testing.T) {
	if _, err := Parse("C", failing{}, Options{}); !errors.Is(err, os.ErrClosed) || errors.Is(err, ErrSyntax) {
		t.Errorf("got %v", err)
	}
	if _, _, err := ParseConfigs("C", failing{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
