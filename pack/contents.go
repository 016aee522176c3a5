package pack

import (
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
)

// Media types of the bundle's own manifest (docs/format.md).
const (
	ArtifactTypeBundle  = "application/vnd.bundle.v1"
	MediaTypeConfig     = "application/vnd.bundle.config.v1+json"
	maxManifestBytes    = 8 << 20
	maxContentsBytes    = 256 << 20
	contentsSchemaFirst = 1
)

// ErrNoContents says that a bundle lacks its inventory.
var ErrNoContents = errors.New("the bundle has no inventory")

// ReadContents gives the inventory of a loaded bundle and the manifest that
// holds it. It errs with [ErrNoContents], or with the archive's errors.
func ReadContents(r *archive.Reader) (*manifest.Contents, *ocispec.Manifest, error) {
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] != archive.KindBundle {
			continue
		}
		raw, err := r.ReadBlob(d.Digest, maxManifestBytes)
		if err != nil {
			return nil, nil, err
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, nil, fmt.Errorf("%w: its manifest %s is not JSON: %v", ErrNoContents, d.Digest, err)
		}
		if m.Config.MediaType != MediaTypeConfig {
			return nil, nil, fmt.Errorf("%w: the config of its manifest %s is %q", ErrNoContents, d.Digest, m.Config.MediaType)
		}
		raw, err = r.ReadBlob(m.Config.Digest, maxContentsBytes)
		if err != nil {
			return nil, nil, err
		}
		var c manifest.Contents
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, nil, fmt.Errorf("%w: %s is not JSON: %v", ErrNoContents, m.Config.Digest, err)
		}
		if c.SchemaVersion != contentsSchemaFirst {
			return nil, nil, fmt.Errorf("%w that this version can read: its schema is %d", ErrNoContents, c.SchemaVersion)
		}
		return &c, &m, nil
	}
	return nil, nil, ErrNoContents
}
