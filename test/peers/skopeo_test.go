package peers

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every image must be found by its upstream name, with its upstream bytes.
// skopeo takes no image with Docker's media types out of an OCI layout, ours
// or anybody's; those it reads by way of manifest.json.
func TestSkopeoInspectsEveryName(t *testing.T) {
	need(t, "skopeo")
	for _, b := range []string{fix.product, fix.native} {
		for _, img := range images(t, b) {
			if strings.Contains(img.MediaType, "docker") {
				run(t, "skopeo", "inspect", "docker-archive:"+b+":"+img.Name)
				continue
			}
			raw := run(t, "skopeo", "inspect", "--raw", "oci-archive:"+b+":"+img.Name)
			if got := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(raw))); got != img.Digest {
				t.Errorf("%s: skopeo sees %s, upstream had %s", img.Name, got, img.Digest)
			}
		}
	}
}

func TestSkopeoCopies(t *testing.T) {
	need(t, "skopeo")
	for _, img := range images(t, fix.product)[:5] { // the rest differs in nothing that matters here
		dir := t.TempDir()
		run(t, "skopeo", "copy", "-q", "oci-archive:"+fix.product+":"+img.Name, "dir:"+dir)
		raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Layers []struct {
				Digest string `json:"digest"`
			} `json:"layers"`
		}
		if err := json.Unmarshal(raw, &m); err != nil || len(m.Layers) != 2 {
			t.Fatalf("%s: %v\n%s", img.Name, err, raw)
		}
		for _, l := range m.Layers {
			if _, err := os.Stat(filepath.Join(dir, strings.TrimPrefix(l.Digest, "sha256:"))); err != nil {
				t.Errorf("%s: %v", img.Name, err)
			}
		}
	}
	// To docker-save's form, as somebody with an old docker would.
	img := images(t, fix.product)[0]
	out := filepath.Join(t.TempDir(), "one.tar")
	run(t, "skopeo", "copy", "-q", "oci-archive:"+fix.product+":"+img.Name, "docker-archive:"+out+":"+img.Name)
	if list := run(t, "tar", "-tf", out); !strings.Contains(list, "manifest.json") {
		t.Errorf("the docker archive holds\n%s", list)
	}
}

// With all platforms in the bundle, --all copies an index whole. skopeo writes
// the index anew in its own style, so its digest says nothing; the children
// must all be there.
func TestSkopeoCopiesAllPlatforms(t *testing.T) {
	need(t, "skopeo")
	for _, img := range images(t, fix.native) {
		if strings.Contains(img.MediaType, "docker") {
			continue
		}
		dir := t.TempDir()
		src := "oci-archive:" + fix.native + ":" + img.Name
		run(t, "skopeo", "copy", "-q", "--all", src, "dir:"+dir)
		hasChildren(t, dir, run(t, "skopeo", "inspect", "--raw", src))
	}
}

// hasChildren checks a "dir:" copy of an index.
func hasChildren(t *testing.T, dir, index string) {
	t.Helper()
	var idx struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal([]byte(index), &idx); err != nil || len(idx.Manifests) < 2 {
		t.Fatalf("no index of several platforms: %v\n%s", err, index)
	}
	for _, m := range idx.Manifests {
		_, hex, _ := strings.Cut(m.Digest, ":")
		raw, err := os.ReadFile(filepath.Join(dir, hex+".manifest.json"))
		if err != nil {
			t.Errorf("a platform was not copied: %v", err)
			continue
		}
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(raw)); got != m.Digest {
			t.Errorf("a platform became %s, upstream had %s", got, m.Digest)
		}
	}
}

func TestSkopeoReadsDockerManifest(t *testing.T) {
	need(t, "skopeo")
	for _, img := range images(t, fix.product)[:3] {
		var got struct{ Os, Architecture string }
		out := run(t, "skopeo", "inspect", "docker-archive:"+fix.product+":"+img.Name)
		if err := json.Unmarshal([]byte(out), &got); err != nil || got.Architecture != "amd64" {
			t.Errorf("%s: %v\n%s", img.Name, err, out)
		}
	}
}
