package web

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/install/check"
	"bundle/install/kube"
	"bundle/internal/page"
)

// site is a cluster of a size that is met: three masters, five workers, and
// what the bundle brings.
func site(well bool) check.Report {
	e := check.Expected{
		Time: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC), Cluster: "site-a",
		Bundle: check.Bundle{Name: "cnstack-ce", Version: "1.1.0", IndexDigest: digest.FromString("index").String(), Signers: []string{"release.pub"}},
		Images: map[digest.Digest]string{},
	}
	s := check.State{State: kube.State{Version: "v1.28.2"}}
	for n := range 8 {
		addr, role := fmt.Sprintf("10.20.0.%d", 11+n), "node"
		if n < 3 {
			role = "master"
		}
		e.Hosts = append(e.Hosts, check.Host{Address: addr, Roles: []string{role}})
		s.Nodes = append(s.Nodes, kube.Node{
			Name: fmt.Sprintf("site-a-%s-%d", role, n+1), Addresses: []string{addr}, Ready: well || n != 6, Reason: "container runtime is down",
			Kubelet: "v1.28.2", OS: "Kylin Linux Advanced Server V10 (Lance)", Runtime: "containerd://1.6.20",
		})
	}
	for _, r := range []struct{ ns, name, version string }{
		{"kube-system", "kube-core", "1.20.4"}, {"kube-system", "hybridnet", "0.1.1"}, {"default", "localpv", "0.1.0"},
		{"default", "aecp-installer-operator", "1.5.3"}, {"default", "aecp", "1.5.3"}, {"default", "cluster-addon-configuration", "0.1.0"},
	} {
		e.Releases = append(e.Releases, check.Release{Namespace: r.ns, Name: r.name})
		s.Releases = append(s.Releases, kube.Release{Namespace: r.ns, Name: r.name, Chart: r.name, ChartVersion: r.version, AppVersion: r.version, Status: "deployed"})
	}
	for i, w := range []struct{ kind, ns, name string }{
		{"DaemonSet", "kube-system", "kube-proxy"}, {"Deployment", "kube-system", "coredns"}, {"DaemonSet", "kube-system", "hybridnet-daemon"},
		{"Deployment", "kube-system", "hybridnet-manager"}, {"Deployment", "kube-system", "hybridnet-webhook"}, {"Deployment", "default", "aecp-installer-operator"},
		{"StatefulSet", "monitoring", "prometheus"}, {"Deployment", "monitoring", "grafana"}, {"StatefulSet", "monitoring", "loki"},
		{"DaemonSet", "monitoring", "node-exporter"}, {"Deployment", "caas", "caas-api"}, {"Deployment", "caas", "caas-ui"},
	} {
		d := digest.FromString(w.name)
		image := "ack-agility-registry.cn-shanghai.cr.aliyuncs.com/ecp_builder/" + w.name + ":v1.5.3.0"
		e.Images[d] = image
		done := well || i != 7
		line := kube.Workload{Kind: w.kind, Namespace: w.ns, Name: w.name, Desired: 2, Ready: 2, Done: done, Progress: "2 of 2 replicas are ready"}
		if !done {
			line.Ready, line.Progress, line.Reason = 0, "0 of 2 replicas are ready", "readiness probe failed: connection refused"
		}
		s.Workloads = append(s.Workloads, line)
		for pod := range 2 {
			id := "sea.hub:5000/" + w.name + "@" + d.String()
			if !well && i == 10 {
				id = "docker.io/library/debug@" + digest.FromString("debug").String()
			}
			s.Pods = append(s.Pods, kube.Pod{Namespace: w.ns, Name: fmt.Sprintf("%s-%d", w.name, pod), Phase: "Running", Containers: []kube.Container{{Name: "main", Image: image, ImageID: id, Ready: true}}})
		}
	}
	for n := range 3 {
		s.Ports = append(s.Ports, check.PortAnswer{Namespace: "caas", Service: "caas-ui", Port: 30088, Host: fmt.Sprintf("10.20.0.%d", 11+n)})
		s.Registries = append(s.Registries, check.RegistryAnswer{Host: fmt.Sprintf("10.20.0.%d", 11+n), Name: "sea.hub:5000", Image: "registry.k8s.io/pause:3.9"})
	}
	r := check.Judge(e, s)
	r.Course = course()
	return r
}

// course is an install in two runs.
func course() *check.Course {
	c := &check.Course{Outcome: "ok", User: "root@jump-01", Runs: 2, Started: time.Date(2026, 3, 13, 14, 2, 0, 0, time.UTC)}
	at := c.Started
	all := []string{"10.20.0.11", "10.20.0.12", "10.20.0.13"}
	for n, s := range []struct {
		id, phase, kind, summary, source string
		took                             time.Duration
	}{
		{"preflight", "preflight", "preflight", "Look at every host: system, disks, ports, clocks", "", 14 * time.Second},
		{"bundle.place", "registry", "bundle.place", "Put the bundle on the masters", "", 412 * time.Second},
		{"registry.start", "registry", "registry.start", "Serve the bundle on the masters", "", 3 * time.Second},
		{"registry.trust", "registry", "registry.trust", "Have every host trust the registry", "", 5 * time.Second},
		{"rootfs.pull", "rootfs", "rootfs.pull", "Put the root file system on every host", "", 38 * time.Second},
		{"kubeadm.init", "kubeadm", "kubeadm.init", "Make the first control plane", "", 95 * time.Second},
		{"kubeadm.join", "kubeadm", "kubeadm.join", "Join the other hosts", "", 151 * time.Second},
		{"ackdistro-01", "ackdistro", "helm.release", "Install or upgrade the Helm release kube-core from charts/kube-core in namespace kube-system", "ackdistro/Kubefile:16", 22 * time.Second},
		{"cnstack-ce-02", "cnstack-ce", "helm.release", "Install or upgrade the Helm release aecp-installer-operator from charts/aecp-installer-operator in namespace default", "Kubefile:17", 64 * time.Second},
		{"cnstack-ce-03", "cnstack-ce", "helm.release", "Install or upgrade the Helm release aecp from charts/aecp in namespace default", "Kubefile:18", 241 * time.Second},
		{"acceptance", "acceptance", "check", "Hold the cluster against what was promised", "", 58 * time.Second},
	} {
		if n == 9 {
			at = at.Add(16 * time.Hour) // the night
		}
		c.Steps = append(c.Steps, check.CourseStep{
			ID: s.id, Phase: s.phase, Kind: s.kind, Summary: s.summary, Source: s.source, Status: "done",
			Started: at, Finished: at.Add(s.took), Hosts: all[:1+n%3], Changed: true,
		})
		at = at.Add(s.took)
	}
	c.Finished = at
	return c
}

// TestAcceptance opens the report that a customer signs, of a cluster that is
// as it should be and of one that is not, in both languages.
func TestAcceptance(t *testing.T) {
	b := browser(t)
	for _, tt := range []struct {
		name  string
		well  bool
		lang  page.Lang
		facts []string
	}{
		{"accepted", true, page.English, []string{"Acceptance report", "accepted", "8 nodes of 8 are ready", "site-a-master-1", "hybridnet-webhook", "Delivered by", "Remarks", "Kubefile:18", "4 min 01 s"}},
		{"accepted-zh", true, page.Chinese, []string{"验收报告", "验收通过", "8/8 个节点已就绪", "客户方", "备注", "签字", "已部署"}},
		{"refused", false, page.English, []string{"not accepted", "container runtime is down", "readiness probe failed", "docker.io/library/debug", "journalctl -u kubelet"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "acceptance.html")
			f, err := os.Create(p)
			must(t, err)
			r := site(tt.well)
			must(t, r.HTML(f, tt.lang))
			must(t, f.Close())
			facts := slices.Clone(tt.facts)
			for _, i := range r.Images {
				facts = append(facts, i.Digest)
			}
			good(t, b, "file://"+p, facts, look{})
		})
	}
}
