package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where things of the checkout are, seen from this folder.
const (
	ackdistro = "../../testdata/ackdistro"
	product   = "../../testdata/cnstack-ce/charts/build-cnstack-ce"
	native    = "../../testdata/native"
)

// fixture is made once for all tests.
type fixture struct {
	dir    string // short, for the sake of socket paths
	bundle string // the binary
	key    string // public
	// product is the CNStack stand-in on its base: one platform, so its only
	// index has children that are not in the bundle. native has two whole
	// platforms of everything.
	product, native string
}

var fix fixture

// image is one element of `bundle images -o json`.
type image struct {
	Name      string   `json:"name"`
	Digest    string   `json:"digest"`
	MediaType string   `json:"mediaType"`
	Platforms []string `json:"platforms"`
	Attached  []struct {
		Digest       string `json:"digest"`
		Tag          string `json:"tag"`
		ArtifactType string `json:"artifactType"`
	} `json:"attached"`
}

func (i image) isIndex() bool {
	return strings.Contains(i.MediaType, "index") || strings.Contains(i.MediaType, "manifest.list")
}

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func setUp(m *testing.M) (code int, err error) {
	if fix.dir, err = os.MkdirTemp("", "peers-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(fix.dir) }()
	if fix.bundle = os.Getenv("BUNDLE"); fix.bundle == "" {
		fix.bundle = filepath.Join(fix.dir, "bundle")
		if err := goBuild(fix.bundle, "./cmd/bundle"); err != nil {
			return 1, err
		}
	}
	if err := os.Setenv("BUNDLE_PASSWORD", "peers"); err != nil {
		return 1, err
	}
	// Nothing of this belongs into the user's own cache.
	if err := os.Setenv("XDG_CACHE_HOME", filepath.Join(fix.dir, "cache")); err != nil {
		return 1, err
	}
	if err := makeBundles(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func goBuild(out, pkg string) error {
	goCmd := os.Getenv("GO")
	if goCmd == "" {
		goCmd = "go"
	}
	cmd := exec.Command(goCmd, "build", "-C", "../..", "-o", out, pkg)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// makeBundles starts the upstream registry, builds both bundles from it and
// stops it again: what follows must do without.
func makeBundles() error {
	bin := filepath.Join(fix.dir, "upstream")
	if err := goBuild(bin, "./internal/upstream/cmd/upstream"); err != nil {
		return err
	}
	cmd := exec.Command(bin, "-platform", "linux/amd64,linux/arm64", native+"/images.txt")
	tools := filepath.Join(fix.dir, "tools.txt")
	if err := os.WriteFile(tools, []byte("docker.io/library/shop-tools:1.0\n"), 0o600); err != nil {
		return err
	}
	cmd.Args = append(cmd.Args, tools)
	both, stopBoth, err := startJSON(cmd)
	if err != nil {
		return err
	}
	defer stopBoth()
	one, stopOne, err := startJSON(exec.Command(bin, ackdistro+"/imageList", product+"/imageList"))
	if err != nil {
		return err
	}
	defer stopOne()

	prefix := filepath.Join(fix.dir, "ci")
	fix.key = prefix + ".pub"
	base := filepath.Join(fix.dir, "ackdistro.tar.zst")
	fix.product = filepath.Join(fix.dir, "cnstack-ce.tar.zst")
	fix.native = filepath.Join(fix.dir, "shop.tar.zst")
	for _, args := range [][]string{
		{"keygen", "-o", prefix},
		{"build", ackdistro, "--name", "ackdistro", "--version", "v1.20.4-ack-2", "--key", prefix + ".key",
			"--platform", "linux/amd64", "--mirror", "*=" + one, "-o", base},
		{"build", product, "--name", "cnstack-ce", "--version", "1.1.0", "--key", prefix + ".key", "--from", "bundle:" + base,
			"--platform", "linux/amd64", "--mirror", "*=" + one, "-o", fix.product},
		{"build", native, "--key", prefix + ".key",
			"--platform", "linux/amd64,linux/arm64", "--mirror", "*=" + both, "-o", fix.native},
		{"verify", fix.product, "--key", fix.key},
		{"verify", fix.native, "--key", fix.key},
	} {
		if out, err := exec.Command(fix.bundle, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("bundle %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// startJSON starts a server that prints {"addr":…} when it is ready, and gives
// the address and what stops it.
func startJSON(cmd *exec.Cmd) (addr string, stop func(), err error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = stdin.Close()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready struct {
		Addr string `json:"addr"`
	}
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("%s did not start: %w\n%s%s", cmd.Path, err, line, &stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return ready.Addr, stop, nil
}

// need skips the test where a tool is missing.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed; install-tools.sh gets it", tool)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
}

// run gives the standard output of a command that must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

// try is run for commands that may fail; the error holds what was printed.
func try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w\n%s%s", err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// runPiped feeds what `zstd -dc file` gives to a command.
func runPiped(t *testing.T, file, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	unzstd := exec.CommandContext(ctx, "zstd", "-dc", file)
	cmd := exec.CommandContext(ctx, name, args...)
	pipe, err := unzstd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = pipe
	if err := unzstd.Start(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("zstd -dc %s | %s %s: %v\n%s", filepath.Base(file), name, strings.Join(args, " "), err, out)
	}
	_, _ = io.Copy(io.Discard, pipe)
	if err := unzstd.Wait(); err != nil {
		t.Errorf("zstd -dc %s: %v", filepath.Base(file), err)
	}
	if t.Failed() {
		t.FailNow()
	}
	return string(out)
}

func images(t *testing.T, bundle string) []image {
	t.Helper()
	var out []image
	if err := json.Unmarshal([]byte(run(t, fix.bundle, "images", bundle, "-o", "json")), &out); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no images", bundle)
	}
	return out
}

// serve runs `bundle serve` until the test ends and gives its address.
func serve(t *testing.T, bundles ...string) string {
	t.Helper()
	args := append([]string{"serve"}, bundles...)
	args = append(args, "--key", fix.key, "--addr", "127.0.0.1:0", "-o", "json")
	addr, stop, err := startJSON(exec.Command(fix.bundle, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

// shortDir is a temporary folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(fix.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// greeting is what an image prints when it runs.
func greeting(name string) string {
	_, hostless, _ := strings.Cut(name, "/")
	return "hello from " + hostless + " (linux/amd64)"
}
