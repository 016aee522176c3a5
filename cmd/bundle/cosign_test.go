package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestRealCosignImages has the real cosign sign images in every way it knows,
// without any service, and asks a trust policy for them: what cosign signed
// must pass after it went through a bundle, and nothing else.
func TestRealCosignImages(t *testing.T) {
	cosign := os.Getenv("BUNDLE_COSIGN")
	if cosign == "" {
		t.Skip("needs the real cosign: run the tests of test/cosign, or set BUNDLE_COSIGN")
	}
	dir := t.TempDir()
	t.Setenv("BUNDLE_PASSWORD", "secret")
	// It has the referrers API, where cosign puts what it makes today.
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	addr := strings.TrimPrefix(server.URL, "http://")
	run := func(args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, cosign, args...)
		cmd.Dir = dir
		// No docker configuration, and a proxy that nobody answers on for
		// whatever is not loopback.
		cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=secret", "COSIGN_EXPERIMENTAL=1", "HOME="+dir, "DOCKER_CONFIG="+dir,
			"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	bundle := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != want {
			t.Fatalf("bundle %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout.String(), stderr.String())
		}
		return stderr.String()
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"ci", "app", "eve"} {
		bundle(0, "keygen", "-o", at(key))
	}
	run("signing-config", "create", "--out", "none.json")
	offline := []string{"--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false"}
	ways := []struct {
		name, key string
		args      []string
		code      int
	}{
		{"bundle", "app", []string{"--signing-config", "none.json"}, 0},
		{"tag", "app", offline, 0},
		{"referrer", "app", append(offline[:len(offline):len(offline)], "--registry-referrers-mode", "oci-1-1"), 0},
		{"stranger", "eve", []string{"--signing-config", "none.json"}, exitUntrusted},
		{"strangertag", "eve", offline, exitUntrusted},
		{"nobody", "", nil, exitUntrusted},
	}
	build := []string{"build", "--name", "signed", "--version", "1", "--platform", "linux/amd64", "--mirror", "*=" + addr,
		"--key", at("ci.key"), "-o", at("signed.tar.zst"), "--progress", "none"}
	for _, w := range ways {
		build = append(build, "--image", "registry.example.com/"+w.name+"/app:1")
		image := pushImage(t, addr+"/"+w.name+"/app:1")
		if w.key == "" {
			continue
		}
		run(append(append([]string{"sign", "-y", "--key", w.key + ".key"}, w.args...), image)...)
	}
	bundle(0, build...)
	for _, w := range ways {
		text := "apiVersion: bundle/v1\nkind: TrustPolicy\nname: site\nserial: 1\nsigners: {ci: {keyFile: ci.pub}, app: {keyFile: app.pub}}\n" +
			"roles: {build: {signers: [ci]}}\nimages: [{match: [registry.example.com/" + w.name + "/*], signers: [app]}]\n"
		if err := os.WriteFile(at("policy.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stderr := bundle(w.code, "verify", at("signed.tar.zst"), "--policy", at("policy.yaml"), "--trust-state", at("trust.json"), "--progress", "none")
		if w.code != 0 && !strings.Contains(stderr, "image registry.example.com/"+w.name+"/app:1 has 0 of the 1 signature it needs (missing: app)") {
			t.Errorf("%s: %s", w.name, stderr)
		}
	}
}

// pushImage makes an image of linux/amd64 and gives its name by digest.
func pushImage(t *testing.T, to string) string {
	t.Helper()
	img, err := random.Image(4<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return ref.Context().Digest(d.String()).String()
}
