package kubeadm

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"bundle/manifest/cluster"
)

// holds checks what must be true of every configuration.
func holds(t *testing.T, in Input) {
	t.Helper()
	h := Host{Address: "10.0.0.1", HostName: "h1", Kubeadm: "v1.28.0"}
	c, err := Init(in, h)
	if err != nil {
		if !errors.Is(err, ErrInput) && !errors.Is(err, ErrVersion) {
			t.Fatalf("untyped error: %v", err)
		}
		return
	}
	again, err := Init(in, h)
	if err != nil || string(again.Text) != string(c.Text) {
		t.Fatalf("the second time it is\n%s\n%v", again.Text, err)
	}
	docs, err := parseDocuments("output", c.Text, func(kind string) { t.Errorf("the kind %q came out", kind) })
	if err != nil {
		t.Fatalf("what came out does not read back: %v\n%s", err, c.Text)
	}
	if got := docs[kindInit].lookText("localAPIEndpoint", "advertiseAddress"); got != "10.0.0.1" {
		t.Errorf("it listens on %q", got)
	}
	if docs[kindInit].text("apiVersion") != docs[kindCluster].text("apiVersion") {
		t.Errorf("two versions of the API:\n%s", c.Text)
	}
	h.Address = "10.0.0.2"
	j, err := Join(in, h, ticketOfTests)
	if err != nil {
		if !errors.Is(err, ErrInput) && !errors.Is(err, ErrVersion) {
			t.Fatalf("untyped error: %v", err)
		}
		return
	}
	docs, err = parseDocuments("output", j.Text, func(string) {})
	if err != nil || docs[kindJoin].lookText("discovery", "bootstrapToken", "token") != "abcdef.0123456789abcdef" || docs[kindJoin].look("discovery", "file") != nil {
		t.Errorf("the join is\n%s\n%v", j.Text, err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"apiVersion: {{.KubeadmAPI}}\nkind: ClusterConfiguration\napiServer:\n  certSANs:\n  {{range .CertSANS -}}\n  - {{.}}\n  {{end -}}\n  extraArgs:\n    a: '\"10\"'\n",
		"kind: ClusterConfiguration\nnetworking: {podSubnet: \"{{.PodCIDR}}\"}\nkubernetesVersion: v1.20.4",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer: {extraArgs: [{name: a, value: 1}]}\n",
		"{{printf \"%s\" .VIP | html | js}}", "networking: 1\napiServer: [x]", "a: &a [*a]", "\"\\\"$x`", "---\nkind: ClusterConfiguration\n---",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		holds(t, Input{Rootfs: fstest.MapFS{tmplCluster: {Data: text}, "Metadata": {Data: []byte(`{"version":"v1.28.0"}`)}}, Cluster: hosts(2, 0)})
	})
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(ackYAML), "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: {extraArgs: {a: 1}}")
	f.Add([]byte(strings.ReplaceAll(ackYAML, "v1beta2", "v1beta3")), "apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\nnodeRegistration: {taints: [], kubeletExtraArgs: {node-ip: 1.1.1.1}}")
	f.Add([]byte("apiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\ndiscovery: {file: {}}\ncontrolPlane: 1"), "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 9999999999999")
	f.Add([]byte("kind: KubeProxyConfiguration\napiVersion: a\nmode: ipvs\nipvs: {excludeCIDRs: 1}"), "")
	f.Fuzz(func(t *testing.T, image []byte, given string) {
		in := Input{Rootfs: fstest.MapFS{ConfigPath: {Data: image}}, Cluster: hosts(2, 0)}
		if given != "" {
			in.Cluster.Kubeadm = []cluster.Document{{Text: given, Source: "Clusterfile:1"}}
		}
		in.Cluster.Hosts[0].Taints = []string{"node-role.kubernetes.io/master:NoSchedule-", "a=b:NoSchedule"}
		holds(t, in)
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"version":"v1.20.4-aliyun.1","arch":"x86_64"}`))
	f.Add([]byte("version: v1.22.15\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseMetadata(data); err != nil && !errors.Is(err, ErrInput) {
			t.Fatalf("untyped error: %v", err)
		} else if err == nil && m.Version != "" {
			if _, err := ParseVersion(m.Version); err != nil {
				t.Fatalf("%q: %v", m.Version, err)
			}
		}
	})
}
