package pack_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"bundle/pack"
)

// A release of this many images, each with a layer that all share, one that a
// few share, one of its own and a small one with its settings.
const (
	releaseImages  = 25
	releaseShared  = 2 << 20
	releaseFew     = 256 << 10
	releaseOwn     = 512 << 10
	releaseSetting = 16 << 10
	// releaseChanged is an own layer that the next release has anew. Programs
	// are rather larger; it is not less since what a delta says of all images,
	// 2.5 KB of each, does not depend on how large they are.
	releaseChanged = 4 << 20
	releaseLists   = 3000 * releaseImages
)

// changes are the images of which the next release has another own layer.
var changes = []int{2, 11, 19}

// TestDeltaCarriesTheChangedLayers: the delta of a patch release, in which a
// layer of 3 of 25 images changed, is not larger than these layers and 1 %.
func TestDeltaCarriesTheChangedLayers(t *testing.T) {
	dir := t.TempDir()
	writeRelease(t, filepath.Join(dir, "old"), false)
	changed := writeRelease(t, filepath.Join(dir, "new"), true)
	old := filepath.Join(dir, "old.tar.zst")
	whole := buildRelease(t, filepath.Join(dir, "old"), old, "1.0.0", "")
	next := buildRelease(t, filepath.Join(dir, "new"), filepath.Join(dir, "new.tar.zst"), "1.0.1", "")
	delta := buildRelease(t, filepath.Join(dir, "new"), filepath.Join(dir, "delta.tar.zst"), "1.0.1", old)
	over := delta.Size - changed
	t.Logf("release %d bytes, next %d, delta %d: changed layers %d and %d more (%.2f %%)", whole.Size, next.Size, delta.Size, changed, over, 100*float64(over)/float64(changed))
	if over > changed/100 {
		t.Errorf("the delta has %d bytes; the layers that changed have %d, and 1 %% more is %d", delta.Size, changed, changed+changed/100)
	}
	if over > releaseLists {
		t.Errorf("besides the layers the delta has %d bytes, want at most %d", over, releaseLists)
	}
	// Three layers, configs and manifests, and the bundle's own of the latter.
	if delta.Blobs > 3*3+2 || delta.LeftOut+delta.Blobs != next.Blobs {
		t.Errorf("the delta leaves out %d blobs and has %d, of %d", delta.LeftOut, delta.Blobs, next.Blobs)
	}
}

// buildRelease builds the bundle of a layout, over base if there is one.
func buildRelease(t *testing.T, from, output, version, base string) *pack.Result {
	t.Helper()
	o := pack.Options{
		Name: "shop", Version: version, From: []string{"oci:" + from}, Platforms: []string{"linux/amd64"},
		Output: output, Warn: func(pack.Warning) {},
	}
	if base != "" {
		o.Base = []string{base}
	}
	for i := range releaseImages {
		o.Images = append(o.Images, releaseName(i))
	}
	b, err := pack.Prepare(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	res, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(output)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Size() != res.Size {
		t.Errorf("%s has %d bytes, and the build says %d", output, fi.Size(), res.Size)
	}
	return res
}

func releaseName(i int) string { return fmt.Sprintf("registry.example.com/shop/service-%02d:1", i) }

// writeRelease writes the images into an OCI layout, and gives the bytes of
// the layers that changed in the next release.
func writeRelease(t *testing.T, dir string, next bool) (changed int64) {
	t.Helper()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	shared := releaseLayer(t, 1, releaseShared)
	for i := range releaseImages {
		own := releaseLayer(t, 100+i, releaseOwn)
		if slices.Contains(changes, i) {
			seed := 200 + i
			if next {
				seed = 300 + i
			}
			own = releaseLayer(t, seed, releaseChanged)
			size, err := own.Size()
			if err != nil {
				t.Fatal(err)
			}
			changed += size
		}
		img, err := mutate.AppendLayers(empty.Image, shared, releaseLayer(t, 10+i/5, releaseFew), own, releaseLayer(t, 400+i, releaseSetting))
		if err == nil {
			img, err = mutate.ConfigFile(img, releaseConfig(t, img))
		}
		if err == nil {
			err = l.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": releaseName(i)}))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return changed
}

func releaseConfig(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", "amd64"
	c.Config.Entrypoint = []string{"/usr/local/bin/service"}
	c.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return c
}

// releaseLayer is a layer with a file that cannot be compressed.
func releaseLayer(t *testing.T, seed int, size int) v1.Layer {
	t.Helper()
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(data)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("opt/%d", seed), Mode: 0o644, Size: int64(size), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}
