package site

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// containerd runs a real one in a folder of its own until the test ends.
func containerd(t *testing.T) (ctr func(args ...string) (string, error)) {
	t.Helper()
	for _, n := range []string{"containerd", "ctr"} {
		if _, err := exec.LookPath(n); err != nil {
			t.Skip("needs " + n)
		}
	}
	dir, err := os.MkdirTemp("", "ctrd") // sockets want short paths
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "c.sock")
	put1(t, dir+"/config.toml", fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		dir+"/root", dir+"/state", socket, socket+".t"))
	cmd := exec.Command("containerd", "-c", dir+"/config.toml", "-l", "error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("containerd: %s", log.String())
		}
	})
	ctr = func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "ctr", append([]string{"-a", socket}, args...)...).CombinedOutput()
		return string(out), err
	}
	eventually(t, func() error {
		_, err := ctr("version")
		return err
	})
	return ctr
}

// A real containerd finds images under all their names with what we wrote,
// with and without a password, and hears at once of one that is not there.
func TestContainerdPullsWithWhatItIsTold(t *testing.T) {
	ctr := containerd(t)
	f := needFixture(t)
	for _, user := range []string{"", "puller"} {
		s, h := live(t, f, func(o *Options) { o.Registry.Username = user })
		mustPlace(t, s, h, true, f.first)
		mustStart(t, s, h, true)
		if _, err := s.Trust(t.Context(), h, []string{"registry.k8s.io", "quay.io"}); err != nil {
			t.Fatal(err)
		}
		fetch := func(ref string) (string, error) {
			return ctr("content", "fetch", "--hosts-dir", s.p.certs, ref)
		}
		for _, ref := range []string{
			"registry.k8s.io/pause:3.9", "sea.hub:5000/pause:3.9", "sea.hub:5000/registry.k8s.io/pause:3.9",
			fmt.Sprintf("sea.hub:%d/pause:3.9", s.o.Registry.Port),
		} {
			if out, err := fetch(ref); err != nil {
				t.Errorf("user %q: %s: %v\n%s", user, ref, err, out)
			}
		}
		for _, ref := range []string{"quay.io/pause:3.9", "registry.k8s.io/pause:none"} {
			if out, err := fetch(ref); err == nil || !strings.Contains(out, "not found") || strings.Contains(out, "lookup") {
				t.Errorf("user %q: %s: %v\n%s", user, ref, err, out)
			}
		}
		// A server that is down is passed over.
		dead := newSite(t, Options{Servers: []string{"127.0.0.9", "127.0.0.1"}, State: s.o.State, Policy: s.o.Policy, Root: s.o.Root, Registry: s.o.Registry, Listen: "127.0.0.1"})
		if out, err := dead.Trust(t.Context(), h, nil); err != nil || !strings.Contains(out.Detail, "no answer from the registry on 127.0.0.9") {
			t.Errorf("%+v %v", out, err)
		}
		put1(t, s.hostsFile("registry.k8s.io"), string(dead.hostsTOML("registry.k8s.io", dead.o.Servers, func() string {
			c, err := dead.secrets.get(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return c.authorization()
		}())))
		if out, err := fetch("registry.k8s.io/pause:3.9"); err != nil {
			t.Errorf("user %q: with one server down: %v\n%s", user, err, out)
		}
	}
}

// The configuration that we write is one that containerd takes.
func TestContainerdReadsConfigPath(t *testing.T) {
	if _, err := exec.LookPath("containerd"); err != nil {
		t.Skip("needs containerd")
	}
	h := newHost(t, "127.0.0.1")
	for _, config := range []string{"", config16} {
		s := newSite(t, options(t))
		if config != "" {
			put1(t, s.p.containerd, config)
		}
		if f, err := s.nodeFacts(t.Context(), h); err != nil || !f.has("containerd") || f.has("config_path") {
			t.Fatalf("%v %v", f, err)
		}
		if _, _, err := s.ensureConfigPath(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		if f, err := s.nodeFacts(t.Context(), h); err != nil || !f.has("config_path") {
			t.Errorf("containerd does not see config_path in\n%s", get1(t, s.p.containerd))
		}
	}
}
