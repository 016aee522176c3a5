package peers

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// containerd is a real one, with a root, state and socket of its own.
type containerd struct{ sock string }

func startContainerd(t *testing.T) containerd {
	t.Helper()
	needRoot(t)
	need(t, "containerd", "ctr", "runc")
	dir := shortDir(t)
	c := containerd{sock: filepath.Join(dir, "c.sock")}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = %q
[ttrpc]
  address = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.sock, c.sock+".ttrpc")
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("containerd", "-c", path)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	startDaemon(t, cmd, c.sock)
	return c
}

// startDaemon waits for the socket and stops the daemon when the test ends.
func startDaemon(t *testing.T, cmd *exec.Cmd, sock string) {
	t.Helper()
	// Without a group of its own the daemon would get our Ctrl-C and leave
	// mounts behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("unix", sock)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v", cmd.Path, err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %v", cmd.Path, err)
		}
	}
}

func (c containerd) args(args ...string) []string {
	return append([]string{"-a", c.sock, "-n", "peers"}, args...)
}

func (c containerd) run(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "ctr", c.args(args...)...)
}

// list gives the images that containerd has, as name → digest.
func (c containerd) list(t *testing.T) map[string]string {
	t.Helper()
	got := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(c.run(t, "images", "ls")), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) > 2 {
			got[f[0]] = f[2]
		}
	}
	return got
}

// has checks that containerd has these images and no others.
func (c containerd) has(t *testing.T, want []image) {
	t.Helper()
	got := c.list(t)
	for _, img := range want {
		if got[img.Name] != img.Digest {
			t.Errorf("%s is %q in containerd, want %s", img.Name, got[img.Name], img.Digest)
		}
		delete(got, img.Name)
	}
	for name := range got {
		t.Errorf("containerd has %s, which is no image of the bundle", name)
	}
}

func (c containerd) greets(t *testing.T, img image) {
	t.Helper()
	out := c.run(t, "run", "--rm", img.Name, "hello")
	if strings.TrimSpace(out) != greeting(img.Name) {
		t.Errorf("%s printed %q, want %q", img.Name, out, greeting(img.Name))
	}
}

// Only real images may be imported, with the digests that upstream had; the
// bundle's own records, charts and signatures must not get in the way.
func TestContainerdImports(t *testing.T) {
	need(t, "zstd")
	c := startContainerd(t)
	runPiped(t, fix.product, "ctr", c.args("images", "import", "-")...)
	all := images(t, fix.product)
	c.has(t, all)
	c.greets(t, all[0])
	// The index whose other platforms are not in the bundle runs, too.
	i := slices.IndexFunc(all, image.isIndex)
	if i < 0 {
		t.Fatal("the bundle has no index")
	}
	c.greets(t, all[i])
}

func TestContainerdImportsAllPlatforms(t *testing.T) {
	need(t, "zstd")
	c := startContainerd(t)
	runPiped(t, fix.native, "ctr", c.args("images", "import", "--all-platforms", "-")...)
	c.has(t, images(t, fix.native))
}

// The way of an air-gapped node: upstream names, answered by `bundle serve`
// through hosts.toml.
func TestContainerdPullsThroughHostsToml(t *testing.T) {
	c := startContainerd(t)
	addr := serve(t, fix.product)
	hosts := filepath.Join(shortDir(t), "certs.d")
	if err := os.MkdirAll(filepath.Join(hosts, "_default"), 0o700); err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("server = \"http://%s\"\n\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", addr, addr)
	if err := os.WriteFile(filepath.Join(hosts, "_default", "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	all := images(t, fix.product)
	for _, img := range all {
		c.run(t, "images", "pull", "--hosts-dir", hosts, img.Name)
	}
	c.has(t, all)
	c.greets(t, all[len(all)-1])
}
