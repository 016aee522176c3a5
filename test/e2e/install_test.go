package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// install runs the whole install and says how long it took.
func install(t *testing.T, s *Site, more ...string) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := s.must(t.Context(), s.installArgs(more...)...); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("installed in %s", took.Round(time.Second/10))
	return took
}

// newSite boots the hosts, and hands the product's bundle to the operator.
func newSite(t *testing.T, masters, nodes int) *Site {
	t.Helper()
	b := bundles(t)
	s, err := NewSite(newLAN(t, masters+nodes), workshop(t).Bundle, b, masters, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// works checks that the cluster is what the bundle promised.
func works(t *testing.T, s *Site) {
	t.Helper()
	c := Cluster{On: s.LAN.Hosts[0]}
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range s.LAN.Hosts {
		if !nodes[h.Name] {
			t.Errorf("node %s is not Ready: %v", h.Name, nodes)
		}
	}

	releases, err := c.Releases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{
		"kube-system/kube-core", "kube-system/hybridnet",
		"default/localpv", "default/aecp-installer-operator", "default/aecp", "default/cluster-addon-configuration",
	} {
		if releases[r] != "deployed" {
			t.Errorf("release %s is %q, want deployed", r, releases[r])
		}
	}
	if state, ok := releases["kube-system/open-local"]; ok {
		t.Errorf("release kube-system/open-local is %s, but the last command removes it", state)
	}

	promised, err := s.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, d := range promised {
		digests = append(digests, d)
	}
	containers, err := c.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(containers) < 16 {
		t.Errorf("there are only %d containers", len(containers))
	}
	for _, ct := range containers {
		if !ct.Ready {
			t.Errorf("%s on %s is not ready: %s", ct.Pod, ct.Node, ct.Why)
		} else if !slices.Contains(digests, ct.Digest) {
			t.Errorf("%s runs %s with %q, which is not in the bundle", ct.Pod, ct.Image, ct.Digest)
		}
	}

	out, err := s.must(t.Context(), "check", "-f", s.Clusterfile, "-o", "json")
	var report struct {
		OK    bool `json:"ok"`
		Items []struct{ ID, Status, Summary string }
	}
	if err != nil {
		t.Error(err)
	} else if err := json.Unmarshal([]byte(out), &report); err != nil || !report.OK {
		t.Errorf("bundle check says ok: %v (%v)\n%s", report.OK, err, out)
	}
}

// receipt checks that what the operator can hand over is genuine and says what
// was done: every step, a green acceptance, and what runs by its digest.
func receipt(t *testing.T, s *Site) {
	t.Helper()
	out, err := s.must(t.Context(), "verify-receipt", "installed.json", "--key", "operator.pub", s.Files[0], "-o", "json")
	var have struct {
		OK      bool
		Receipt struct {
			Operation, Outcome string
			Cluster            struct {
				Steps      []struct{ ID, Status string }
				Acceptance []struct{ ID, Status string }
				Images     []struct {
					Name, Digest string
					OK           bool
				}
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &have); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := have.Receipt
	if !have.OK || r.Operation != "install" || r.Outcome != "ok" || len(r.Cluster.Steps) < 20 || len(r.Cluster.Acceptance) < 5 || len(r.Cluster.Images) < 10 {
		t.Errorf("the receipt says\n%s", tail(out, 60))
	}
	for _, step := range r.Cluster.Steps {
		if step.Status != "done" && step.Status != "skipped" {
			t.Errorf("the receipt says that step %s is %s", step.ID, step.Status)
		}
	}
	for _, i := range r.Cluster.Images {
		if !i.OK || !strings.HasPrefix(i.Digest, "sha256:") {
			t.Errorf("the receipt says that %s with digest %q is not the bundle's", i.Name, i.Digest)
		}
	}
}

// uiAnswers asks the product's user interface on every host, from where the
// operator is.
func uiAnswers(t *testing.T, s *Site) {
	t.Helper()
	for _, h := range s.LAN.Hosts {
		out, err := s.LAN.Operator(t.Context(), "curl", "-fsS", "-m", "10", "http://"+h.IP+":30088/")
		if err != nil || !strings.Contains(out, "ecp_builder/caas-ui") {
			t.Errorf("the user interface on %s answers %q (%v)", h.Name, out, err)
		}
	}
}

// nothingToDo runs the install again: it must say so and be quick.
func nothingToDo(t *testing.T, s *Site) {
	t.Helper()
	began := time.Now()
	out, err := s.must(t.Context(), s.installArgs()...)
	if err != nil {
		t.Fatal(err)
	}
	if text := out + s.Log.String(); !strings.Contains(text, "nothing to do") {
		t.Errorf("the second install does not say that there is nothing to do:\n%s", text)
	}
	t.Logf("installed again in %s", time.Since(began).Round(time.Second/10))
}

// noWayOut checks that no interface of any host, or of the operator, leads
// anywhere but to the others, and that nobody asked for a name.
func noWayOut(t *testing.T, s *Site) {
	t.Helper()
	links, err := s.LAN.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for ns, names := range links {
		for _, n := range names {
			ours := n == "eth0" || n == "br0" || n == "cni0" || strings.HasPrefix(n, "veth")
			for _, h := range s.LAN.Hosts {
				ours = ours || ns == s.LAN.Namespace() && n == h.Name
			}
			if !ours {
				t.Errorf("%s has the link %s", ns, n)
			}
		}
	}
}

func TestOneHost(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 0)
	// From what changed and what was there already, in the wrong order.
	s.Files = []string{bundles(t).Delta, bundles(t).Base}
	h := s.LAN.Hosts[0]
	before, err := h.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.must(t.Context(), "keygen", "-o", "operator"); err != nil {
		t.Fatal(err)
	}
	install(t, s, "--receipt", "installed.json", "--receipt-key", "operator.key")
	works(t, s)
	receipt(t, s)
	uiAnswers(t, s)
	noWayOut(t, s)
	nothingToDo(t, s)
	began := time.Now()
	if _, err := s.must(t.Context(), "clean", "-f", s.Clusterfile, "--yes"); err != nil {
		t.Fatal(err)
	}
	t.Logf("cleaned in %s", time.Since(began).Round(time.Second/10))
	after, err := h.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := before.Diff(after); len(diff) > 0 {
		t.Errorf("the host is not as it was before:\n%s", strings.Join(diff, "\n"))
	}
	// What is clean can be installed on again.
	install(t, s)
	works(t, s)
}

func TestThreeHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 2)
	// From volumes as they lie on several sticks; nothing joins them.
	s.Files = bundles(t).Volumes
	if err := s.AsSudoer(t.Context()); err != nil {
		t.Fatal(err)
	}
	install(t, s)
	works(t, s)
	uiAnswers(t, s)
	noWayOut(t, s)
	nothingToDo(t, s)
}
