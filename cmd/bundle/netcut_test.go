//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bundle/archive"
	"bundle/internal/authority"
	"bundle/internal/upstream"
	"bundle/manifest"
	"bundle/verify/sign"
)

// TestNetworkCut verifies a bundle that was signed with a certificate where
// there is no network at all, not even loopback: by flags, and by a policy.
func TestNetworkCut(t *testing.T) {
	if err := exec.Command("unshare", "-n", "true").Run(); err != nil {
		t.Skipf("the network cannot be cut here (unshare -n: %v); left out", err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	bin := at("bundle") // testscript's main goes by this name
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	ref, err := manifest.ParseReference("registry.example.com/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Populate(t.Context(), []manifest.Reference{ref}, []string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	build := []string{"build", "--image", ref.String(), "--name", "app", "--version", "1", "--platform", "linux/amd64",
		"--mirror", "*=" + reg.Addr(), "--unsigned", "-o", at("app.tar.zst"), "--progress", "none"}
	if code := Main(t.Context(), build, strings.NewReader(""), &out, &out); code != 0 {
		t.Fatalf("build: exit %d\n%s", code, out.String())
	}
	const who, issuer = "release@example.com", "https://issuer.example.com"
	a := authority.New(t)
	a.Stamps = true
	r, err := archive.Open(at("app.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sign.Canonical(a.Sign(r.IndexBytes(), who, issuer, time.Now().Add(-30*time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := archive.AppendSignature(at("app.tar.zst"), sig); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("root.json", string(a.TrustedRoot()))
	write("other.json", string(authority.New(t).TrustedRoot()))
	write("policy.yaml", "apiVersion: bundle/v1\nkind: TrustPolicy\nname: site\nserial: 1\nsigners:\n"+
		"  release: {identity: "+who+", issuer: \""+issuer+"\", trustedRootFile: root.json}\nroles: {build: {signers: [release]}}\n")
	identity := []string{"--certificate-identity", who, "--certificate-oidc-issuer", issuer, "--trusted-root"}
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, append(identity[:len(identity):len(identity)], at("root.json"))},
		{0, []string{"--policy", at("policy.yaml"), "--trust-state", at("trust.json"), "--remember"}},
		{exitUntrusted, append(identity[:len(identity):len(identity)], at("other.json"))},
	} {
		// Inside, any connection and any name that is looked up would fail;
		// that nothing is there is checked first.
		script := `[ "$(tail -n +3 /proc/net/dev | grep -vc "lo:")" = 0 ] || exit 99; ! ip -o route get 127.0.0.1 2>/dev/null || exit 98; exec "$@"`
		cmd := exec.Command("unshare", append([]string{"-n", "sh", "-c", script, "sh", bin, "verify", at("app.tar.zst"), "--progress", "none"}, c.args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: exit %d, want %d\n%s", c.args, code, c.code, out)
		}
	}
	// What is read from the file alone needs none either; a rehearsal pulls from
	// itself, and says so where there is not even loopback.
	for _, c := range []struct {
		code  int
		setup string
		args  []string
		says  string
	}{
		{0, "true", []string{"plan", at("app.tar.zst"), "-m", "10.0.0.1"}, ""},
		{0, "ip link set lo up", []string{"rehearse", at("app.tar.zst"), "-m", "10.0.0.1"}, "everything is there"},
		{exitFailed, "true", []string{"rehearse", at("app.tar.zst"), "-m", "10.0.0.1"}, "its own port on loopback, bring it up"},
	} {
		if _, err := exec.LookPath("ip"); err != nil && c.setup != "true" {
			t.Logf("loopback cannot be brought up here (%v); left out: %v", err, c.args)
			continue
		}
		script := `[ "$(tail -n +3 /proc/net/dev | grep -vc "lo:")" = 0 ] || exit 99; ` + c.setup + ` || exit 98; exec "$@"`
		cmd := exec.Command("unshare", append([]string{"-n", "sh", "-c", script, "sh", bin}, append(c.args, "--insecure-skip-signature", "--progress", "none")...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%v after %s: exit %d, want %d\n%s", c.args, c.setup, code, c.code, out)
		}
	}
}
