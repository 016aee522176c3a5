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
	t.Run("one file", func(t *testing.T) { killBuilds(t, &k, dir, args, 20, start, finish) })
	t.Run("volumes", func(t *testing.T) { killBuilds(t, &k, dir, append(args, "--volume-size", "1MB"), 8, start, finish) })
}

// made gives the files of a bundle in dir, one or several.
func made(t *testing.T, dir, name string) (files []string, content []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, name+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		p, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, p...)
	}
	return files, content
}

func killBuilds(t *testing.T, k *killer, dir string, args []string, kills int, start func(...string) (*exec.Cmd, *bytes.Buffer), finish func(...string)) {
	args = args[:len(args):len(args)]
	ref := strings.ReplaceAll(t.Name(), "/", "-") + "-reference.tar.zst"
	finish(append(args, "-o", ref)...)
	files, reference := made(t, dir, ref)
	t.Logf("%d files, %d bytes", len(files), len(reference))
	for i := range kills {
		name := fmt.Sprintf("%d.tar.zst", i)
		run := append(args, "-o", name)
		cmd, out := start(run...)
		k.arm(cmd.Process, int64(len(reference))*int64(i)/int64(kills)+1)
		if cmd.Wait() == nil {
			t.Fatalf("build %d was not killed:\n%s", i, out)
		}
		k.mu.Lock()
		killed := k.killed
		k.mu.Unlock()
		if !killed {
			t.Fatalf("build %d ended by itself:\n%s", i, out)
		}
		left, _ := made(t, dir, name)
		for _, f := range left {
			if !strings.HasSuffix(f, ".part") && !strings.HasSuffix(f, ".part.journal") {
				t.Fatalf("build %d was killed and there is a finished file %s", i, f)
			}
		}
		finish(run...)
		now, got := made(t, dir, name)
		if !bytes.Equal(got, reference) || len(now) != len(files) {
			t.Fatalf("build %d, killed and gone on with, differs from an undisturbed one: %v", i, now)
		}
		for _, f := range now {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}
