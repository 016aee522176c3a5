package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/install/kube"
	"bundle/install/plan"
	"bundle/internal/page"
	"bundle/manifest"
	"bundle/manifest/step"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	p := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference\n%s", name, got)
	}
}

var (
	pause  = digest.FromString("pause")
	proxy  = digest.FromString("proxy")
	config = digest.FromString("config of proxy")
)

func expected() Expected {
	return Expected{
		Time:    time.Date(2026, 1, 2, 11, 4, 5, 0, time.FixedZone("CST", 8*3600)),
		Bundle:  Bundle{Name: "cnstack-ce", Version: "1.1.0", IndexDigest: "sha256:8f1c", Signers: []string{"release.pub"}},
		Cluster: "my-cluster",
		Hosts:   []Host{{"10.0.0.1", []string{"master"}}, {"10.0.0.2", []string{"node"}}},
		Releases: []Release{
			{Namespace: "kube-system", Name: "kube-core"}, {Namespace: "default", Name: "aecp"},
		},
		Images: map[digest.Digest]string{pause: "registry.k8s.io/pause:3.9", proxy: "registry.k8s.io/kube-proxy:v1.28.2", config: "registry.k8s.io/kube-proxy:v1.28.2"},
	}
}

// accepted is a cluster as it should be.
func accepted() State {
	return State{
		State: kube.State{
			Version: "v1.28.2",
			Nodes: []kube.Node{
				{Name: "master-1", Addresses: []string{"10.0.0.1"}, Ready: true, Kubelet: "v1.28.2", OS: "CentOS Linux 7 (Core)", Runtime: "containerd://1.6.20"},
				{Name: "node-1", Addresses: []string{"10.0.0.2", "fd00::2"}, Ready: true, Kubelet: "v1.28.2", OS: "Kylin Linux Advanced Server V10 (Lance)", Runtime: "containerd://1.6.20"},
			},
			Releases: []kube.Release{
				{Namespace: "kube-system", Name: "kube-core", Chart: "kube-core", ChartVersion: "0.1.0", Status: "deployed"},
				{Namespace: "default", Name: "aecp", Chart: "aecp", ChartVersion: "1.5.3", Status: "deployed"},
			},
			Workloads: []kube.Workload{
				{Kind: "DaemonSet", Namespace: "kube-system", Name: "kube-proxy", Done: true, Progress: "2 of 2 nodes are ready"},
				{Kind: "Deployment", Namespace: "default", Name: "web", Done: true, Progress: "1 of 1 replicas are ready"},
			},
			Pods: []kube.Pod{
				{Namespace: "kube-system", Name: "etcd-master-1", Phase: "Running", Containers: []kube.Container{{Name: "etcd", Image: "sea.hub:5000/pause:3.9", ImageID: "sea.hub:5000/pause@" + pause.String(), Ready: true}}},
				{Namespace: "kube-system", Name: "kube-proxy-x", Owned: true, Phase: "Running", Containers: []kube.Container{{Name: "kube-proxy", Image: "kube-proxy:v1.28.2", ImageID: "docker://" + config.String(), Ready: true}}},
				{Namespace: "default", Name: "job-y", Owned: true, Phase: "Succeeded", Containers: []kube.Container{{Name: "job", Image: "kube-proxy:v1.28.2", ImageID: "docker-pullable://sea.hub:5000/kube-proxy@" + proxy.String()}}},
			},
		},
		Ports: []PortAnswer{
			{Namespace: "default", Service: "web", Port: 30088, Host: "10.0.0.1"},
			{Namespace: "default", Service: "web", Port: 30088, Host: "10.0.0.2"},
			{Namespace: "default", Service: "in", Local: true, Port: 30080, Host: "10.0.0.1", Err: "connection refused"},
			{Namespace: "default", Service: "in", Local: true, Port: 30080, Host: "10.0.0.2"},
		},
		Registries: []RegistryAnswer{{Host: "10.0.0.1", Name: "sea.hub:5000", Image: "registry.k8s.io/pause:3.9"}},
	}
}

func write(t *testing.T, r Report) (text, html, raw []byte) {
	t.Helper()
	var a, b bytes.Buffer
	if err := r.Text(&a, true); err != nil {
		t.Fatal(err)
	}
	if err := r.HTML(&b, page.English); err != nil {
		t.Fatal(err)
	}
	j, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return a.Bytes(), b.Bytes(), j
}

// unstyled leaves out how a page looks, which changes more often than what it
// says.
func unstyled(page []byte) []byte {
	page = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAll(page, []byte("<style></style>"))
	return regexp.MustCompile(`sha256-.*?&#39;`).ReplaceAll(page, []byte("sha256-&#39;"))
}

// TestAcceptedClusterPasses in all three forms.
func TestAcceptedClusterPasses(t *testing.T) {
	r := Judge(expected(), accepted())
	if !r.OK || r.Err() != nil || r.Passed != len(r.Items) {
		t.Errorf("ok %v, error %v, %+v", r.OK, r.Err(), r.Items)
	}
	text, page, raw := write(t, r)
	golden(t, "accepted.txt", text)
	golden(t, "accepted.html", unstyled(page))
	golden(t, "accepted.json", raw)
}

// TestEachFaultFailsItsItem breaks one thing at a time.
func TestEachFaultFailsItsItem(t *testing.T) {
	tests := []struct {
		name   string
		breaks func(*Expected, *State)
		item   string
		status Status
		want   string
	}{
		{"a worker is missing", func(e *Expected, _ *State) { e.Hosts = append(e.Hosts, Host{Address: "10.0.0.3"}) },
			ItemNodes, Fail, "the nodes are not those of the inventory, all ready: host 10.0.0.3 is no node of the cluster"},
		{"a node is not ready", func(_ *Expected, s *State) { s.Nodes[1].Ready, s.Nodes[1].Reason = false, "cni plugin not initialized" },
			ItemNodes, Fail, "the nodes are not those of the inventory, all ready: node node-1 (10.0.0.2) is not ready: cni plugin not initialized"},
		{"a stranger", func(_ *Expected, s *State) {
			s.Nodes = append(s.Nodes, kube.Node{Name: "x", Addresses: []string{"10.9.9.9"}})
		},
			ItemNodes, Warning, "the nodes are not those of the inventory, all ready: node x (10.9.9.9) is not in the inventory"},
		{"a release is missing", func(_ *Expected, s *State) { s.Releases = s.Releases[1:] },
			ItemReleases, Fail, "not all releases are deployed: release kube-system/kube-core is not there"},
		{"a release failed", func(_ *Expected, s *State) { s.Releases[0].Status, s.Releases[0].Description = "failed", "timed out" },
			ItemReleases, Fail, "not all releases are deployed: release kube-system/kube-core is failed: timed out"},
		{"a foreign release failed", func(_ *Expected, s *State) {
			s.Releases = append(s.Releases, kube.Release{Namespace: "x", Name: "y", Status: "pending-install"})
		}, ItemReleases, Warning, "not all releases are deployed: release x/y, which the bundle does not install, is pending-install"},
		{"pods are not ready", func(_ *Expected, s *State) {
			s.Workloads[1].Done, s.Workloads[1].Progress, s.Workloads[1].Reason = false, "0 of 1 replicas are ready", "probe failed"
		}, ItemWorkloads, Fail, "not all workloads are rolled out: Deployment default/web: 0 of 1 replicas are ready: probe failed"},
		{"an image is not pulled", func(_ *Expected, s *State) {
			s.Pods[1].Phase = "Pending"
			s.Pods[1].Containers[0] = kube.Container{Name: "kube-proxy", Image: "kube-proxy:v9", Waiting: "ImagePullBackOff", Message: "not\nfound"}
		}, ItemPods, Fail, "not all pods run: pod kube-system/kube-proxy-x, container kube-proxy (kube-proxy:v9): ImagePullBackOff: not found"},
		{"a pod is pending", func(_ *Expected, s *State) { s.Pods[1].Phase, s.Pods[1].Reason = "Pending", "Insufficient cpu" },
			ItemPods, Fail, "not all pods run: pod kube-system/kube-proxy-x is pending: Insufficient cpu"},
		{"a bare pod failed", func(_ *Expected, s *State) { s.Pods[0].Phase = "Failed" },
			ItemPods, Fail, "not all pods run: pod kube-system/etcd-master-1 has failed"},
		{"a replaced pod failed", func(_ *Expected, s *State) { s.Pods[1].Phase, s.Pods[1].Reason = "Failed", "Evicted" },
			ItemPods, Warning, "not all pods run: pod kube-system/kube-proxy-x is failed: Evicted"},
		{"a foreign image", func(_ *Expected, s *State) {
			s.Pods[0].Containers[0].ImageID = "docker.io/library/evil@" + digest.FromString("evil").String()
			s.Pods = append(s.Pods, s.Pods[0])
			s.Pods[3].Name = "second"
		}, ItemImages, Fail, "images run that are not the bundle's: sea.hub:5000/pause:3.9 runs as docker.io/library/evil@" + digest.FromString("evil").String() + ", which is not in the bundle: pod kube-system/etcd-master-1 and 1 more"},
		{"an allowed foreign image", func(e *Expected, s *State) { e.AllowForeign, s.Pods[0].Containers[0].ImageID = true, "sha256:short" },
			ItemImages, Warning, "images run that are not the bundle's: sea.hub:5000/pause:3.9 runs as sha256:short, which is not in the bundle: pod kube-system/etcd-master-1"},
		{"a node port is silent", func(_ *Expected, s *State) { s.Ports[1].Err = "connection refused" },
			ItemNodePorts, Fail, "not all node ports answer: 10.0.0.2:30088 does not answer (service default/web): connection refused"},
		{"a local port answers nowhere", func(_ *Expected, s *State) { s.Ports[3].Err = "connection refused" },
			ItemNodePorts, Fail, "not all node ports answer: 10.0.0.1:30080 does not answer (service default/in): connection refused (and 1 more)"},
		{"nobody dialled", func(_ *Expected, s *State) { s.Ports = nil }, ItemNodePorts, Skipped, "nobody dialled the node ports"},
		{"the registry is down", func(_ *Expected, s *State) { s.Registries[0].Err = "connection refused" },
			ItemRegistry, Fail, "the registry does not answer everywhere: sea.hub:5000 on 10.0.0.1 does not give out registry.k8s.io/pause:3.9: connection refused"},
		{"nobody asked", func(_ *Expected, s *State) { s.Registries = nil }, ItemRegistry, Skipped, "nobody asked the registry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, s := expected(), accepted()
			tt.breaks(&e, &s)
			r := Judge(e, s)
			for _, i := range r.Items {
				if i.ID != tt.item {
					if i.Status != Pass {
						t.Errorf("%+v", i)
					}
					continue
				}
				if i.Status != tt.status || i.Summary != tt.want {
					t.Errorf("%s %q, want %s %q", i.Status, i.Summary, tt.status, tt.want)
				}
				if i.Status != Skipped && (i.Hint == "" || len(i.Evidence) == 0) {
					t.Errorf("no hint or no evidence: %+v", i)
				}
			}
			err := r.Err()
			if r.OK != (tt.status != Fail) || (err == nil) != r.OK {
				t.Errorf("ok %v, error %v", r.OK, err)
			}
			if err != nil && (err.Error() != tt.want || !errors.Is(err, ErrFailed) || err.(interface{ Hint() string }).Hint() == "") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestEverythingWrong in all three forms.
func TestEverythingWrong(t *testing.T) {
	e, s := expected(), accepted()
	s.Nodes[0].Ready, s.Nodes[1].Addresses = false, nil
	s.Releases, s.Workloads[0].Done, s.Workloads[0].Progress = nil, false, "0 of 2 nodes are ready"
	s.Pods[0].Containers[0].Waiting = "CrashLoopBackOff"
	s.Pods[2].Containers[0].ImageID = "sha256:" + strings.Repeat("0", 64)
	s.Ports, s.Registries = nil, nil
	e.Bundle.Signers = nil
	r := Judge(e, s)
	text, page, raw := write(t, r)
	golden(t, "refused.txt", text)
	golden(t, "refused.html", unstyled(page))
	golden(t, "refused.json", raw)
	if err := r.Err(); err == nil || !strings.HasPrefix(err.Error(), "acceptance found 5 things wrong\n  the nodes are not") {
		t.Errorf("error is %v", err)
	}
	var short bytes.Buffer
	if err := r.Text(&short, false); err != nil || bytes.Contains(short.Bytes(), []byte("10.0.0.1:30088")) {
		t.Errorf("%v %s", err, short.String())
	}
}

// TestPageOfHostileNames stays harmless and small whatever a cluster says.
func TestPageOfHostileNames(t *testing.T) {
	const evil = "<script src=//evil.example/x.js></script><img onerror=alert(1)>\x1b[2J\u202e"
	e, s := expected(), State{State: kube.State{Version: evil}}
	e.Cluster, e.Bundle.Name = evil, evil
	for n := range 3000 {
		a := fmt.Sprintf("10.1.%d.%d", n/256, n%256)
		e.Hosts = append(e.Hosts, Host{Address: a, Roles: []string{"node"}})
		s.Nodes = append(s.Nodes, kube.Node{Name: evil + a, Addresses: []string{a}, Kubelet: strings.Repeat("<", 1000), OS: evil, Runtime: evil})
		s.Pods = append(s.Pods, kube.Pod{Namespace: evil, Name: fmt.Sprint(n), Phase: "Pending", Reason: strings.Repeat("é<&", 1000), Containers: []kube.Container{{Image: evil, ImageID: evil + a}}})
	}
	r := Judge(e, s)
	text, page, raw := write(t, r)
	if len(page) > 500<<10 {
		t.Errorf("the page has %d KB", len(page)>>10)
	}
	if len(raw) > 4<<20 {
		t.Errorf("the JSON has %d KB", len(raw)>>10)
	}
	if i := bytes.Index(page, []byte("<script")); i >= 0 || bytes.Contains(page, []byte("<img")) {
		t.Error("the page has elements of the cluster's making")
	}
	for name, out := range map[string][]byte{"text": text, "page": page} {
		if bytes.ContainsRune(out, '\x1b') || bytes.ContainsRune(out, '\u202e') {
			t.Errorf("control characters in the %s", name)
		}
	}
	if r.Items[0].Omitted == 0 || len(r.Items[0].Evidence) != MaxEvidence {
		t.Errorf("%d lines of evidence", len(r.Items[0].Evidence))
	}
}

// TestPageAsksNobody: no request to anywhere, no script, in both languages.
func TestPageAsksNobody(t *testing.T) {
	for lang, words := range map[page.Lang][]string{
		page.English: {`<html lang="en">`, "Acceptance report", "Delivered by", "Customer confirms", "2 nodes of 2 are ready", "Apply the manifests", "Kubefile:17"},
		page.Chinese: {`<html lang="zh-CN">`, "验收报告", "客户方", "2/2 个节点已就绪", "已部署", "Kubefile:17"},
	} {
		r := Judge(expected(), accepted())
		r.Course = course()
		var b bytes.Buffer
		if err := r.HTML(&b, lang); err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`(?i)https?://[^w]|<script|<img|<iframe|@import|url\(|\ssrc=|\shref="[^#d]|\son[a-z]+=`).Find(b.Bytes()); m != nil {
			t.Errorf("the page has %q", m)
		}
		for _, want := range append(words, "prefers-color-scheme: dark", "width=device-width", "2026-01-02 03:04:05 UTC", "sha256:8f1c", pause.String(), "cnstack-ce-01") {
			if !bytes.Contains(b.Bytes(), []byte(want)) {
				t.Errorf("the %s page lacks %q", lang, want)
			}
		}
	}
}

// course is an install that was stopped for a night.
func course() *Course {
	at := func(hour, minute int) time.Time { return time.Date(2026, 1, 1, hour, minute, 0, 0, time.UTC) }
	return &Course{
		Outcome: "ok", User: "root@laptop", Runs: 2, Started: at(10, 0), Finished: at(22, 30),
		Steps: []CourseStep{
			{ID: "preflight", Phase: "preflight", Status: "done", Started: at(10, 0), Finished: at(10, 10), Hosts: []string{"10.0.0.1"}},
			{ID: "cnstack-ce-01", Phase: "cnstack-ce", Kind: "kubectl.apply", Summary: "Apply the manifests", Source: "Kubefile:17", Status: "done", Started: at(10, 5), Finished: at(10, 20), Hosts: []string{"10.0.0.1"}},
			{ID: "cnstack-ce-02", Phase: "cnstack-ce", Status: "skipped", Hosts: []string{"10.0.0.1"}},
			{ID: "acceptance", Phase: "acceptance", Status: "done", Started: at(22, 10), Finished: at(22, 30), Hosts: []string{"10.0.0.1"}},
		},
	}
}

// TestTimelineIsTrue: bars are in the ratio of times, and the night between two
// runs takes no room.
func TestTimelineIsTrue(t *testing.T) {
	lanes, busy := lanesOf(course().Steps)
	if busy != 40*time.Minute {
		t.Errorf("steps ran for %v, want 40 minutes", busy)
	}
	for i, want := range []struct{ start, width float64 }{{0, 25}, {12.5, 37.5}, {0, 0}, {50, 50}} {
		if l := lanes[i]; math.Abs(l.Start-want.start) > 1e-9 || math.Abs(l.Width-want.width) > 1e-9 {
			t.Errorf("%s is drawn from %.2f, %.2f wide; want %.2f, %.2f", l.ID, l.Start, l.Width, want.start, want.width)
		}
	}
	if lanes, _ := lanesOf([]CourseStep{{ID: "x", Status: "done", Started: course().Started, Finished: course().Started}}); lanes[0].Width != 0 {
		t.Errorf("a step of no time at all is %f wide", lanes[0].Width)
	}
}

// TestEverySentenceHasChinese looks for the sentences in the program itself.
func TestEverySentenceHasChinese(t *testing.T) {
	if missing := pageTemplate.Untranslated(); len(missing) > 0 {
		t.Errorf("these words of the page have no Chinese: %q", missing)
	}
	for _, s := range []string{"pass", "fail", "warning", "skipped", "done", "failed", "started", "pending", "left out", "missing", "Ready", "NotReady", "deployed"} {
		if pageTemplate.Word(page.Chinese, s) == s {
			t.Errorf("%q has no Chinese", s)
		}
	}
	found := map[string]bool{}
	for _, format := range phases {
		found[format] = true
	}
	for _, file := range []string{"judge.go", "image.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := ""
			switch f := call.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
			}
			args := call.Args
			switch name {
			case "pass", "fail", "warn", "say", "tell", "skip":
				args = args[:1]
			case "done":
				args = args[1:]
			default:
				return true
			}
			for _, a := range args {
				if lit, ok := a.(*ast.BasicLit); ok {
					s, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					found[s] = true
				}
			}
			return true
		})
	}
	if len(found) < 40 {
		t.Errorf("only %d sentences were found", len(found))
	}
	for s := range found {
		zh, ok := sentences[s]
		if !ok {
			t.Errorf("%q has no Chinese", s)
		}
		if strings.Count(s, "%") != strings.Count(zh, "%") {
			t.Errorf("%q and %q do not have the same parts", s, zh)
		}
	}
	for s := range sentences {
		if !found[s] {
			t.Errorf("nothing says %q", s)
		}
	}
}

// TestReleasesOfThePlan: what is removed again is not expected, what plugins
// install is.
func TestReleasesOfThePlan(t *testing.T) {
	var steps []plan.Step
	for _, s := range step.From([]step.Command{
		{Text: "helm -n kube-system install kube-core charts/kube-core"},
		{Text: "helm -n kube-system install open-local charts/open-local"},
		{Text: "helm install localpv charts/localpv"},
		{Text: "kubectl create ns x"},
		{Text: "helm install aecp charts/aecp"},
		{Text: "helm uninstall -n kube-system open-local"},
	}, "p", "c") {
		steps = append(steps, plan.Step{Step: s})
	}
	want := []Release{{Namespace: "kube-system", Name: "kube-core"}, {Namespace: "default", Name: "localpv"}, {Namespace: "default", Name: "aecp"}}
	if got := ReleasesOf(steps); !slices.Equal(got, want) {
		t.Errorf("releases are %v", got)
	}
	steps = append(steps, plan.Step{Step: manifest.Step{Kind: plan.KindHostScript},
		Script: "#!/bin/bash\nhelm uninstall localpv\n  helm install -n kube-system open-local charts/open-local\n# helm uninstall aecp\n"})
	want = []Release{{Namespace: "kube-system", Name: "kube-core"}, {Namespace: "default", Name: "aecp"}, {Namespace: "kube-system", Name: "open-local"}}
	if got := ReleasesOf(steps); !slices.Equal(got, want) {
		t.Errorf("releases are %v", got)
	}
	bad := plan.Step{Step: manifest.Step{Kind: manifest.StepHelmRelease, Args: map[string]any{"release": 7}}}
	if got := ReleasesOf([]plan.Step{bad}); got != nil {
		t.Errorf("releases are %v", got)
	}
}

func TestDigestOfWhatRuntimesSay(t *testing.T) {
	d := pause.String()
	for id, want := range map[string]digest.Digest{
		"sea.hub:5000/pause@" + d: pause, "docker-pullable://sea.hub:5000/pause@" + d: pause, "docker://" + d: pause, d: pause,
		"": "", "pause:3.9": "", "sha256:abc": "", "x" + d: "", d + "x": "",
	} {
		if got := DigestOf(id); got != want {
			t.Errorf("DigestOf(%q) = %q, want %q", id, got, want)
		}
	}
}

// TestNodePortsAreDialled, UDP aside, on every node.
func TestNodePortsAreDialled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := l.Addr().(*net.TCPAddr).Port
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := gone.Addr().(*net.TCPAddr).Port
	gone.Close()
	services := []kube.Service{
		{Namespace: "a", Name: "web", Ports: []kube.Port{{Protocol: "TCP", NodePort: int32(open)}, {Protocol: "UDP", NodePort: int32(open)}, {Protocol: "TCP"}}},
		{Namespace: "a", Name: "gone", Local: true, Ports: []kube.Port{{NodePort: int32(closed)}}},
	}
	got := DialNodePorts(t.Context(), (&net.Dialer{}).DialContext, []string{"127.0.0.1"}, services, 2)
	want := []PortAnswer{
		{Namespace: "a", Service: "web", Port: open, Host: "127.0.0.1"},
		{Namespace: "a", Service: "gone", Local: true, Port: closed, Host: "127.0.0.1", Err: "connect: connection refused"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("answers are %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := DialNodePorts(ctx, (&net.Dialer{}).DialContext, []string{"127.0.0.1"}, services[:1], 0); got[0].Err != "context canceled" {
		t.Errorf("answers are %+v", got)
	}
	if got := DialNodePorts(t.Context(), nil, nil, nil, 1); got == nil {
		t.Error("no answers look as if nobody had asked")
	}
}
