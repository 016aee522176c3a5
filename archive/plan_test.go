package archive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A plan refuses what could not be read back.
func TestPlanRefusesNonsense(t *testing.T) {
	d := digest.FromString("x")
	packed := func(size int64, frames ...int64) Blob {
		return Blob{Digest: d, Size: size, Frames: frames, Packed: d}
	}
	for name, b := range map[string][]Blob{
		"twice":          {{Digest: d, Size: 1}, {Digest: d, Size: 1}},
		"no digest":      {{Size: 1}},
		"sha512":         {{Digest: digest.Digest("sha512:" + strings.Repeat("ab", 64)), Size: 1}},
		"upper case":     {{Digest: digest.Digest(strings.ToUpper(string(d))), Size: 1}},
		"negative":       {{Digest: d, Size: -1}},
		"huge":           {{Digest: d, Size: maxBlobSize + 1}},
		"packed alone":   {{Digest: d, Size: 1, Packed: d}},
		"no packed":      {{Digest: d, Size: 1, Frames: []int64{20}}},
		"too few frames": {packed(packFrame+1, 100)},
		"no frames":      {packed(5, []int64{}...)},
		"empty packed":   {{Digest: d, Frames: []int64{}, Packed: d}},
		"tiny frame":     {packed(100, 3)},
		"large frame":    {packed(100, packedBound+1)},
		"too many bytes": func() (l []Blob) {
			for i := range 1100 {
				l = append(l, Blob{Digest: digest.FromString(fmt.Sprint(i)), Size: maxBlobSize})
			}
			return l
		}(),
	} {
		if _, err := NewPlan(ocispec.Index{}, b, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	layout := ocispec.Descriptor{MediaType: MediaTypeLayout, Digest: d, Size: 1}
	if _, err := NewPlan(ocispec.Index{Manifests: []ocispec.Descriptor{layout}}, nil, nil); err == nil {
		t.Error("a second layout was accepted")
	}
	if _, err := NewPlan(ocispec.Index{}, nil, make([]byte, MaxDockerManifestSize+1)); err == nil {
		t.Error("a huge manifest.json was accepted")
	}
	if _, err := NewPlan(ocispec.Index{}, make([]Blob, MaxBlobs+1), nil); err == nil {
		t.Error("too many blobs were accepted")
	}
	annotations := map[string]string{AnnotationName: "n", AnnotationDockerManifest: "stale"}
	p, err := NewPlan(ocispec.Index{Annotations: annotations}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(annotations) != 2 || annotations[AnnotationDockerManifest] != "stale" {
		t.Error("the caller's annotations were changed")
	}
	if strings.Contains(string(p.IndexBytes()), AnnotationDockerManifest) {
		t.Error("the plan points at a manifest.json that is not there")
	}
}
