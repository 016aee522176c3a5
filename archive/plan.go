package archive

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Plan is the whole geometry of a bundle: index.json, the layout and the
// offset of every byte, fixed before any blob is at hand. A Plan does not
// change and may be shared.
type Plan struct {
	index       []byte
	indexDigest digest.Digest
	docker      []byte
	layout      []byte
	geo         *geometry
}

// NewPlan lays out a bundle. It puts the descriptor of the layout blob in
// front of index.Manifests and sets the format annotations; index itself is
// not changed. blobs is the order of the blobs in the file, each digest once.
// dockerManifest is the manifest.json member; nil leaves it out.
func NewPlan(index ocispec.Index, blobs []Blob, dockerManifest []byte) (*Plan, error) {
	return newPlan(index, blobs, dockerManifest, nil)
}

// NewDeltaPlan is NewPlan for a file that leaves out some of the blobs, which
// must be listed all the same.
func NewDeltaPlan(index ocispec.Index, blobs []Blob, dockerManifest []byte, delta Delta) (*Plan, error) {
	return newPlan(index, blobs, dockerManifest, &delta)
}

func newPlan(index ocispec.Index, blobs []Blob, dockerManifest []byte, delta *Delta) (*Plan, error) {
	if len(blobs) > MaxBlobs {
		return nil, fmt.Errorf("a bundle holds at most %d blobs, not %d", MaxBlobs, len(blobs))
	}
	frames := 0
	for i := range blobs {
		if err := blobs[i].Check(); err != nil {
			return nil, err
		}
		frames += len(blobs[i].Frames)
	}
	if frames > MaxPackedFrames {
		return nil, fmt.Errorf("a bundle holds at most %d compressed frames, not %d", MaxPackedFrames, frames)
	}
	if len(dockerManifest) > MaxDockerManifestSize {
		return nil, fmt.Errorf("manifest.json may have at most %d bytes, not %d", MaxDockerManifestSize, len(dockerManifest))
	}
	p := &Plan{layout: encodeLayout(blobs)}
	if len(p.layout) > MaxLayoutSize {
		return nil, fmt.Errorf("the list of blobs may have at most %d bytes, not %d", MaxLayoutSize, len(p.layout))
	}
	layout := ocispec.Descriptor{
		MediaType:   MediaTypeLayout,
		Digest:      digest.FromBytes(p.layout),
		Size:        int64(len(p.layout)),
		Annotations: map[string]string{AnnotationKind: KindLayout},
	}
	version := formatFirst
	for _, m := range index.Manifests {
		if m.MediaType == MediaTypePatch {
			version = formatDelta
		}
		if m.MediaType == MediaTypeLayout || m.Annotations[AnnotationKind] == KindLayout {
			return nil, fmt.Errorf("the index lists a layout already: %s", m.Digest)
		}
	}
	index.SchemaVersion = 2
	index.MediaType = ocispec.MediaTypeImageIndex
	index.Manifests = append([]ocispec.Descriptor{layout}, index.Manifests...)
	index.Annotations = maps.Clone(index.Annotations)
	if index.Annotations == nil {
		index.Annotations = map[string]string{}
	}
	delete(index.Annotations, AnnotationDelta)
	var part *deltaPart
	if delta != nil {
		var data []byte
		var err error
		if part, data, err = newDeltaPart(delta, blobs); err != nil {
			return nil, err
		}
		version = formatDelta
		index.Annotations[AnnotationDelta] = digest.FromBytes(data).String()
	}
	index.Annotations[AnnotationFormat] = strconv.Itoa(version)
	index.Annotations[AnnotationMinReader] = strconv.Itoa(version)
	delete(index.Annotations, AnnotationDockerManifest)
	dockerSize := int64(-1)
	if dockerManifest != nil {
		p.docker = append([]byte{}, dockerManifest...)
		dockerSize = int64(len(dockerManifest))
		index.Annotations[AnnotationDockerManifest] = digest.FromBytes(dockerManifest).String()
	}
	var err error
	if p.index, err = json.Marshal(index); err != nil {
		return nil, fmt.Errorf("index.json cannot be written: %w", err)
	}
	if len(p.index) > MaxIndexSize {
		return nil, fmt.Errorf("index.json may have at most %d bytes, not %d", MaxIndexSize, len(p.index))
	}
	p.indexDigest = digest.FromBytes(p.index)
	// The reader's own rules, so that nothing is written that cannot be read.
	if _, err := parseIndex(p.index); err != nil {
		return nil, err
	}
	p.geo, err = newGeometry(int64(len(p.index)), dockerSize, layout.Digest, layout.Size, append([]Blob(nil), blobs...), part)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// IndexBytes is index.json as it will be written: what gets signed. It must
// not be changed.
func (p *Plan) IndexBytes() []byte { return p.index }

// IndexDigest is the sha256 of [Plan.IndexBytes].
func (p *Plan) IndexDigest() digest.Digest { return p.indexDigest }

// Size of the finished file in bytes, without signatures.
func (p *Plan) Size() int64 { return p.geo.end + p.geo.tailLen(nil) }

// Blobs lists the blobs that the file will hold, in its order. The slice must
// not be changed.
func (p *Plan) Blobs() []Blob { return p.geo.carried() }
