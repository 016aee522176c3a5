package peers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// served is the name under which `bundle serve` answers for an image.
func served(addr string, img image) string {
	_, hostless, _ := strings.Cut(img.Name, "/")
	return addr + "/" + hostless
}

func TestCraneReadsServe(t *testing.T) {
	need(t, "crane")
	addr := serve(t, fix.product)
	all := images(t, fix.product)
	for _, img := range all {
		if got := strings.TrimSpace(run(t, "crane", "digest", served(addr, img))); got != img.Digest {
			t.Errorf("crane digest %s is %s, want %s", img.Name, got, img.Digest)
		}
		// The name with its host answers as well.
		if got := strings.TrimSpace(run(t, "crane", "digest", addr+"/"+img.Name)); got != img.Digest {
			t.Errorf("crane digest of the full name %s is %s, want %s", img.Name, got, img.Digest)
		}
	}
	valid := 0
	for _, img := range all {
		if img.isIndex() || strings.Contains(run(t, "crane", "manifest", served(addr, img)), "+zstd") {
			continue // crane validate reads no zstd, and wants all platforms of an index
		}
		run(t, "crane", "validate", "--remote", served(addr, img))
		valid++
	}
	if valid < len(all)-2 {
		t.Errorf("only %d of %d images were validated", valid, len(all))
	}
	tag := all[0].Name[strings.LastIndex(all[0].Name, ":")+1:]
	repo, _, _ := strings.Cut(served(addr, all[0]), ":"+tag)
	if got := strings.Fields(run(t, "crane", "ls", repo)); !slices.Contains(got, tag) {
		t.Errorf("crane ls %s gives %v, want %s among them", repo, got, tag)
	}
}

// cosign's own tag must come along with the image that it signs.
func TestCraneFindsCosignTag(t *testing.T) {
	need(t, "crane")
	addr := serve(t, fix.product)
	found := 0
	for _, img := range images(t, fix.product) {
		for _, a := range img.Attached {
			if a.Tag == "" {
				continue
			}
			repo := served(addr, img)
			repo = repo[:strings.LastIndex(repo, ":")]
			if got := strings.TrimSpace(run(t, "crane", "digest", repo+":"+a.Tag)); got != a.Digest {
				t.Errorf("%s:%s is %s, want %s", repo, a.Tag, got, a.Digest)
			}
			found++
		}
	}
	if found == 0 {
		t.Error("no image of the bundle is signed; the fixture has one")
	}
}

func TestOrasReadsLayout(t *testing.T) {
	need(t, "oras", "tar", "zstd")
	dir := unpack(t, fix.product)
	plain := filepath.Join(t.TempDir(), "bundle.tar")
	run(t, "zstd", "-q", "-d", fix.product, "-o", plain)
	// oras reads a plain tar in place, as it reads a folder.
	for _, layout := range []string{dir, plain} {
		tags := strings.Fields(run(t, "oras", "repo", "tags", "--oci-layout", layout))
		for _, img := range images(t, fix.product) {
			if !slices.Contains(tags, img.Name) {
				t.Errorf("oras does not list %s in %s", img.Name, filepath.Base(layout))
			}
			// Names with a port or a tag need --oci-layout-path: the shorter
			// --oci-layout LAYOUT:TAG splits at the last colon.
			raw := run(t, "oras", "manifest", "fetch", "--oci-layout-path", layout, img.Name)
			if got := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(raw))); got != img.Digest {
				t.Errorf("oras fetches %s for %s, want %s", got, img.Name, img.Digest)
			}
		}
	}
}

// discovered are the referrers in oras' answer.
type discovered struct {
	Referrers []struct {
		Digest       string `json:"digest"`
		ArtifactType string `json:"artifactType"`
	} `json:"referrers"`
}

func TestOrasDiscoversSBOM(t *testing.T) {
	need(t, "oras", "tar", "zstd")
	addr := serve(t, fix.product)
	dir := unpack(t, fix.product)
	found := 0
	for _, img := range images(t, fix.product) {
		for _, a := range img.Attached {
			if a.ArtifactType == "" || a.Tag != "" {
				continue
			}
			for _, args := range [][]string{
				{"discover", "--format", "json", "--plain-http", served(addr, img)},
				{"discover", "--format", "json", "--oci-layout", dir + "@" + img.Digest},
			} {
				var got discovered
				if err := json.Unmarshal([]byte(run(t, "oras", args...)), &got); err != nil {
					t.Fatal(err)
				}
				if len(got.Referrers) != 1 || got.Referrers[0].Digest != a.Digest || got.Referrers[0].ArtifactType != a.ArtifactType {
					t.Errorf("oras %s finds %+v, want %+v", strings.Join(args, " "), got.Referrers, a)
				}
			}
			found++
		}
	}
	if found == 0 {
		t.Error("no image of the bundle has an SBOM; the fixture has one")
	}
}

func TestSkopeoPullsFromServe(t *testing.T) {
	need(t, "skopeo")
	addr := serve(t, fix.native)
	img := images(t, fix.native)[0]
	dir := t.TempDir()
	run(t, "skopeo", "copy", "-q", "--all", "--src-tls-verify=false", "docker://"+served(addr, img), "dir:"+dir)
	raw := run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+served(addr, img))
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(raw))); got != img.Digest {
		t.Errorf("skopeo sees %s, want %s", got, img.Digest)
	}
	hasChildren(t, dir, raw)
}

// chartsOf is what `bundle charts` lists.
func chartsOf(t *testing.T, bundle string) (list []struct{ Name, Version string }) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, fix.bundle, "charts", bundle, "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatalf("%s has no charts", bundle)
	}
	return list
}

// What helm pulls is the chart that was packed, to the byte, and renders.
func TestHelmPullsFromServe(t *testing.T) {
	need(t, "helm")
	helmHome(t)
	for _, bundle := range []string{fix.product, fix.native} {
		addr := serve(t, bundle)
		for _, c := range chartsOf(t, bundle) {
			pulled, packed := t.TempDir(), t.TempDir()
			run(t, "helm", "pull", "oci://"+addr+"/charts/"+c.Name, "--version", c.Version, "--plain-http", "-d", pulled)
			run(t, fix.bundle, "extract", bundle, "--chart", c.Name+":"+c.Version, "--to", packed)
			name := c.Name + "-" + c.Version + ".tgz"
			got, err := os.ReadFile(filepath.Join(pulled, name))
			if err != nil {
				t.Errorf("helm pull of %s: %v", c.Name, err)
				continue
			}
			want, err := os.ReadFile(filepath.Join(packed, name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("helm pulls other bytes of %s than were packed (%v)", c.Name, err)
			}
			if shown := run(t, "helm", "show", "chart", filepath.Join(pulled, name)); !strings.Contains(shown, "name: "+c.Name+"\n") {
				t.Errorf("helm shows %q for %s", shown, c.Name)
			}
		}
	}
	addr := serve(t, fix.native)
	if out := run(t, "helm", "template", "shop", "oci://"+addr+"/charts/shop", "--plain-http"); !strings.Contains(out, "image: ") {
		t.Errorf("helm renders no image of the chart in the registry:\n%s", out)
	}
	if out, err := try(t, "helm", "pull", "oci://"+addr+"/charts/shop", "--version", "9.9.9", "--plain-http", "-d", t.TempDir()); err == nil {
		t.Errorf("helm pulls a version that is not there: %s", out)
	}
}

// helmHome keeps helm out of the user's folders.
func helmHome(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		t.Setenv(name, t.TempDir())
	}
}

// With TLS of our own and a password, helm is told as the page of the registry says.
func TestHelmPullsWithTLSAndPassword(t *testing.T) {
	need(t, "helm")
	helmHome(t)
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	const hash = "$2b$05$abcdefghijklmnopqrstuupHpIXcOJo1NoZgX.hjwSF2SVi6yU1wa" // of "demo"
	if err := os.WriteFile(users, []byte("demo:"+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, stop, err := startJSON(exec.Command(fix.bundle, "serve", fix.native, "--key", fix.key, "--addr", "127.0.0.1:0",
		"--tls", "auto", "--tls-dir", filepath.Join(dir, "tls"), "--htpasswd", users, "-o", "json"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	ca := filepath.Join(dir, "tls", "ca.crt")
	ref := "oci://" + addr + "/charts/shop"
	if _, err := try(t, "helm", "pull", ref, "--version", "1.0.0", "--ca-file", ca, "-d", t.TempDir()); err == nil {
		t.Error("helm pulls without a password")
	}
	run(t, "helm", "registry", "login", addr, "--username", "demo", "--password", "demo", "--ca-file", ca)
	out := t.TempDir()
	run(t, "helm", "pull", ref, "--version", "1.0.0", "--ca-file", ca, "-d", out)
	if _, err := os.Stat(filepath.Join(out, "shop-1.0.0.tgz")); err != nil {
		t.Error(err)
	}
}

// oras sees by their media types what everything is.
func TestOrasSeesMediaTypes(t *testing.T) {
	need(t, "oras")
	addr := serve(t, fix.native)
	for name, want := range map[string][]string{
		"/charts/shop:1.0.0": {`"application/vnd.cncf.helm.config.v1+json"`, `"application/vnd.cncf.helm.chart.content.v1.tar+gzip"`},
		"/bundle/shop:1.0.0": {`"artifactType":"application/vnd.bundle.v1"`},
	} {
		raw := run(t, "oras", "manifest", "fetch", "--plain-http", addr+name)
		for _, w := range want {
			if !strings.Contains(strings.ReplaceAll(raw, ": ", ":"), w) {
				t.Errorf("oras sees no %s in %s: %s", w, name, raw)
			}
		}
	}
	repos := strings.Fields(run(t, "oras", "repo", "ls", "--plain-http", addr))
	for _, want := range []string{"charts/shop", "bundle/shop", "registry.example.com/shop/web", "shop/web"} {
		if !slices.Contains(repos, want) {
			t.Errorf("oras lists %v, want %s among them", repos, want)
		}
	}
	// A chart comes out of it as the file that it is.
	out := t.TempDir()
	run(t, "oras", "pull", "--plain-http", addr+"/charts/shop:1.0.0", "-o", out)
}
