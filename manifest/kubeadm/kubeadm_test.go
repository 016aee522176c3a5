package kubeadm

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"bundle/manifest/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

const root = "../../testdata"

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seed is the root file system of the product over ACK Distro, as far as
// kubeadm is concerned.
func seed(t *testing.T) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for p, from := range map[string]string{
		"Metadata":     "ackdistro/Metadata",
		tmplInit:       "ackdistro/kubeadm-init.yaml.tmpl",
		tmplJoin:       "ackdistro/kubeadm-join-config.yaml.tmpl",
		tmplCluster:    "cnstack-ce/charts/build-cnstack-ce/kubeadm-cluster-config.yaml.tmpl",
		"etc/foo.tmpl": "ackdistro/imageList",
	} {
		m[p] = &fstest.MapFile{Data: read(t, from)}
	}
	return m
}

// clusterfile reads one of the seed's profiles.
func clusterfile(t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Parse(name, bytes.NewReader(read(t, "cnstack-ce/deploy/"+name)), cluster.Options{Set: map[string]string{
		"MASTER_IP_1": "10.0.0.1", "WORKER_IP_1": "10.0.0.2", "WORKER_IP_2": "10.0.0.3", "PASSWD": "x", "DataDiskDeviceName": "/dev/vdb",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hosts makes a cluster of masters and nodes.
func hosts(masters, nodes int) *cluster.Cluster {
	c := &cluster.Cluster{Name: "my-cluster", DataRoot: cluster.DefaultDataRoot}
	for i := range masters + nodes {
		h := cluster.Host{Address: fmt.Sprintf("10.0.0.%d", i+1), Roles: []string{cluster.RoleNode}}
		if i < masters {
			h.Roles[0] = cluster.RoleMaster
		}
		c.Hosts = append(c.Hosts, h)
	}
	return c
}

func doc0(t *testing.T, c *cluster.Cluster, text string) {
	t.Helper()
	d, err := parseDocument("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c.Kubeadm = append(c.Kubeadm, cluster.Document{APIVersion: d.text("apiVersion"), Kind: d.text("kind"), Text: text, Source: "Clusterfile:9"})
}

var ticketOfTests = Ticket{Token: "abcdef.0123456789abcdef", CAHash: "sha256:" + strings.Repeat("ab", 32), CertKey: cluster.Secret(strings.Repeat("cd", 32))}

// golden compares what came out with a file, warnings included.
func golden(t *testing.T, name string, c *Config) {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Kubernetes %s, node %s, socket %s, endpoint %s, ignored %v\n", c.Version, c.NodeName, c.CRISocketFlag(), c.Endpoint, c.IgnorePreflight)
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "# warning: %s\n", w)
	}
	b.Write(c.Text)
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s is\n%s\nwant\n%s", name, &b, want)
	}
}

func docker(address, name string) Host {
	return Host{Address: address, HostName: name, Sockets: []string{socketContainerd, socketDocker}, Cgroups: map[string]string{"docker": "cgroupfs", "containerd": "systemd"}, IPVS: true}
}

func containerd(address, name string) Host {
	return Host{Address: address, HostName: name, Sockets: []string{socketContainerd}, Cgroups: map[string]string{"containerd": "systemd"}}
}

func initOf(t *testing.T, in Input, h Host) *Config {
	t.Helper()
	c, err := Init(in, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func joinOf(t *testing.T, in Input, h Host) *Config {
	t.Helper()
	c, err := Join(in, h, ticketOfTests)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const ackYAML = `apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
localAPIEndpoint:
  bindPort: 6443
  advertiseAddress: 0.0.0.0
nodeRegistration:
  criSocket: /run/containerd/containerd.sock

---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: v1.22.15-aliyun.1
controlPlaneEndpoint: "apiserver.cluster.local:6443"
imageRepository: sea.hub:5000/ecp_builder
dns:
  type: CoreDNS
  imageTag: v1.8.4
networking:
  dnsDomain: cluster.local
  podSubnet: 100.64.0.0/16,3408:4003:10bb:6a01:83b9:6360:c66d:0000/112
  serviceSubnet: 10.96.0.0/16,4408:4003:10bb:6a01:83b9:6360:c66d:0000/112
apiServer:
  certSANs:
  - 127.0.0.1
  - ::1
  - cnstack.local
  extraArgs:
    audit-log-maxage: '30'
    profiling: 'false'
etcd:
  local:
    extraArgs:
      quota-backend-bytes: '8589934592'
    imageTag: 3.5.4
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
caCertPath: /etc/kubernetes/pki/ca.crt
discovery:
  timeout: 5m0s
nodeRegistration:
  criSocket: /run/containerd/containerd.sock
controlPlane:
  localAPIEndpoint:
    bindPort: 6443
    advertiseAddress: 0.0.0.0
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
readOnlyPort: 10255
kubeReserved:
  pid: "10000"
`

func TestGolden(t *testing.T) {
	one := Input{Rootfs: seed(t), Cluster: clusterfile(t, "Clusterfile")}
	golden(t, "seed-init", initOf(t, one, docker("10.0.0.1", "Master-1")))
	many := Input{Rootfs: seed(t), Cluster: clusterfile(t, "Clusterfile.multi")}
	golden(t, "seed-join", joinOf(t, many, docker("10.0.0.2", "worker-1")))

	ack := Input{Rootfs: fstest.MapFS{ConfigPath: {Data: []byte(ackYAML)}, AuditPolicyPath: {Data: []byte("x")}, "Metadata": {Data: []byte("version: v1.22.15-aliyun.1\narch: amd64\n")}},
		Cluster: hosts(3, 1), Env: map[string]string{"CertSANs": "vip.example.com, 10.9.9.9", "IPvsVIPv4": "10.103.97.9"}}
	doc0(t, ack.Cluster, "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer:\n  extraArgs: {profiling: 'true', v: 4}\n  certSANs: [mine.example.com]\n")
	doc0(t, ack.Cluster, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 200\nkubeReserved: {memory: 400Mi}\n")
	ack.Cluster.Hosts[0].Taints = []string{"node-role.kubernetes.io/master:NoSchedule-", "gpu=a100:NoExecute"}
	golden(t, "ack-init", initOf(t, ack, containerd("10.0.0.1", "m1")))
	golden(t, "ack-join-master", joinOf(t, ack, containerd("10.0.0.2", "m2")))
	golden(t, "ack-join-worker", joinOf(t, ack, containerd("10.0.0.4", "w1")))

	native := Input{Cluster: hosts(3, 0), Images: []string{"docker.io/library/nginx:1", "registry.k8s.io/kube-apiserver:v1.34.4"}}
	doc0(t, native.Cluster, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.34.4\ncontrolPlaneEndpoint: vip.example.com\napiServer:\n  extraArgs: [{name: v, value: '2'}]\n")
	golden(t, "native-init", initOf(t, native, containerd("10.0.0.1", "h1")))
	golden(t, "native-join", joinOf(t, native, containerd("10.0.0.3", "h3")))
	issue, err := Issue(native, containerd("10.0.0.1", "h1"), ticketOfTests, "2h0m0s")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "native-issue", issue)

	dual := Input{Cluster: hosts(1, 0)}
	dual.Cluster.PodCIDR, dual.Cluster.ServiceCIDR = "10.244.0.0/16, fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"
	dual.Cluster.Runtime = "containerd"
	h := containerd("10.0.0.1", "h1")
	h.Kubeadm = "v1.29.3"
	golden(t, "dual-stack", initOf(t, dual, h))
}

func TestWhatTheShellMadeOfATemplate(t *testing.T) {
	in := Input{Rootfs: fstest.MapFS{
		"Metadata": {Data: []byte(`{"version":"v1.20.4"}`)},
		tmplCluster: {Data: []byte("apiVersion: {{.KubeadmAPI}}\nkind: ClusterConfiguration\nimageRepository: {{.Repo}}\napiServer:\n  extraArgs:\n" +
			"    audit-log-maxage: '\"7\"'\n    plain: \"10252\"\n    bool: true\n    escaped: \\\"x\\\"\n    servers: {{.EtcdServers}}\n")},
		tmplKubelet: {Data: []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: {{ .CgroupDriver}}\nmaxPods: \"110\"\nstar: \"*\"\n")},
		tmplProxy:   {Data: []byte("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: \"ipvs\"\nipvs:\n  excludeCIDRs:\n  - \"{{.VIP}}/32\"\n")},
	}, Cluster: hosts(2, 0)}
	in.Cluster.Registry = cluster.Registry{Domain: "reg.example.com", Port: 5001}
	c := initOf(t, in, docker("10.0.0.1", "a"))
	for _, want := range []string{
		"audit-log-maxage: \"7\"", "plain: \"10252\"", "bool: \"true\"", "escaped: x", "servers: https://10.0.0.1:2379,https://10.0.0.2:2379",
		"cgroupDriver: cgroupfs", "star: '*'", "imageRepository: reg.example.com:5001/library", "excludeCIDRs:\n  - 10.103.97.2/32\n", "criSocket: /var/run/dockershim.sock",
	} {
		if !strings.Contains(string(c.Text), want) {
			t.Errorf("%q is missing in\n%s", want, c.Text)
		}
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "only with its quotes") {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestWhatCannotBeUsedIsNamed(t *testing.T) {
	big := strings.Repeat("a", maxText+1)
	ok := func() Input { return Input{Rootfs: seed(t), Cluster: hosts(1, 1)} }
	with := func(name, text string) Input {
		in := ok()
		in.Rootfs.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(text)}
		return in
	}
	doc := func(text string) Input {
		in := ok()
		in.Cluster.Kubeadm = []cluster.Document{{Text: text, Source: "Clusterfile:12"}}
		return in
	}
	for name, tt := range map[string]struct {
		in   Input
		want string
	}{
		"unknown value":     {with(tmplInit, "kind: InitConfiguration\nx: {{.Nothing}}"), tmplInit},
		"broken template":   {with(tmplInit, "{{"), tmplInit},
		"no YAML":           {with(tmplInit, "a: [1\nb"), tmplInit},
		"a list":            {with(tmplInit, "- 1"), "no map"},
		"another kind":      {with(tmplInit, "kind: JoinConfiguration"), "JoinConfiguration and not"},
		"too large":         {with(tmplInit, big), "at most"},
		"growing":           {with(tmplInit, `{{$a := "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}`+strings.Repeat(`{{$a = printf "%s%s" $a $a}}`, 30)), "too long"},
		"wide":              {with(tmplInit, strings.Repeat(`{{printf "%900000d" 1}}`, 3)), "too long"},
		"endless":           {with(tmplInit, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`), tmplInit},
		"two of a kind":     {with(ConfigPath, ackYAML+"---\napiVersion: v1\nkind: JoinConfiguration\n"), "two documents"},
		"twice a key":       {with(ConfigPath, "kind: a\nkind: b\n"), ConfigPath},
		"metadata":          {with(tmplCluster, "kind: ClusterConfiguration"), ""},
		"old version":       {doc("apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.14.2"), "older than"},
		"label for version": {doc("apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: stable-1"), "stable-1"},
		"API too new":       {doc("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration"), "does not read"},
		"API unknown":       {doc("apiVersion: kubeadm.k8s.io/v2\nkind: InitConfiguration"), "not known"},
		"no API":            {doc("kind: InitConfiguration"), "Clusterfile:12"},
		"pod range":         {doc("apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nnetworking: {podSubnet: 10.0.0.0}"), "podCIDR"},
		"three ranges":      {doc("apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nnetworking: {serviceSubnet: '10.0.0.0/8,10.0.0.0/8,::/96'}"), "svcCIDR"},
	} {
		_, err := Init(tt.in, docker("10.0.0.1", "a"))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !errors.Is(err, ErrInput) && !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	in := ok()
	in.Cluster.Hosts[0].Address = "fd00::1"
	in.Rootfs = nil
	if _, err := Init(in, Host{Address: "fd00::1", HostName: "a", Kubeadm: "v1.30.0"}); err == nil || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("IPv6 without ranges: %v", err)
	}
	if _, err := Init(ok(), docker("10.0.0.9", "a")); !errors.Is(err, ErrInput) {
		t.Errorf("a host of another cluster: %v", err)
	}
	if _, err := Init(ok(), docker("10.0.0.1", "under_score")); !errors.Is(err, ErrInput) {
		t.Errorf("a bad host name: %v", err)
	}
	if _, err := Init(Input{Cluster: hosts(1, 0)}, Host{Address: "10.0.0.1", HostName: "a"}); !errors.Is(err, ErrVersion) {
		t.Errorf("no version: %v", err)
	}
	if _, err := Join(ok(), docker("10.0.0.2", "b"), Ticket{}); !errors.Is(err, ErrInput) {
		t.Errorf("no ticket: %v", err)
	}
}

func TestSocketsAndNames(t *testing.T) {
	for name, tt := range map[string]struct {
		kube, runtime, path string
		sockets             []string
		want                string
	}{
		"docker before 1.24 brings a containerd of its own": {"v1.23.1", "", "", []string{socketContainerd, socketDocker}, socketDockershim},
		"docker after 1.24 needs cri-dockerd":               {"v1.24.0", "", "", []string{socketContainerd, socketCRIDockerd, socketDocker}, "unix://" + socketCRIDockerd},
		"the script's word counts":                          {"v1.22.1", "docker", "/run/containerd/containerd.sock\n", []string{socketDocker}, socketDockershim},
		"the Clusterfile's word":                            {"v1.22.1", "containerd", "", []string{socketContainerd, socketDocker}, socketContainerd},
		"nothing there yet":                                 {"v1.19.1", "", "", nil, socketDockershim},
		"nothing there yet, later":                          {"v1.28.1", "", "", nil, "unix://" + socketContainerd},
		"only cri-o":                                        {"v1.28.1", "", "", []string{socketCRIO}, "unix://" + socketCRIO},
		"an odd word":                                       {"v1.28.1", "", "tcp://1.2.3.4", nil, "unix://" + socketContainerd},
	} {
		in := Input{Cluster: hosts(1, 0)}
		in.Cluster.Runtime = tt.runtime
		c := initOf(t, in, Host{Address: "10.0.0.1", HostName: "a", Kubeadm: tt.kube, Sockets: tt.sockets, SocketPath: tt.path})
		if got := c.CRISocketFlag(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	in := Input{Cluster: hosts(1, 0), Env: map[string]string{"UseIPasNodeName": "true"}}
	if c := initOf(t, in, Host{Address: "10.0.0.1", HostName: "Foo", Kubeadm: "v1.30.0"}); c.NodeName != "10.0.0.1" {
		t.Errorf("node name %s", c.NodeName)
	}
}

func TestVersionsOfTheAPI(t *testing.T) {
	for version, want := range map[string]string{
		"v1.15.0": V1Beta2, "v1.21.9": V1Beta2, "v1.22.0": V1Beta3, "v1.30.4": V1Beta3, "v1.31.0": V1Beta4, "v1.40.0": V1Beta4,
	} {
		v, err := ParseVersion(version)
		if err != nil || Native(v) != want {
			t.Errorf("%s: %s, %v", version, Native(v), err)
		}
		if !Supported(v, Native(v)) || !Supported(v, ForTemplates(v)) {
			t.Errorf("%s does not read what we write for it", version)
		}
	}
	for _, tt := range []struct {
		version, api string
		want         bool
	}{
		{"v1.21.0", V1Beta1, true}, {"v1.22.0", V1Beta1, false}, {"v1.26.0", V1Beta2, true}, {"v1.27.0", V1Beta2, false},
		{"v1.21.0", V1Beta3, false}, {"v1.34.4", V1Beta3, true}, {"v1.30.0", V1Beta4, false}, {"v1.34.0", "kubeadm.k8s.io/v9", false},
	} {
		v, _ := ParseVersion(tt.version)
		if Supported(v, tt.api) != tt.want {
			t.Errorf("%s reads %s: %v", tt.version, tt.api, !tt.want)
		}
	}
	for _, bad := range []string{"", "1.20", "v1.20.x", "v1.20.4 ", "latest", "v1.20.4;rm", "v1.2.3-" + strings.Repeat("a", 99)} {
		if v, err := ParseVersion(bad); err == nil && bad != "v1.20.4 " {
			t.Errorf("%q is %v", bad, v)
		}
	}
}

func TestMetadata(t *testing.T) {
	for _, text := range []string{"{\"version\": \"v1.20.4\",\n \"arch\": \"x86_64\"}", "version: v1.20.4\narch: x86_64\nvariant: ''\n", "\ufeffversion: 1.20.4\narch: x86_64"} {
		m, err := ParseMetadata([]byte(text))
		if err != nil || strings.TrimPrefix(m.Version, "v") != "1.20.4" || m.Arch != "x86_64" {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	for _, text := range []string{"[]", "version: [1]", "version: 1.20", "version: x", "{", strings.Repeat(" ", maxMetadata+1)} {
		if m, err := ParseMetadata([]byte(text)); !errors.Is(err, ErrInput) {
			t.Errorf("%.20q: %+v, %v", text, m, err)
		}
	}
}

func TestTaints(t *testing.T) {
	for text, want := range map[string]string{
		"a=b:NoSchedule": "a b NoSchedule false", "a:NoExecute": "a  NoExecute false", "x.y/a=:PreferNoSchedule": "x.y/a  PreferNoSchedule false",
		"node-role.kubernetes.io/master=:NoSchedule-": "node-role.kubernetes.io/master  NoSchedule true", "a-": "a   true",
	} {
		tn, remove, err := ParseTaint(text)
		if got := fmt.Sprint(tn.Key, " ", tn.Value, " ", tn.Effect, " ", remove); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-", "a", "a=b", "a:Never", "a b:NoSchedule", "=b:NoSchedule", "a=" + strings.Repeat("b", 64) + ":NoSchedule"} {
		if tn, _, err := ParseTaint(bad); !errors.Is(err, ErrInput) {
			t.Errorf("%q: %+v, %v", bad, tn, err)
		}
	}
	in := Input{Cluster: hosts(1, 0)}
	in.Cluster.Hosts[0].Taints = []string{"node-role.kubernetes.io/master:NoSchedule-"}
	if c := initOf(t, in, Host{Address: "10.0.0.1", HostName: "a", Kubeadm: "v1.30.0"}); !strings.Contains(string(c.Text), "taints: []") {
		t.Errorf("the control plane keeps its taint:\n%s", c.Text)
	}
}

func TestSecretsAreInTheTextAlone(t *testing.T) {
	c := joinOf(t, Input{Rootfs: seed(t), Cluster: hosts(2, 0)}, docker("10.0.0.2", "b"))
	if !strings.Contains(string(c.Text), "0123456789abcdef") {
		t.Error("the token is not in the text")
	}
	c.Text = nil
	if s := fmt.Sprintf("%+v %v", c, ticketOfTests); strings.Contains(s, "0123456789abcdef") || strings.Contains(s, "cdcdcd") {
		t.Errorf("a secret is in %s", s)
	}
}

// TestKubeadmItselfReadsThem asks the real program, where test/kube has built
// it.
func TestKubeadmItselfReadsThem(t *testing.T) {
	dir := os.Getenv("KUBE_BIN")
	if dir == "" {
		t.Skip("KUBE_BIN does not name a folder with kubeadm")
	}
	for _, name := range []string{"native-init", "native-join", "native-issue"} {
		out, err := exec.Command(filepath.Join(dir, "kubeadm"), "config", "validate", "--config", filepath.Join("testdata", name+".yaml")).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "ok" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
