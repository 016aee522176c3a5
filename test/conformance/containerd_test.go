package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bundle/registry/serve"
)

// TestContainerd lets a real containerd fetch images by the names they had
// upstream, with the server as the mirror of their registry.
func TestContainerd(t *testing.T) {
	if _, err := exec.LookPath("containerd"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs containerd and root")
	}
	dir := t.TempDir()
	tlsConfig, ca, err := serve.OwnCertificate(filepath.Join(dir, "tls"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSample(t)
	addr := listen(t, open(t, s.path), serve.Options{TLS: tlsConfig})

	hosts := filepath.Join(dir, "certs.d", "registry.example")
	if err := os.MkdirAll(hosts, 0o700); err != nil {
		t.Fatal(err)
	}
	// No route to the upstream: its name does not exist.
	toml := fmt.Sprintf("server = \"https://registry.example\"\n[host.\"https://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", addr, ca)
	if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := startContainerd(t, dir)
	for _, ref := range []string{"single", "multi"} {
		out, err := exec.CommandContext(t.Context(), "ctr", "-a", socket, "content", "fetch", "--all-platforms",
			"--hosts-dir", filepath.Dir(hosts), "registry.example/"+repository+":"+ref).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", ref, err, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), "ctr", "-a", socket, "content", "ls", "-q").Output()
	if err != nil {
		t.Fatal(err)
	}
	// All but the attachments, which containerd does not ask for.
	for _, d := range append(s.blobs[:6:6], s.manifests[:3]...) {
		if !strings.Contains(string(out), d) {
			t.Errorf("containerd has not %s", d)
		}
	}
}

// startContainerd runs one of its own in dir until the test ends.
func startContainerd(t *testing.T, dir string) (socket string) {
	t.Helper()
	socket = filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "containerd", "-c", config, "-l", "error")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by us
		if t.Failed() {
			t.Logf("containerd: %s", log.String())
		}
	})
	up, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for {
		// ctr itself waits a while for the socket.
		if exec.CommandContext(up, "ctr", "-a", socket, "version").Run() == nil {
			return socket
		}
		if up.Err() != nil {
			t.Fatal("containerd does not come up")
		}
	}
}
