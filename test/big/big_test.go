package big

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	layers    = 20
	layerSize = 512 << 20

	maxBuildRSS = 200 << 20
	maxServeRSS = 100 << 20
	firstAnswer = 100 * time.Millisecond
)

// TestTenGiB builds, verifies and serves a bundle of 10 GiB.
func TestTenGiB(t *testing.T) {
	bundle := os.Getenv("BUNDLE")
	if bundle == "" {
		t.Fatal("BUNDLE must name the binary; run make big")
	}
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	makeLayout(t, layout)
	out := filepath.Join(dir, "big.tar.zst")

	before := used(t, dir)
	rss := run(t, bundle, "build", "--image", "registry.test/big:1", "--from", "oci:"+layout, "--name", "big", "--version", "1",
		"--platform", "linux/amd64", "--unsigned", "--progress", "none", "-o", out)
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	grown := used(t, dir) - before
	t.Logf("build: file %d bytes, disk used grew by %d, RSS %d MiB", info.Size(), grown, rss>>20)
	if rss > maxBuildRSS {
		t.Errorf("build took %d MiB of memory, more than %d", rss>>20, maxBuildRSS>>20)
	}
	if info.Size() < layers*layerSize {
		t.Errorf("the bundle has %d bytes only", info.Size())
	}
	if grown > info.Size()*101/100 {
		t.Errorf("build left %d bytes on the disk for a file of %d", grown, info.Size())
	}

	start := time.Now()
	rss = run(t, bundle, "verify", "--insecure-skip-signature", "--progress", "none", out)
	t.Logf("verify: %s, RSS %d MiB", time.Since(start).Round(time.Millisecond), rss>>20)
	if rss > maxBuildRSS {
		t.Errorf("verify took %d MiB of memory, more than %d", rss>>20, maxBuildRSS>>20)
	}
	serve(t, bundle, out, dir)
}

// serve measures the time from the start of the process to the first manifest,
// pulls one layer and looks at memory and disk.
func serve(t *testing.T, bundle, out, dir string) {
	before := used(t, dir)
	cmd := exec.Command(bundle, "serve", out, "--insecure-skip-signature", "--addr", "127.0.0.1:0", "-o", "json")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at struct{ URL string }
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatal(err)
	}
	listening := time.Since(start)
	asked := time.Now()
	body := get(t, at.URL+"/v2/registry.test/big/manifests/1")
	answered := time.Since(asked)
	t.Logf("serve: listening %s after the start of the process, first manifest %s after that", listening.Round(time.Millisecond), answered.Round(time.Millisecond))
	if answered > firstAnswer {
		t.Errorf("the first manifest took %s, more than %s", answered, firstAnswer)
	}
	var m struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(body, &m); err != nil || len(m.Layers) != layers {
		t.Fatalf("manifest with %d layers: %v", len(m.Layers), err)
	}
	start = time.Now()
	for _, l := range m.Layers[:4] {
		pull(t, at.URL+"/v2/registry.test/big/blobs/"+l.Digest, l.Digest)
	}
	t.Logf("serve: pulled 2 GiB in %s", time.Since(start).Round(time.Millisecond))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	grown := used(t, dir) - before
	t.Logf("serve: RSS %d MiB, disk used grew by %d bytes", rss>>20, grown)
	if rss > maxServeRSS {
		t.Errorf("serve took %d MiB of memory, more than %d", rss>>20, maxServeRSS>>20)
	}
	if grown > 1<<20 {
		t.Errorf("serving wrote %d bytes", grown)
	}
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v", url, res.Status, err)
	}
	return body
}

func pull(t *testing.T, url, digest string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, res.Body); err != nil {
		t.Fatal(err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		t.Fatalf("GET %s gave %s", url, got)
	}
}

// run runs the tool and gives its peak memory in bytes.
func run(t *testing.T, bundle string, args ...string) int64 {
	t.Helper()
	cmd := exec.Command(bundle, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bundle %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// used gives the bytes that the files below dir take on disk.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// makeLayout writes an OCI layout with one image of 20 layers of 512 MiB. The
// layers are sparse but for their first bytes, which tell them apart.
func makeLayout(t *testing.T, dir string) {
	t.Helper()
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	type desc struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	put := func(mediaType string, v any) desc {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(blobs, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return desc{MediaType: mediaType, Digest: "sha256:" + name, Size: int64(len(data))}
	}
	var list []desc
	var diffIDs []string
	for i := range layers {
		d := sparse(t, blobs, i)
		list = append(list, desc{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: d, Size: layerSize})
		diffIDs = append(diffIDs, d)
	}
	config := put("application/vnd.oci.image.config.v1+json", map[string]any{
		"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}})
	manifest := put("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": list})
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "registry.test/big:1"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []desc{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"index.json": string(index), "oci-layout": `{"imageLayoutVersion":"1.0.0"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func sparse(t *testing.T, blobs string, i int) string {
	t.Helper()
	f, err := os.CreateTemp(blobs, "layer")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(layerSize); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	name := hex.EncodeToString(h.Sum(nil))
	if err := os.Rename(f.Name(), filepath.Join(blobs, name)); err != nil {
		t.Fatal(fmt.Errorf("layer %d: %w", i, err))
	}
	return "sha256:" + name
}
