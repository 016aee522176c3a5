package site

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bundle/archive"
	"bundle/install/host"
	"bundle/internal/upstream"
	"bundle/manifest"
)

// fixture is what is made once: the real program, and bundles made by it.
type fixture struct {
	dir, program, key, otherKey string
	first, second               Source
}

var (
	madeDir string
	made    = sync.OnceValues(makeFixture)
)

func TestMain(m *testing.M) {
	code := m.Run()
	if madeDir != "" {
		_ = os.RemoveAll(madeDir)
	}
	os.Exit(code)
}

func makeFixture() (*fixture, error) {
	dir, err := os.MkdirTemp("", "site-test-")
	if err != nil {
		return nil, err
	}
	madeDir = dir
	f := &fixture{dir: dir, program: filepath.Join(dir, "bundle"), key: filepath.Join(dir, "ci.pub"), otherKey: filepath.Join(dir, "other.pub")}
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "BUNDLE_PASSWORD=x", "HOME="+dir)
		if name == "go" {
			cmd.Env = os.Environ()
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
		}
		return nil
	}
	// BUNDLE is a program that is built already, as for the other tests.
	if p := os.Getenv("BUNDLE"); p != "" {
		f.program = p
	} else if err := run("go", "build", "-o", f.program, "bundle/cmd/bundle"); err != nil {
		return nil, err
	}
	ctx := context.Background()
	reg, err := upstream.Start(ctx, upstream.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = reg.Close() }()
	var refs []manifest.Reference
	for _, n := range []string{"registry.k8s.io/pause:3.9", "quay.io/tools/one:1"} {
		ref, err := manifest.ParseReference(n)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	if _, err := reg.Populate(ctx, refs, []string{"linux/amd64"}); err != nil {
		return nil, err
	}
	for _, k := range []string{"ci", "other"} {
		if err := run(f.program, "keygen", "-o", filepath.Join(dir, k)); err != nil {
			return nil, err
		}
	}
	for i, ref := range refs {
		name := filepath.Join(dir, fmt.Sprintf("%d.tar.zst", i))
		if err := run(f.program, "build", "--image", ref.String(), "--name", fmt.Sprintf("b%d", i), "--version", "1", "--platform", "linux/amd64",
			"--mirror", "*="+reg.Addr(), "--key", filepath.Join(dir, "ci.key"), "-o", name); err != nil {
			return nil, err
		}
		src, err := source(name, fmt.Sprintf("b%d", i))
		if err != nil {
			return nil, err
		}
		if f.first.Path == "" {
			f.first = src
		} else {
			f.second = src
		}
	}
	return f, nil
}

func source(name, called string) (Source, error) {
	r, err := archive.Open(name)
	if err != nil {
		return Source{}, err
	}
	defer func() { _ = r.Close() }()
	return Source{Path: name, Name: called, Version: "1", Index: r.IndexDigest(), Size: r.Size()}, nil
}

func needFixture(t *testing.T) *fixture {
	t.Helper()
	needRoot(t)
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command, to build the program")
	}
	f, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are worked on as root")
	}
}

// testHost is this machine, seen as a host whose files lie in a folder.
type testHost struct {
	host.Host
	// bin stands first in the PATH of scripts.
	bin string
	// far makes it a machine that files have to be uploaded to.
	far bool
	// between, if set, runs before every script.
	between func(host.Command)

	mu   sync.Mutex
	runs int
}

func newHost(t *testing.T, name string) *testHost {
	t.Helper()
	needRoot(t)
	h := &testHost{Host: host.Local(name, host.Options{LogDir: t.TempDir()}), far: true, bin: t.TempDir()}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func (h *testHost) Local() bool { return !h.far }

func (h *testHost) Run(ctx context.Context, c host.Command) error {
	h.mu.Lock()
	h.runs++
	h.mu.Unlock()
	if h.between != nil {
		h.between(c)
	}
	c.Script = "export PATH=" + h.bin + ":$PATH\n" + c.Script
	return h.Host.Run(ctx, c)
}

// fake puts a program in front of the host's own.
func (h *testHost) fake(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.bin, name), []byte("#!/bin/bash\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// options are those of a registry on loopback, with its paths below root.
func options(t *testing.T) Options {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(root+"/var/lib", 0o755); err != nil { // as every host has it
		t.Fatal(err)
	}
	return Options{
		Servers: []string{"127.0.0.1"}, Listen: "127.0.0.1", State: filepath.Join(t.TempDir(), "state"), Root: root,
		Policy: Policy{SkipSignature: true},
	}
}

func newSite(t *testing.T, o Options) *Site {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func put1(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get1(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tree lists all files below a folder with mode and content.
func tree(t *testing.T, root string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s", strings.TrimPrefix(name, root), info.Mode())
		if d.Type().IsRegular() {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line += " " + sumOf(b)
		}
		list = append(list, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// golden compares text with a file of testdata; UPDATE=1 writes it anew.
func golden(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		put1(t, name, text)
	}
	if want := get1(t, name); text != want {
		t.Errorf("%s differs:\n%s", name, text)
	}
}
