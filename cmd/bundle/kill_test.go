package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bundle/internal/upstream"
	"bundle/manifest"
)

// killer passes blobs through and, once so many of their bytes went out,
// kills the process that downloads them.
type killer struct {
	mu      sync.Mutex
	left    int64
	process *os.Process
	killed  bool
}

func (k *killer) arm(p *os.Process, after int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process, k.left, k.killed = p, after, false
}

func (k *killer) count(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == nil {
		return
	}
	if k.left -= int64(n); k.left <= 0 {
		_ = k.process.Signal(syscall.SIGKILL)
		k.process, k.killed = nil, true
	}
}

func (k *killer) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			w = &countingWriter{ResponseWriter: w, count: k.count}
		}
		next.ServeHTTP(w, r)
	})
}

type countingWriter struct {
	http.ResponseWriter
	count func(n int)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	w.count(n)
	return n, err
}

// TestBuildSurvivesKill kills a build with SIGKILL at twenty points of its
// download, from the first bytes to nearly the last, and wants the build that
// goes on to end in the same bytes as one that nobody disturbed.
func TestBuildSurvivesKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var k killer
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: 1 << 20, Wrap: k.wrap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	var refs []manifest.Reference
	args := []string{"build", "--name", "killed", "--version", "1", "--platform", "linux/amd64",
		"--mirror", "*=" + reg.Addr(), "--key", "ci.key", "--jobs", "3", "--lock", "bundle.lock"}
	for i := range 6 {
		ref, err := manifest.ParseReference(fmt.Sprintf("registry.test/app%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
		args = append(args, "--image", ref.String())
	}
	if _, err := reg.Populate(t.Context(), refs, []string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		t.Helper()
		cmd := exec.Command(exe, args...)
		cmd.Args[0] = "bundle" // testscript's way to be the command
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "BUNDLE_PASSWORD=x", "HOME="+dir)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &out
	}
	finish := func(args ...string) {
		t.Helper()
		if cmd, out := start(args...); cmd.Wait() != nil {
			t.Fatalf("bundle %v:\n%s", args, out)
		}
	}
	finish("keygen", "-o", "ci")
	finish(append(args, "-o", "reference.tar.zst")...)
	reference, err := os.ReadFile(filepath.Join(dir, "reference.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	const kills = 20
	for i := range kills {
		name := fmt.Sprintf("%d.tar.zst", i)
		run := append(args, "-o", name)
		cmd, out := start(run...)
		k.arm(cmd.Process, int64(len(reference))*int64(i)/kills+1)
		if cmd.Wait() == nil {
			t.Fatalf("build %d was not killed:\n%s", i, out)
		}
		k.mu.Lock()
		killed := k.killed
		k.mu.Unlock()
		if !killed {
			t.Fatalf("build %d ended by itself:\n%s", i, out)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Fatalf("build %d was killed and there is a finished file", i)
		}
		finish(run...)
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, reference) {
			t.Fatalf("build %d, killed and gone on with, differs from an undisturbed one", i)
		}
		for _, left := range []string{".part", ".part.journal"} {
			if _, err := os.Stat(filepath.Join(dir, name+left)); err == nil {
				t.Errorf("build %d left %s behind", i, name+left)
			}
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
