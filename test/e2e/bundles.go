package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Where things of the checkout are, seen from this folder.
const (
	testdata     = "../../testdata"
	imageContext = "image"
)

// Workshop is the connected side: it builds and signs the bundles.
type Workshop struct {
	// Bundle is the program under test.
	Bundle string
	// Dir gets the keys and the bundles.
	Dir string
	// Kube, Debian and Images are the programs of test/kube, the folder that
	// base.sh made, and an OCI layout of what writeImages makes.
	Kube, Debian, Images string
}

// Bundles is what crosses the air gap.
type Bundles struct {
	Key     string // public
	Base    string // the cluster image alone
	Product string // the CNStack stand-in on it
	// Delta is the product without what Base holds.
	Delta string
	// Volumes are the product's, each in a folder of its own as on a stick.
	Volumes []string
	// Incomplete is the product without the image of its user interface.
	Incomplete string
}

// Build makes the bundles.
func (w *Workshop) Build(ctx context.Context) (*Bundles, error) {
	base, product := filepath.Join(w.Dir, "context", "base"), filepath.Join(w.Dir, "context", "product")
	if err := w.baseContext(base); err != nil {
		return nil, err
	}
	if err := w.productContext(product); err != nil {
		return nil, err
	}
	app, lacking := filepath.Join(product, "build-cnstack-ce"), filepath.Join(product, "build-lacking")
	if err := withoutImage(app, lacking, "caas-ui"); err != nil {
		return nil, err
	}
	addr, stop, err := w.upstream(ctx, filepath.Join(base, "imageList"), filepath.Join(app, "imageList"))
	if err != nil {
		return nil, err
	}
	defer stop()
	b := &Bundles{
		Key:     filepath.Join(w.Dir, "ci.pub"),
		Base:    filepath.Join(w.Dir, "ackdistro.tar.zst"),
		Product: filepath.Join(w.Dir, "cnstack-ce.tar.zst"),

		Delta:      filepath.Join(w.Dir, "cnstack-ce-delta.tar.zst"),
		Incomplete: filepath.Join(w.Dir, "incomplete.tar.zst"),
	}
	whole := filepath.Join(w.Dir, "volumes.tar.zst")
	key := filepath.Join(w.Dir, "ci.key")
	for _, args := range [][]string{
		{"keygen", "-o", filepath.Join(w.Dir, "ci")},
		{"build", base, "--name", "ackdistro", "--version", "v1.20.4-ack-2", "--dialect", "0.5", "--key", key,
			"--from", "oci:" + w.Images, "--mirror", "*=" + addr, "--kube-version", "v1.34.4", "-o", b.Base},
		{"build", app, "--name", "cnstack-ce", "--version", "1.1.0", "--key", key,
			"--from", "bundle:" + b.Base, "--mirror", "*=" + addr, "--kube-version", "v1.34.4", "-o", b.Product},
		{"build", app, "--name", "cnstack-ce", "--version", "1.1.0", "--key", key, "--base", b.Base,
			"--from", "bundle:" + b.Base, "--mirror", "*=" + addr, "--kube-version", "v1.34.4", "-o", b.Delta},
		{"build", app, "--name", "cnstack-ce", "--version", "1.1.0", "--key", key, "--volume-size", "48MiB",
			"--from", "bundle:" + b.Base, "--mirror", "*=" + addr, "--kube-version", "v1.34.4", "-o", whole},
		{"build", lacking, "--name", "cnstack-ce", "--version", "1.1.0", "--key", key, "--allow-missing",
			"--from", "bundle:" + b.Base, "--mirror", "*=" + addr, "--kube-version", "v1.34.4", "-o", b.Incomplete},
	} {
		if err := w.run(ctx, args...); err != nil {
			return nil, err
		}
	}
	b.Volumes, err = w.carry(whole)
	return b, err
}

// carry moves each volume into a folder of its own.
func (w *Workshop) carry(whole string) ([]string, error) {
	volumes, err := filepath.Glob(whole + ".0*")
	if err != nil {
		return nil, err
	}
	if len(volumes) < 3 {
		return nil, fmt.Errorf("%s has %d volumes, want 3 or more", whole, len(volumes))
	}
	for i, v := range volumes {
		dir := filepath.Join(w.Dir, fmt.Sprintf("stick-%d", i+1))
		to := filepath.Join(dir, filepath.Base(v))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.Rename(v, to); err != nil {
			return nil, err
		}
		volumes[i] = to
	}
	return volumes, nil
}

// run runs bundle with the keys' password.
func (w *Workshop) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, w.Bundle, args...)
	cmd.Env = append(os.Environ(), "BUNDLE_PASSWORD=e2e", "XDG_CACHE_HOME="+filepath.Join(w.Dir, "cache"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("bundle %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// baseContext lays out the cluster image: the templates of this folder, with
// the programs and a chart of the stand-in.
func (w *Workshop) baseContext(dir string) error {
	if err := copyTree(imageContext, dir); err != nil {
		return err
	}
	for _, name := range []string{"kubeadm", "kubelet", "kubectl"} {
		if err := copyFile(filepath.Join(w.Kube, name), filepath.Join(dir, "bin", name)); err != nil {
			return err
		}
	}
	// Typed steps need no helm on the host: whoever calls this one fails.
	if err := os.WriteFile(filepath.Join(dir, "bin/helm"), []byte("#!/bin/sh\necho 'helm was called on the host' >&2\nexit 1\n"), 0o755); err != nil {
		return err
	}
	runtime := filepath.Join(w.Debian, "runtime/usr")
	if err := writeTarGz(filepath.Join(dir, "cri/containerd.tar.gz"), filepath.Join(runtime, "bin/containerd"),
		filepath.Join(runtime, "bin/containerd-shim-runc-v2"), filepath.Join(runtime, "bin/ctr"), filepath.Join(runtime, "sbin/runc")); err != nil {
		return err
	}
	return copyTree(filepath.Join(testdata, "ackdistro/open-local"), filepath.Join(dir, "open-local"))
}

// productContext lays out the CNStack stand-in as it is, but for the settings
// of kubeadm: those of the original are of a release that is long gone.
func (w *Workshop) productContext(dir string) error {
	if err := copyTree(filepath.Join(testdata, "cnstack-ce/charts"), dir); err != nil {
		return err
	}
	return copyFile(filepath.Join(imageContext, "product-kubeadm-cluster-config.yaml.tmpl"),
		filepath.Join(dir, "build-cnstack-ce/kubeadm-cluster-config.yaml.tmpl"))
}

// withoutImage copies a context, but for the line of an image in its list.
func withoutImage(from, to, image string) error {
	if err := copyTree(from, to); err != nil {
		return err
	}
	list := filepath.Join(to, "imageList")
	b, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	var kept []string
	for _, line := range strings.SplitAfter(string(b), "\n") {
		if !strings.Contains(line, image) {
			kept = append(kept, line)
		}
	}
	return os.WriteFile(list, []byte(strings.Join(kept, "")), 0o644)
}

// upstream runs the registry that answers every name of the lists with a
// small image, until stop.
func (w *Workshop) upstream(ctx context.Context, lists ...string) (addr string, stop func(), err error) {
	bin := filepath.Join(w.Dir, "upstream")
	if err := goBuild(ctx, "../..", bin, "./internal/upstream/cmd/upstream"); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, bin, lists...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	// It ends when this pipe does.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = stdin.Close()
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
		return "", nil, fmt.Errorf("the upstream registry does not start: %w\n%s", err, stderr.String())
	}
	return ready.Addr, stop, nil
}

// goBuild compiles a package of the module in dir, without cgo.
func goBuild(ctx context.Context, dir, out, pkg string) error {
	goCmd := os.Getenv("GO")
	if goCmd == "" {
		goCmd = "go"
	}
	cmd := exec.CommandContext(ctx, goCmd, "build", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not compile: %w\n%s", pkg, err, msg)
	}
	return nil
}
