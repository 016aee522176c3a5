package upstream_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"archive/tar"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bundle/internal/upstream"
	"bundle/manifest"
)

func refs(t *testing.T, names ...string) []manifest.Reference {
	t.Helper()
	var out []manifest.Reference
	for _, n := range names {
		r, err := manifest.ParseReference(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func start(t *testing.T, o upstream.Options) *upstream.Registry {
	t.Helper()
	r, err := upstream.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func tag(t *testing.T, r *upstream.Registry, ref manifest.Reference) name.Tag {
	t.Helper()
	tag, err := name.NewTag(r.Addr() + "/" + ref.Hostless())
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// readAll reads a layer as it was sent; its reader compares the digest.
func readAll(t *testing.T, l v1.Layer) {
	t.Helper()
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	if _, err := io.Copy(io.Discard, rc); err != nil {
		t.Error(err)
	}
}

// A demo whose images lack a form never shows that the product can carry it.
func TestPopulateMakesEveryForm(t *testing.T) {
	r := start(t, upstream.Options{})
	want := refs(t, "reg.example.com/a/index:1", "docker.io/library/zstd", "quay.io/a/signed:v1",
		"quay.io/a/sbom:v1", "sea.hub:5000/a/docker:v2", "reg.example.com/a/plain:v1")
	made, err := r.Populate(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(want) {
		t.Fatalf("%d images were made of %d references", len(made), len(want))
	}
	base := map[v1.Hash]int{}
	for i, m := range made {
		d, err := remote.Get(tag(t, r, want[i]))
		if err != nil {
			t.Fatalf("%s: %v", want[i], err)
		}
		if d.Digest.String() != m.Digest.String() || d.MediaType != m.MediaType {
			t.Errorf("%s: the registry answers %s %s, Populate said %s %s", want[i], d.MediaType, d.Digest, m.MediaType, m.Digest)
		}
		img, err := d.Image()
		if err != nil {
			t.Fatalf("%s: %v", want[i], err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		h, err := layers[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		base[h]++
		if m.Traits != nil && m.Traits[0] == upstream.TraitZstd {
			if mt, _ := layers[1].MediaType(); mt != types.OCILayerZStd {
				t.Errorf("the zstd image's layer is %s", mt)
			}
		}
		for _, l := range layers {
			readAll(t, l)
		}
	}
	if len(base) != 1 {
		t.Errorf("%d different program layers; images for one platform must share theirs", len(base))
	}

	for i, trait := range []string{upstream.TraitIndex, upstream.TraitZstd, upstream.TraitCosign, upstream.TraitReferrer, upstream.TraitDocker} {
		if len(made[i].Traits) != 1 || made[i].Traits[0] != trait {
			t.Errorf("%s has the traits %v, want %s", want[i], made[i].Traits, trait)
		}
	}
	idx, err := remote.Index(tag(t, r, want[0]))
	if err != nil {
		t.Fatal(err)
	}
	im, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range im.Manifests {
		platforms = append(platforms, d.Platform.String())
	}
	if got := strings.Join(platforms, " "); got != "linux/amd64 unknown/unknown linux/arm64 unknown/unknown" {
		t.Errorf("the index lists %s", got)
	}
	if made[4].MediaType != types.DockerManifestSchema2 {
		t.Errorf("the docker image is %s", made[4].MediaType)
	}
	refsOf, err := remote.Referrers(tag(t, r, want[3]).Digest(made[3].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	rm, err := refsOf.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(rm.Manifests) != 1 || rm.Manifests[0].ArtifactType != "application/spdx+json" {
		t.Errorf("the SBOM is not found by its subject: %+v", rm.Manifests)
	}
}

func TestCosignSignatureVerifies(t *testing.T) {
	r := start(t, upstream.Options{})
	want := refs(t, "x/a", "x/b", "x/signed")
	made, err := r.Populate(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	sigTag := tag(t, r, want[2]).Repository.Tag(strings.Replace(made[2].Digest.String(), ":", "-", 1) + ".sig")
	img, err := remote.Image(sigTag)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(m.Layers[0].Annotations["dev.cosignproject.cosign/signature"])
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(payload), made[2].Digest.String()) {
		t.Errorf("the payload does not name the image: %s", payload)
	}
	pemKey, err := r.CosignPublicKey()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pemKey)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(payload)
	if !ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), sum[:], sig) {
		t.Error("the signature does not verify")
	}
}

// With several platforms every image must have all of them, or a build for
// these platforms is incomplete.
func TestPopulateSeveralPlatforms(t *testing.T) {
	r := start(t, upstream.Options{})
	want := refs(t, "x/a", "x/b", "x/c", "x/d", "x/e", "x/f")
	made, err := r.Populate(t.Context(), want, []string{"linux/amd64", "linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range made {
		if !m.MediaType.IsIndex() {
			t.Errorf("%s is %s", m.Ref, m.MediaType)
			continue
		}
		for _, arch := range []string{"amd64", "arm64"} {
			img, err := remote.Image(tag(t, r, want[i]), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
			if err != nil {
				t.Fatalf("%s %s: %v", m.Ref, arch, err)
			}
			cfg, err := img.ConfigFile()
			if err != nil || cfg.Architecture != arch {
				t.Errorf("%s: its config says %v (%v), want %s", m.Ref, cfg.Architecture, err, arch)
			}
		}
	}
}

// The image must really run, or a demo that pulls it shows nothing.
func TestProgramRuns(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the images are for Linux")
	}
	r := start(t, upstream.Options{})
	want := refs(t, "x/0", "x/1", "x/2", "x/3", "x/4", "x/hello:v1")
	if _, err := r.Populate(t.Context(), want, []string{"linux/" + runtime.GOARCH}); err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(tag(t, r, want[5]))
	if err != nil {
		t.Fatal(err)
	}
	rc := mutate.Extract(img)
	defer func() { _ = rc.Close() }()
	bin, named := filepath.Join(t.TempDir(), "hello"), false
	for tr := tar.NewReader(rc); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Name {
		case "hello":
			if err := os.WriteFile(bin, data, 0o755); err != nil {
				t.Fatal(err)
			}
		case "etc/image-name":
			named = string(data) == "x/hello:v1\n"
		}
	}
	if !named {
		t.Error("the image does not hold its own name")
	}
	out, err := exec.CommandContext(t.Context(), bin, "--of-no-interest").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "hello from ") {
		t.Errorf("it printed %q, %v", out, err)
	}
}

// A pull that goes on after a cut asks for the rest by an open range.
func TestOpenRange(t *testing.T) {
	r := start(t, upstream.Options{})
	want := refs(t, "x/a", "x/b")
	if _, err := r.Populate(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(tag(t, r, want[1]))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layers[1].Size()
	if err != nil {
		t.Fatal(err)
	}
	for _, rng := range []string{"bytes=1000-", "bytes=1000-999999999"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addr()+"/v2/x/b/blobs/"+h.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", rng)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusPartialContent || int64(len(got)) != size-1000 {
			t.Errorf("%s: %s with %d of %d bytes, %v", rng, resp.Status, len(got), size-1000, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	if _, err := upstream.Start(t.Context(), upstream.Options{Addr: "0.0.0.0:0"}); !errors.Is(err, upstream.ErrNotLoopback) {
		t.Errorf("an address for everybody: %v", err)
	}
	r := start(t, upstream.Options{Go: "no-such-go-command"})
	if _, err := r.Populate(t.Context(), refs(t, "x/a"), nil); !errors.Is(err, upstream.ErrNoGo) || !strings.Contains(err.Error(), "install Go") {
		t.Errorf("without Go: %v", err)
	}
	pinned := refs(t, "x/a@sha256:"+strings.Repeat("ab", 32))
	if _, err := r.Populate(t.Context(), pinned, nil); !errors.Is(err, upstream.ErrDigest) {
		t.Errorf("a pinned digest: %v", err)
	}
	if _, err := r.Populate(t.Context(), refs(t, "x/a"), []string{"linux"}); err == nil || !strings.Contains(err.Error(), "OS/ARCH") {
		t.Errorf("a bad platform: %v", err)
	}
}
