package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"bundle/install/kube"
)

// The child of the tests below installs until it is killed, by its parent or
// by itself at one of its writes to the API server.
func init() {
	dir, ns := os.Getenv("KUBE_TEST_CHART"), os.Getenv("KUBE_TEST_NAMESPACE")
	if dir == "" {
		return
	}
	a := install(ns)
	writes, err := strconv.Atoi(os.Getenv("KUBE_TEST_WRITES"))
	if err != nil {
		a.Wait, a.Values = true, nowhere
	}
	if text := os.Getenv("KUBE_TEST_TEXT"); text != "" {
		a.Set = []string{"text=" + text}
	}
	config, err := os.ReadFile(os.Getenv("KUBECONFIG"))
	if err == nil {
		var c *kube.Cluster
		if c, err = kube.Connect(config, kube.Options{Files: os.DirFS(dir), QPS: -1, Dial: mortal(writes)}); err == nil {
			_, err = c.Run(context.Background(), asStep(a, 300))
		}
	}
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// mortal dials connections that kill the process at a write, 0 is never.
func mortal(writes int) kube.Dialer {
	var n atomic.Int64
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		return &mortalConn{c, &n, int64(writes)}, err
	}
}

type mortalConn struct {
	net.Conn
	n   *atomic.Int64
	max int64
}

func (c *mortalConn) Write(b []byte) (int, error) {
	if c.n.Add(1) == c.max {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
	return c.Conn.Write(b)
}

// child is a process that installs the app.
func child(t *testing.T, ns string, files map[string]string, env ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), "KUBE_TEST_CHART="+dir, "KUBE_TEST_NAMESPACE="+ns, "KUBECONFIG="+cluster.KubeconfigFile()), env...)
	return cmd
}

// killed runs an install that never gets ready in a process of its own, and
// kills it when the release has a status.
func killed(t *testing.T, ns string, files map[string]string, status string) {
	t.Helper()
	cmd := child(t, ns, files)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	eventually(t, "the release to be "+status, func() bool { return strings.HasSuffix(records(t, ns, "app"), status) })
	podOf(t, ns, "app=app", false)
}

// dies runs an install that kills itself at a write, and tells whether it did.
func dies(t *testing.T, ns, text string, writes int) bool {
	t.Helper()
	cmd := child(t, ns, app(nil), "KUBE_TEST_TEXT="+text, fmt.Sprintf("KUBE_TEST_WRITES=%d", writes))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
		t.Fatalf("the child failed: %v\n%s", err, out)
	}
	return true
}

func TestReleaseIsTakenUpWhereverItWasKilled(t *testing.T) {
	for writes, alive := 50, false; !alive; writes += 4 {
		ns := namespace(t)
		c := connect(t, app(nil))
		// First the install, then an upgrade.
		for _, text := range []string{"one", "two"} {
			alive = !dies(t, ns, text, writes)
			left := records(t, ns, "app")
			a := install(ns)
			a.Set = []string{"text=" + text}
			out, err := c.Run(t.Context(), asStep(a, 300))
			if err != nil {
				t.Fatalf("killed at write %d of %s, which left %q: %v", writes, text, left, err)
			}
			t.Logf("killed at write %d of %s (left %q): %s", writes, text, left, out.Detail)
			do(t, c, a, false)
			if got := records(t, ns, "app"); !strings.HasSuffix(got, "deployed") || strings.Contains(got, "pending") {
				t.Errorf("killed at write %d of %s: the revisions are %q", writes, text, got)
			}
			if got := configMap(t, ns, "app").Data["text"]; got != text {
				t.Errorf("killed at write %d of %s: the value is %s", writes, text, got)
			}
		}
	}
}
