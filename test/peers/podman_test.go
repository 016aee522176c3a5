package peers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// podman gives podman with a storage of its own.
func podman(t *testing.T) []string {
	t.Helper()
	need(t, "podman")
	dir := shortDir(t)
	return []string{"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"),
		"--tmpdir", filepath.Join(dir, "tmp"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"}
}

func names(images []image) []string {
	var out []string
	for _, img := range images {
		out = append(out, img.Name)
	}
	slices.Sort(out)
	return out
}

// sameNames compares what a tool lists with what the bundle holds.
func sameNames(t *testing.T, listed string, want []image) {
	t.Helper()
	got := strings.Fields(listed)
	slices.Sort(got)
	if !slices.Equal(got, names(want)) {
		t.Errorf("%d names were listed, want %d:\n%s\nwant\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(names(want), "\n"))
	}
}

func TestPodmanLoadsAndRuns(t *testing.T) {
	for _, b := range []string{fix.product, fix.native} {
		t.Run(filepath.Base(b), func(t *testing.T) {
			p := podman(t)
			run(t, p[0], append(p[1:], "load", "-q", "-i", b)...)
			sameNames(t, run(t, p[0], append(p[1:], "images", "--format", "{{.Repository}}:{{.Tag}}")...), images(t, b))
			if os.Getuid() != 0 {
				t.Log("not run, for want of root")
				return
			}
			img := images(t, b)[0]
			// The limits keep podman from asking for more than we may have.
			out := run(t, p[0], append(p[1:], "run", "--rm", "--network", "none",
				"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", img.Name)...)
			if strings.TrimSpace(out) != greeting(img.Name) {
				t.Errorf("it printed %q, want %q", out, greeting(img.Name))
			}
		})
	}
}

// Docker before 23 reads no zstd: the file has to be piped through zstd, and
// an image that has such a layer stops it. All others must load.
func TestDockerLoads(t *testing.T) {
	needRoot(t)
	need(t, "dockerd", "docker", "zstd")
	file := fix.product
	if v := run(t, "dockerd", "--version"); strings.Contains(v, "version 20.") || strings.Contains(v, "version 1") {
		file = withoutZstd(t)
	}
	dir := shortDir(t)
	// A containerd of our own, or dockerd would look for the host's.
	ctrd := startContainerd(t)
	sock := filepath.Join(dir, "d.sock")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dockerd", "--data-root", filepath.Join(dir, "root"), "--exec-root", filepath.Join(dir, "exec"),
		"-H", "unix://"+sock, "-p", filepath.Join(dir, "pid"), "--containerd", ctrd.sock,
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs")
	cmd.Stdout, cmd.Stderr = log, log
	startDaemon(t, cmd, sock)
	docker := func(args ...string) []string { return append([]string{"-H", "unix://" + sock}, args...) }
	runPiped(t, file, "docker", docker("load", "-q")...)
	var want []image
	for _, img := range images(t, file) {
		// docker leaves out what it takes for granted.
		img.Name = strings.TrimPrefix(strings.TrimPrefix(img.Name, "docker.io/"), "library/")
		want = append(want, img)
	}
	sameNames(t, run(t, "docker", docker("images", "--format", "{{.Repository}}:{{.Tag}}")...), want)
}

// withoutZstd makes a bundle of the images of the product that have no zstd
// layers, from the product's own bundle.
func withoutZstd(t *testing.T) string {
	t.Helper()
	args := []string{"build", "--name", "old-docker", "--version", "1", "--unsigned", "--platform", "linux/amd64", "--from", "bundle:" + fix.product}
	left := 0
	for _, img := range images(t, fix.product) {
		if !img.isIndex() {
			layout := t.TempDir()
			run(t, fix.bundle, "extract", fix.product, "--to", layout, "--image", img.Name)
			if slices.ContainsFunc(blobsOf(t, layout), func(b []byte) bool { return bytes.Contains(b, []byte("layer.v1.tar+zstd")) }) {
				left++
				continue
			}
		}
		args = append(args, "--image", img.Name)
	}
	if left != 1 {
		t.Errorf("%d images have zstd layers; the fixture has one", left)
	}
	out := filepath.Join(t.TempDir(), "old-docker.tar.zst")
	run(t, fix.bundle, append(args, "-o", out)...)
	return out
}

// blobsOf reads the small blobs of a layout: manifests and configs.
func blobsOf(t *testing.T, layout string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(layout, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 64<<10 {
			out = append(out, data)
		}
	}
	return out
}
