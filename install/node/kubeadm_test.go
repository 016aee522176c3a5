package node

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"bundle/install/host"
	"bundle/manifest/cluster"
)

const (
	m0 = "10.0.0.1"
	h2 = "10.0.0.2"
	h3 = "10.0.0.3"
)

func (l *lab) init() (Outcome, error) { return l.n[m0].Init(l.t.Context(), l.hosts[m0]) }

func (l *lab) join(addr string) (Outcome, error) {
	// One operator has one Nodes; here each host has a root of its own, so
	// master0's part is done through master0's.
	return l.n[addr].Join(l.t.Context(), l.hosts[addr], &rooted{l.hosts[m0], l.hosts[addr].root, l.hosts[m0].root})
}

// rooted is a host whose paths begin with another prefix than ours.
type rooted struct {
	*testHost
	from, to string
}

func (r *rooted) move(p string) string { return strings.Replace(p, r.from, r.to, 1) }

func (r *rooted) ReadFile(ctx context.Context, p string, limit int64) ([]byte, error) {
	return r.testHost.ReadFile(ctx, r.move(p), limit)
}

func (r *rooted) WriteFile(ctx context.Context, p string, mode os.FileMode, data []byte) error {
	return r.testHost.WriteFile(ctx, r.move(p), mode, data)
}

func (r *rooted) Run(ctx context.Context, c host.Command) error {
	env := map[string]string{}
	for k, v := range c.Env {
		env[k] = r.move(v)
	}
	c.Env = env
	return r.testHost.Run(ctx, c)
}

func wantRan(t *testing.T, h *testHost, want string) {
	t.Helper()
	if got := h.ran(); got != want {
		t.Errorf("%s ran %q, want %q", h.Name(), got, want)
	}
}

func TestInitMakesAControlPlaneOnce(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	h.put(l.c.Rootfs()+"/statics/audit-policy.yml", "rules")
	l.n[m0].o.Input.Rootfs = os.DirFS(h.file(l.c.Rootfs()))
	o, err := l.init()
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "control plane host-10-0-0-1 of Kubernetes v1.34.4 at apiserver.cluster.local:6443") {
		t.Errorf("%+v", o)
	}
	wantRan(t, h, "init --config")
	if got := h.get("init.yaml"); !strings.Contains(got, "kubernetesVersion: v1.34.4") || !strings.Contains(got, "advertiseAddress: 10.0.0.1") {
		t.Errorf("the configuration is\n%s", got)
	}
	if h.get("etc/kubernetes/audit-policy.yml") != "rules" || h.get("etc/kubernetes/kubeadm.yaml") == "" {
		t.Error("the audit policy or the configuration is not in /etc/kubernetes")
	}
	if h.get(configPath) != "" || !strings.HasPrefix(h.get("modes"), "600 ") {
		t.Errorf("the configuration stays, or was readable: %s", h.get("modes"))
	}
	o, err = l.init()
	must(t, err)
	if o.Changed || !strings.Contains(o.Detail, "was there") {
		t.Errorf("second run: %+v", o)
	}
	wantRan(t, h, "")
}

func TestAnInitThatFailedIsExplainedResetAndTriedAgain(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	h.put("fail-init", recordedPort)
	h.put("var/lib/kubelet/config.json", "login")
	h.put("etc/kubernetes/of-the-image.yaml", "x")
	_, err := l.init()
	if !errors.Is(err, ErrKubeadm) || !strings.Contains(err.Error(), "10.0.0.1: kubeadm init failed: Port-10250: Port 10250 is in use") || !strings.Contains(hintOf(err), "ss -lntp") || !strings.Contains(hintOf(err), h.logs) {
		t.Fatalf("%v (%s)", err, hintOf(err))
	}
	wantRan(t, h, "init --config")
	o, err := l.init()
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "an earlier try had not finished and was reset first") {
		t.Errorf("%+v", o)
	}
	wantRan(t, h, "reset -f, stop kubelet, init --config")
	if h.get("var/lib/kubelet/config.json") != "login" || h.get("etc/kubernetes/of-the-image.yaml") != "x" {
		t.Error("the reset took away what others put there")
	}
}

func TestAnInstallerThatWasCutOffWaitsForItsKubeadm(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	// kubeadm of an earlier run holds the lock, and finishes once we wait.
	h.put(statePath, l.n[m0].stateText(stateStarted, roleInit))
	h.put(lockPath, "")
	hold := exec.Command("flock", h.file(lockPath), "bash", "-c", `echo locked; read -r; printf %s "$DONE" >"$STATE"; cp "$LAB/admin.conf" "$ROOT/etc/kubernetes/"`)
	hold.Env = append(os.Environ(), "DONE="+l.n[m0].stateText(stateDone, roleInit), "STATE="+h.file(statePath), "LAB="+l.dir, "ROOT="+h.root)
	must(t, os.MkdirAll(h.file("etc/kubernetes"), 0o755))
	in, err := hold.StdinPipe()
	must(t, err)
	out, err := hold.StdoutPipe()
	must(t, err)
	must(t, hold.Start())
	_, err = out.Read(make([]byte, 7))
	must(t, err)
	must(t, os.WriteFile(l.nodes+"/host-10-0-0-1", []byte(m0), 0o644))
	h.before = func(c host.Command) {
		if c.Label == "wait for kubeadm of an earlier run" {
			in.Close()
		}
	}
	o, err := l.init()
	must(t, err)
	must(t, hold.Wait())
	if o.Changed {
		t.Errorf("%+v", o)
	}
	wantRan(t, h, "")
}

func TestAKilledInitIsMadeAgain(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	// kubeadm stands still until the installer is gone.
	must(t, exec.Command("mkfifo", h.file("gate")).Run())
	h.fake("kubeadm.real", strings.TrimPrefix(h.get("bin/kubeadm"), "#!/bin/bash\n"))
	h.fake("kubeadm", `if [ "$1" = init ]; then mkdir -p "$ROOT/etc/kubernetes"; touch "$ROOT/etc/kubernetes/kubelet.conf"; echo standing still; read -r <"$ROOT/gate"; fi; exec kubeadm.real "$@"`)
	ctx, cancel := context.WithCancel(t.Context())
	h.before = func(c host.Command) {
		if c.Label == "kubeadm init" {
			go func() {
				for !strings.Contains(l.said(), "standing still") {
					time.Sleep(5 * time.Millisecond)
				}
				cancel()
			}()
		}
	}
	if _, err := l.n[m0].Init(ctx, h); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	h.before = nil
	h.fake("kubeadm", `exec kubeadm.real "$@"`)
	o, err := l.init()
	must(t, err)
	if !strings.Contains(o.Detail, "reset first") {
		t.Errorf("%+v", o)
	}
}

func TestAFinishedClusterIsNeverReset(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	_, err := l.init()
	must(t, err)
	h.ran()
	l.down = true
	h.put("journal", `E1125 10:00:00.000000    1234 run.go:72] "command failed" err="failed to load kubelet config file, path: /var/lib/kubelet/config.yaml"`)
	_, err = l.init()
	if !errors.Is(err, ErrAPI) || !strings.Contains(err.Error(), "etcd is not there") || !strings.Contains(err.Error(), "failed to load kubelet config") {
		t.Errorf("%v", err)
	}
	l.down = false
	must(t, os.Remove(l.nodes+"/host-10-0-0-1"))
	if _, err := l.init(); !errors.Is(err, ErrKubeadm) || hintOf(err) == "" {
		t.Errorf("a node that was deleted: %v", err)
	}
	wantRan(t, h, "")
}

func TestForeignClustersAreLeftAlone(t *testing.T) {
	for name, prepare := range map[string]func(h *testHost){
		"made by hand":       func(h *testHost) { h.put("etc/kubernetes/kubelet.conf", "x") },
		"of another install": func(h *testHost) { h.put(statePath, "state=done\ncluster=other\nrole=init\n") },
	} {
		l := newLab(t, 1, 1)
		h := l.hosts[m0]
		prepare(h)
		if _, err := l.init(); !errors.Is(err, ErrForeign) || hintOf(err) == "" {
			t.Errorf("%s: init: %v", name, err)
		}
		if _, err := l.n[m0].Reset(t.Context(), h); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "nothing was touched") {
			t.Errorf("%s: reset: %v", name, err)
		}
		prepare(l.hosts[h2])
		if _, err := l.join(h2); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: join: %v", name, err)
		}
		wantRan(t, h, "")
		wantRan(t, l.hosts[h2], "")
	}
}

func TestAHostThatLacksSomethingIsToldBeforeKubeadmRuns(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	h.fake("getent", "exit 2")
	if _, err := l.init(); !errors.Is(err, ErrKubeadm) || !strings.Contains(err.Error(), "does not know the address of apiserver.cluster.local") {
		t.Errorf("%v", err)
	}
	wantRan(t, h, "")
	must(t, os.Remove(h.file("bin/kubeadm")))
	if _, err := exec.LookPath("kubeadm"); err == nil {
		t.Skip("this machine has a kubeadm")
	}
	if _, err := l.init(); !errors.Is(err, ErrKubeadm) || !strings.Contains(err.Error(), "no kubeadm") {
		t.Errorf("%v", err)
	}
}

func TestJoin(t *testing.T) {
	l := newLab(t, 2, 1)
	_, err := l.init()
	must(t, err)
	l.hosts[m0].ran()
	o, err := l.join(h3)
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "node host-10-0-0-3") {
		t.Errorf("%+v", o)
	}
	wantRan(t, l.hosts[m0], "token create")
	wantRan(t, l.hosts[h3], "join --config")
	worker := l.hosts[h3].get("join.yaml")
	hash, err := hashOfCA(l.ca)
	must(t, err)
	if strings.Contains(worker, "controlPlane:") || !strings.Contains(worker, hash) || !strings.Contains(worker, "apiServerEndpoint: apiserver.cluster.local:6443") {
		t.Errorf("the worker's configuration is\n%s", worker)
	}
	o, err = l.join(h2)
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "control plane host-10-0-0-2") {
		t.Errorf("%+v", o)
	}
	wantRan(t, l.hosts[m0], "token create, init phase")
	wantRan(t, l.hosts[h2], "join --config, restart kubelet")
	if !strings.Contains(l.hosts[h2].get("etc/kubernetes/kubelet.conf"), "server: https://10.0.0.2:6443") {
		t.Error("the second control plane's kubelet asks the first one's API server")
	}
	for _, addr := range []string{h2, h3} {
		o, err := l.join(addr)
		must(t, err)
		if o.Changed {
			t.Errorf("second join of %s: %+v", addr, o)
		}
		wantRan(t, l.hosts[addr], "")
	}
	// No secret is anywhere but in files that only root could read.
	issued := l.hosts[m0].get("issued")
	said := l.said()
	for _, key := range []string{"token: ", "certificateKey: "} {
		_, rest, ok := strings.Cut(issued, key)
		secret, _, _ := strings.Cut(rest, "\n")
		if !ok || len(secret) < 20 || strings.Contains(said, secret) {
			t.Errorf("the %s%q is in a log or an argument, or was not used", key, secret)
		}
	}
	for _, h := range l.hosts {
		for line := range strings.Lines(h.get("modes")) {
			if !strings.HasPrefix(line, "600 ") {
				t.Errorf("%s: mode of a configuration: %s", h.Name(), line)
			}
		}
		for _, left := range []string{configPath, configPath + ".issue"} {
			if h.get(left) != "" {
				t.Errorf("%s: %s stays", h.Name(), left)
			}
		}
	}
}

func TestManyJoinsNeedOneToken(t *testing.T) {
	l := newLab(t, 1, 1)
	_, err := l.init()
	must(t, err)
	h := l.hosts[m0]
	h.ran()
	first, err := l.n[m0].ticketFor(t.Context(), h, false)
	must(t, err)
	again, err := l.n[m0].ticketFor(t.Context(), h, false)
	must(t, err)
	if first != again {
		t.Error("another token")
	}
	wantRan(t, h, "token create")
	l.n[m0].tickets[false].until = time.Now()
	if again, err = l.n[m0].ticketFor(t.Context(), h, false); err != nil || first == again {
		t.Errorf("an old token is used: %v", err)
	}
}

func TestAJoinThatFailedIsResetAndTriedAgain(t *testing.T) {
	l := newLab(t, 1, 1)
	_, err := l.init()
	must(t, err)
	h := l.hosts[h2]
	h.put("fail-join", recordedKubelet)
	h.put("journal", recordedJournal)
	_, err = l.join(h2)
	if !errors.Is(err, ErrKubeadm) || !strings.Contains(err.Error(), "10.0.0.2: kubeadm join failed: ") || !strings.Contains(err.Error(), "misconfiguration: kubelet cgroup driver") {
		t.Fatalf("%v", err)
	}
	// It had got as far as being known to the cluster.
	must(t, os.WriteFile(l.nodes+"/host-10-0-0-2", []byte(h2), 0o644))
	h.ran()
	o, err := l.join(h2)
	must(t, err)
	if !strings.Contains(o.Detail, "reset first") {
		t.Errorf("%+v", o)
	}
	wantRan(t, h, "reset -f, stop kubelet, join --config")
	// A node that was deleted from the cluster comes back.
	must(t, os.Remove(l.nodes+"/host-10-0-0-2"))
	o, err = l.join(h2)
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "no longer known") {
		t.Errorf("%+v", o)
	}
}

func TestJoinsThatCannotBe(t *testing.T) {
	l := newLab(t, 1, 2)
	_, err := l.init()
	must(t, err)
	must(t, os.WriteFile(l.nodes+"/host-10-0-0-2", []byte("10.9.9.9"), 0o644))
	if _, err := l.join(h2); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "10.9.9.9") {
		t.Errorf("two hosts with one name: %v", err)
	}
	_, err = l.join(h3)
	must(t, err)
	l.c.Hosts[2].Roles = []string{cluster.RoleMaster}
	if _, err := l.join(h3); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "as a worker") {
		t.Errorf("another role: %v", err)
	}
	l.down = true
	if _, err := l.join(h2); !errors.Is(err, ErrAPI) || !strings.Contains(err.Error(), m0) {
		t.Errorf("no API server: %v", err)
	}
}

func TestTokensAreOfTheFormThatKubeadmTakes(t *testing.T) {
	seen := map[cluster.Secret]bool{}
	for range 50 {
		token := randomToken()
		id, secret, ok := strings.Cut(token.Reveal(), ".")
		if !ok || len(id) != 6 || len(secret) != 16 || strings.Trim(id+secret, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || seen[token] {
			t.Errorf("token %q", token.Reveal())
		}
		seen[token] = true
	}
}
