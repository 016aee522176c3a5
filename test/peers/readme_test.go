package peers

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What the page in a bundle says is done to the letter, by a shell that has no
// program of ours, and has to end in the same program and the same charts.
func TestReadmeWithoutOurProgram(t *testing.T) {
	need(t, "tar", "zstd", "sha256sum", "openssl")
	dir := t.TempDir()
	b := filepath.Join(dir, "shop-1.0.0.tar.zst")
	addr := serve(t, fix.native)
	run(t, fix.bundle, "build", native, "--key", strings.TrimSuffix(fix.key, ".pub")+".key", "--platform", "linux/"+runtime.GOARCH,
		"--mirror", "*="+addr, "--with-tool", "self", "-o", b)
	key, err := os.ReadFile(fix.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ci.pub"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	var index struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal([]byte(run(t, "tar", "--zstd", "-xOf", b, "index.json")), &index); err != nil {
		t.Fatal(err)
	}
	page := run(t, "tar", "--zstd", "-xOf", b, index.Annotations["vnd.bundle.readme"])

	// Commands are what is indented by four; cosign has a test of its own.
	var script strings.Builder
	for line := range strings.Lines(page) {
		if cmd, ok := strings.CutPrefix(line, "    "); ok && !strings.HasPrefix(cmd, "cosign ") {
			script.WriteString(cmd)
		}
	}
	sh := func() (string, error) {
		cmd := exec.Command("sh", "-eu", "-c", script.String())
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := sh()
	if err != nil || out != "whole\nVerified OK\n" {
		t.Fatalf("the page's commands end with %v:\n%s\n%s", err, out, script.String())
	}
	tool := filepath.Join(dir, "bundle_linux_"+runtime.GOARCH)
	run(t, tool, "verify", b, "--key", fix.key)
	for _, made := range []string{"shop.tgz", "rootfs/manifests"} {
		if _, err := os.Stat(filepath.Join(dir, made)); err != nil {
			t.Error(err)
		}
	}

	// And they tell what is wrong: a part that is missing, one that has changed,
	// an index that was not signed.
	blobs := filepath.Join(dir, "layout", "blobs", "sha256")
	list, err := os.ReadDir(blobs)
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(page, "\n    ")
	only := func(words string) string {
		t.Helper()
		for _, s := range steps {
			if line, _, _ := strings.Cut(s, "\n"); strings.Contains(line, words) {
				return line
			}
		}
		t.Fatalf("the page has no %s", words)
		return ""
	}
	victim := list[len(list)/2].Name()
	if err := os.Rename(filepath.Join(blobs, victim), filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", only("comm -13"))
	cmd.Dir = dir
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), victim) {
		t.Errorf("without blob %s the page finds missing: %q", victim, out)
	}
	if err := os.WriteFile(filepath.Join(blobs, victim), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("sh", "-c", only("sha256sum -c"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), victim) {
		t.Errorf("with another blob %s the page says %v %q", victim, err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "layout", "index.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("sh", "-c", only("openssl dgst"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("another index.json is signed: %s", out)
	}
}

// A registry gives the program and the page to whoever has oras.
func TestOrasPullsTool(t *testing.T) {
	need(t, "oras")
	dir := t.TempDir()
	b := filepath.Join(dir, "shop.tar.zst")
	run(t, fix.bundle, "build", native, "--key", strings.TrimSuffix(fix.key, ".pub")+".key", "--platform", "linux/"+runtime.GOARCH,
		"--mirror", "*="+serve(t, fix.native), "--with-tool", "self", "-o", b)
	out := t.TempDir()
	run(t, "oras", "pull", "--plain-http", serve(t, b)+"/tool/shop:1.0.0", "-o", out)
	want, err := os.ReadFile(fix.bundle)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, "bundle_linux_"+runtime.GOARCH))
	if err != nil || string(got) != string(want) {
		t.Errorf("oras pulls another program than the one that built the bundle (%v)", err)
	}
	if _, err := os.Stat(filepath.Join(out, "README.txt")); err != nil {
		t.Error(err)
	}
}

// A registry that carries the file gives it to oras as it is.
func TestOrasPullsTheFile(t *testing.T) {
	need(t, "oras")
	args := []string{"serve", fix.native, "--key", fix.key, "--addr", "127.0.0.1:0", "--writable", t.TempDir(), "-o", "json"}
	addr, stop, err := startJSON(exec.Command(fix.bundle, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	name := addr + "/releases/cnstack-ce:1.1.0"
	run(t, fix.bundle, "push", fix.product, "--as-file", name, "--key", fix.key)
	if got := run(t, "oras", "manifest", "fetch", "--plain-http", name); !strings.Contains(got, `"artifactType":"application/vnd.bundle.file.v1"`) {
		t.Errorf("oras sees %s", got)
	}
	out := t.TempDir()
	run(t, "oras", "pull", "--plain-http", name, "-o", out)
	want, err := os.ReadFile(fix.product)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, filepath.Base(fix.product)))
	if err != nil || string(got) != string(want) {
		t.Errorf("oras pulls another file than the one that was pushed (%v)", err)
	}
	// And what oras has pushed by these media types, bundle pulls.
	cmd := exec.Command("oras", "push", "--plain-http", "--artifact-type", "application/vnd.bundle.file.v1", addr+"/releases/by-oras:1",
		filepath.Base(fix.product)+":application/vnd.bundle.file.v1.tar+zstd")
	cmd.Dir = filepath.Dir(fix.product)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	back := filepath.Join(t.TempDir(), "back.tar.zst")
	run(t, fix.bundle, "pull", addr+"/releases/by-oras:1", "-o", back)
	run(t, fix.bundle, "verify", back, "--key", fix.key)
}
