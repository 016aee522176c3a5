package peers

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
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
