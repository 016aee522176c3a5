package site

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bundle/install/host"
)

// live is a site with the real program and a port of its own.
func live(t *testing.T, f *fixture, change func(*Options)) (*Site, *testHost) {
	t.Helper()
	o := options(t)
	o.Binary, o.Registry.Port = f.program, freePort(t)
	o.Policy = Policy{Keys: [][]byte{[]byte(get1(t, f.key))}}
	if change != nil {
		change(&o)
	}
	h := newHost(t, "127.0.0.1")
	s := newSite(t, o)
	t.Cleanup(func() {
		if _, err := s.Undo(context.WithoutCancel(t.Context()), h); err != nil {
			t.Error(err)
		}
	})
	return s, h
}

// fetch asks the registry as a client that trusts the CA would.
func fetch(t *testing.T, s *Site, path, user, password string) (int, string) {
	t.Helper()
	c, err := s.secrets.get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pool, MinVersion: tls.VersionTLS12}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.addr("127.0.0.1")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func mustPlace(t *testing.T, s *Site, h host.Host, changed bool, bundles ...Source) Outcome {
	t.Helper()
	out, err := s.Place(t.Context(), h, bundles)
	if err != nil {
		t.Fatal(err)
	}
	if out.Changed != changed {
		t.Fatalf("place: %+v", out)
	}
	return out
}

func mustStart(t *testing.T, s *Site, h host.Host, changed bool) Outcome {
	t.Helper()
	out, err := s.Start(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if out.Changed != changed {
		t.Fatalf("start: %+v", out)
	}
	return out
}

func TestRegistryFromNothingToNothing(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	logs := t.TempDir()
	h.Host = host.Local("127.0.0.1", host.Options{LogDir: logs})
	put1(t, s.p.hosts, "127.0.0.1 localhost\n10.1.1.1 sea.hub\n")
	before := tree(t, s.p.root)

	if out := mustPlace(t, s, h, true, f.first); !strings.Contains(out.Detail, "bundle b0 1 uploaded") {
		t.Errorf("%+v", out)
	}
	out := mustStart(t, s, h, true)
	if !strings.Contains(out.Detail, "nothing starts it when the host boots") {
		t.Errorf("%+v", out)
	}
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/registry.k8s.io/pause/manifests/3.9": 200, "/v2/pause/manifests/3.9": 200,
		"/v2/pause/manifests/3.9?ns=registry.k8s.io": 200, "/v2/pause/manifests/3.9?ns=quay.io": 404,
		"/v2/pause/manifests/3.9?ns=sea.hub:5000": 200, fmt.Sprintf("/v2/pause/manifests/3.9?ns=sea.hub:%d", s.o.Registry.Port): 200,
	} {
		if code, body := fetch(t, s, path, "", ""); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	trusted, err := s.Trust(t.Context(), h, []string{"registry.k8s.io", "docker.io"})
	if err != nil || !trusted.Changed || !strings.Contains(trusted.Detail, `also says "10.1.1.1 sea.hub"`) {
		t.Fatalf("%+v %v", trusted, err)
	}
	for _, n := range []string{"registry.k8s.io", "docker.io", "sea.hub:5000", fmt.Sprintf("sea.hub:%d", s.o.Registry.Port)} {
		if !strings.Contains(get1(t, s.hostsFile(n)), "https://"+s.addr("127.0.0.1")) {
			t.Errorf("containerd would not find %s", n)
		}
	}
	if _, err := exec.LookPath("dockerd"); err == nil {
		t.Log("there is docker here")
	} else if _, err := os.Stat(s.p.dockerDir); err == nil {
		t.Error("there is no docker, and it was set up")
	}

	// Once more: nothing to do, not even for a restart.
	pid := get1(t, s.p.child)
	mustPlace(t, s, h, false, f.first)
	mustStart(t, s, h, false)
	if again, err := s.Trust(t.Context(), h, []string{"registry.k8s.io"}); err != nil || again.Changed {
		t.Errorf("%+v %v", again, err)
	}
	if get1(t, s.p.child) != pid {
		t.Error("the registry was restarted for nothing")
	}
	checkModes(t, s)
	checkLogs(t, s, logs)

	r, err := s.Undo(t.Context(), h)
	if err != nil || !r.Changed || len(r.Left) > 0 || !strings.Contains(r.Detail, "process ") {
		t.Fatalf("%+v %v", r, err)
	}
	if after := tree(t, s.p.root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if c, err := net.Dial("tcp", s.addr("127.0.0.1")); err == nil {
		_ = c.Close()
		t.Error("the registry still runs")
	}
	if again, err := s.Undo(t.Context(), h); err != nil || again.Changed {
		t.Errorf("%+v %v", again, err)
	}
}

// checkModes: keys and passwords are root's alone.
func checkModes(t *testing.T, s *Site) {
	t.Helper()
	for name, want := range map[string]os.FileMode{
		s.p.caKey: 0o600, s.p.caCert: 0o644, s.p.tls + "/server.key": 0o600, s.p.records: 0o600, s.p.placed: 0o600, s.p.binary: 0o755,
	} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// checkLogs: nothing secret is in the log of a host.
func checkLogs(t *testing.T, s *Site, dir string) {
	t.Helper()
	c, err := s.secrets.get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(dir + "/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no log: %v", err)
	}
	secret := []string{strings.Split(string(c.caKey), "\n")[1], base64.StdEncoding.EncodeToString(c.caKey)[:40]}
	if c.user != "" {
		secret = append(secret, c.password.Reveal(), strings.TrimPrefix(c.authorization(), "Basic "))
	}
	for _, n := range names {
		log := get1(t, n)
		for _, x := range secret {
			if strings.Contains(log, x) {
				t.Errorf("%s has a secret in it", n)
			}
		}
	}
}

func TestRegistryWithPassword(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, func(o *Options) { o.Registry.Username = "puller" })
	logs := t.TempDir()
	h.Host = host.Local("127.0.0.1", host.Options{LogDir: logs})
	mustPlace(t, s, h, true, f.first)
	mustStart(t, s, h, true)
	user, password, ca, err := s.Credentials()
	if err != nil || user != "puller" || len(password) < 20 || len(ca) == 0 {
		t.Fatalf("%q %d %v", user, len(password), err)
	}
	if code, _ := fetch(t, s, "/v2/", "", ""); code != 401 {
		t.Errorf("without a password: %d", code)
	}
	if code, _ := fetch(t, s, "/v2/pause/manifests/3.9", user, password.Reveal()); code != 200 {
		t.Errorf("with it: %d", code)
	}
	// Docker is there: the kubelet gets the password, too.
	h.fake(t, "dockerd", "")
	if _, err := s.Trust(t.Context(), h, []string{"registry.k8s.io"}); err != nil {
		t.Fatal(err)
	}
	basic := base64.StdEncoding.EncodeToString([]byte("puller:" + password.Reveal()))
	for _, name := range []string{s.hostsFile("registry.k8s.io"), s.p.kubeletLogin} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(get1(t, name), basic) {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if got := get1(t, s.p.daemon); !strings.Contains(got, "https://"+s.addr("127.0.0.1")) {
		t.Error(got)
	}
	mustStart(t, s, h, false)
	checkLogs(t, s, logs)

	// An operator who has lost the folder goes on with what the server has.
	o := s.o
	o.State = filepath.Join(t.TempDir(), "new")
	other := newSite(t, o)
	if _, err := other.Trust(t.Context(), &testHost{Host: host.Local("127.0.0.9", host.Options{}), bin: h.bin}, nil); err == nil || !strings.Contains(err.Error(), "no certificate authority") {
		t.Errorf("a node before any server: %v", err)
	}
	if out, err := other.Adopt(t.Context(), h); err != nil || !out.Changed {
		t.Fatalf("%+v %v", out, err)
	}
	mustStart(t, other, h, false)
	if _, again, ca2, err := other.Credentials(); err != nil || again != password || string(ca2) != string(ca) {
		t.Errorf("the new operator has other secrets: %v", err)
	}
	info, err := os.Stat(filepath.Join(o.State, "tls", "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}

	// Another password, from the Clusterfile this time.
	o.Registry.Password = "chosen by hand"
	third := newSite(t, o)
	mustStart(t, third, h, true)
	if code, _ := fetch(t, third, "/v2/", "puller", "chosen by hand"); code != 200 {
		t.Errorf("the new password: %d", code)
	}
}

func TestRegistryComesBackWhenItEnds(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	mustPlace(t, s, h, true, f.first)
	mustStart(t, s, h, true)
	pid, err := strconv.Atoi(strings.TrimSpace(get1(t, s.p.child)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c, err := s.secrets.get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.await(t.Context(), h, c, true); err != nil && !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got := strings.TrimSpace(get1(t, s.p.child)); got == strconv.Itoa(pid) {
			return errors.New("it was not started again")
		}
		return s.answers(t.Context(), h, c, s.dial(h))
	})
	// The supervisor is gone, its registry is left: both go.
	sup, _, _ := strings.Cut(get1(t, s.p.pid), " ")
	if pid, err = strconv.Atoi(sup); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// A killed process is gone only when the kernel comes to it.
	eventually(t, func() error {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) > 0 {
			return fmt.Errorf("the supervisor %d goes on", pid)
		}
		return nil
	})
	mustStart(t, s, h, true)
	// A number in the file that is somebody else's process now is not killed.
	put1(t, s.p.pid, fmt.Sprintf("%d 1\n", os.Getpid()))
	put1(t, s.p.child, fmt.Sprintf("%d\n", os.Getpid()))
	out, err := s.run(t.Context(), h, "test", aliveScript+"if alive || child; then echo \"yes x\"; fi\n", s.env(), nil)
	if err != nil || out != "" {
		t.Errorf("another process is taken for ours: %q %v", out, err)
	}
	eventually(t, func() error {
		// Put right what was broken above, for the end of the test.
		v, err := s.service(t.Context(), h)
		if err != nil || !v.mine {
			return fmt.Errorf("%+v %v", v, err)
		}
		return os.WriteFile(s.p.child, []byte(v.pid+"\n"), 0o600)
	})
	killSupervisors(t, s)
}

// killSupervisors ends what the test above took the note of away from.
func killSupervisors(t *testing.T, s *Site) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil || string(b) != "bash\x00"+s.p.supervisor+"\x00" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(n)))
		if err == nil {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			t.Fatal(err)
		}
	}
}

func TestABundleMoreIsServedBesideTheFirst(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	mustPlace(t, s, h, true, f.first)
	mustStart(t, s, h, true)
	mustPlace(t, s, h, true, f.second)
	mustStart(t, s, h, true)
	for _, path := range []string{"/v2/pause/manifests/3.9?ns=registry.k8s.io", "/v2/tools/one/manifests/1?ns=quay.io"} {
		if code, body := fetch(t, s, path, "", ""); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	// Another bundle of the same name takes the first one's place.
	next := f.second
	next.Name = f.first.Name
	mustPlace(t, s, h, true, next)
	mustStart(t, s, h, true)
	if code, _ := fetch(t, s, "/v2/pause/manifests/3.9", "", ""); code != 404 {
		t.Errorf("the old bundle is still served: %d", code)
	}
	left, err := filepath.Glob(s.p.bundles + "/*")
	if err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

func TestStartSaysWhyItCannot(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	_, err := s.Start(t.Context(), h)
	if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "there is no bundle") {
		t.Errorf("without a bundle: %v", err)
	}
	mustPlace(t, s, h, true, f.first)
	l, err := net.Listen("tcp", s.addr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Start(t.Context(), h)
	_ = l.Close()
	if want := fmt.Sprintf("its port is taken by site.test (process %d)", os.Getpid()); !errors.Is(err, ErrPort) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("a taken port: %v", err)
	}
	o := s.o
	o.Listen = "203.0.113.1"
	_, err = newSite(t, o).Start(t.Context(), h)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "the registry ends right after it started: the registry cannot listen on 203.0.113.1") {
		t.Errorf("an address that is not here: %v", err)
	}
	if hint := err.(interface{ Hint() string }).Hint(); !strings.Contains(hint, s.p.log) {
		t.Errorf("hint: %s", hint)
	}
	// What answers is not ours.
	out, err := s.Start(t.Context(), h)
	if err != nil {
		t.Fatalf("%+v %v", out, err)
	}
	o = s.o
	o.State = filepath.Join(t.TempDir(), "x")
	foreign := newSite(t, o)
	c, err := foreign.secrets.get(t.Context(), newHost(t, "10.0.0.1").withoutFiles())
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.answers(t.Context(), h, c, foreign.dial(h)); err == nil || !strings.Contains(err.Error(), "another authority") {
		t.Errorf("another authority: %v", err)
	}
}

// withoutFiles is a host on which there is nothing.
func (h *testHost) withoutFiles() host.Host { return bare{h} }

type bare struct{ host.Host }

func (bare) ReadFile(context.Context, string, int64) ([]byte, error) { return nil, os.ErrNotExist }

func TestTrustNeedsAnAnswer(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	o := options(t)
	o.Registry.Port = freePort(t)
	s := newSite(t, o)
	_, err := s.Trust(t.Context(), h, []string{"docker.io"})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), s.addr("127.0.0.1")) {
		t.Error(err)
	}
	if hint := err.(interface{ Hint() string }).Hint(); !strings.Contains(hint, "firewall") {
		t.Errorf("hint: %s", hint)
	}
	if _, err := s.Trust(t.Context(), h, []string{"../../x"}); !errors.Is(err, ErrOptions) {
		t.Error(err)
	}
}

func TestTwoServersOneAuthority(t *testing.T) {
	f := needFixture(t)
	o := options(t)
	o.Binary, o.Registry.Port = f.program, freePort(t)
	o.Servers = []string{"127.0.0.1", "127.0.0.2"}
	var sites []*Site
	for _, name := range o.Servers {
		mine := o
		mine.Listen, mine.Root = name, t.TempDir()
		s, h := newSite(t, mine), newHost(t, name)
		t.Cleanup(func() {
			if _, err := s.Undo(context.WithoutCancel(t.Context()), h); err != nil {
				t.Error(err)
			}
		})
		mustPlace(t, s, h, true, f.first)
		mustStart(t, s, h, true)
		sites = append(sites, s)
	}
	if get1(t, sites[0].p.caCert) != get1(t, sites[1].p.caCert) || get1(t, sites[0].p.tls+"/server.crt") == get1(t, sites[1].p.tls+"/server.crt") {
		t.Error("the servers should share the authority and nothing else")
	}
	o.Root = t.TempDir()
	node, h := newSite(t, o), newHost(t, "127.0.0.3")
	out, err := node.Trust(t.Context(), h, []string{"docker.io"})
	if err != nil || strings.Contains(out.Detail, "no answer") {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := sites[1].Undo(t.Context(), newHost(t, "127.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if out, err = node.Trust(t.Context(), h, nil); err != nil || !strings.Contains(out.Detail, "no answer from the registry on 127.0.0.2") {
		t.Errorf("one server down: %+v %v", out, err)
	}
}
