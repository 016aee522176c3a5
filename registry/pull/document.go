package pull

import (
	"encoding/json"
	"mime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of one manifest; far beyond what tools make, near enough to stop a
// hostile one.
const (
	maxLayers   = 10_000
	maxChildren = 10_000
)

// Docker's media types, which have the same shape as OCI's.
const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerSchema1  = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeDockerSigned1  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// acceptManifests is sent with every request for a manifest.
var acceptManifests = []string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
	mediaTypeDockerList, mediaTypeDockerManifest,
}

// document is what a manifest or an index says. Exactly one of index and
// not index holds; see parseDocument.
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor  `json:"subject"`

	index bool
}

// parseDocument reads a manifest. hint is the media type that came with it,
// from a header or a descriptor; what the document says of itself goes
// first, and one that could be read both ways is refused (CVE-2021-41190).
func parseDocument(raw []byte, hint string) (*document, error) {
	if t, _, err := mime.ParseMediaType(hint); err == nil {
		hint = t
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, reason(ErrInvalid, "the manifest is not JSON: %s", err)
	}
	if d.MediaType == "" {
		d.MediaType = hint
	}
	if d.SchemaVersion == 1 || d.MediaType == mediaTypeDockerSchema1 || d.MediaType == mediaTypeDockerSigned1 {
		return nil, reason(ErrUnsupported, "it has a Docker schema 1 manifest, which no current runtime pulls; push it again with a current tool")
	}
	if d.SchemaVersion != 2 {
		return nil, reason(ErrInvalid, "the manifest has schema version %d, 2 is expected", d.SchemaVersion)
	}
	isIndex, isManifest := len(d.Manifests) > 0, d.Config != nil || len(d.Layers) > 0
	if isIndex && isManifest {
		return nil, reason(ErrInvalid, "the manifest is a manifest and an index at once")
	}
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, mediaTypeDockerList:
		d.index = true
	case ocispec.MediaTypeImageManifest, mediaTypeDockerManifest:
	case "", "application/json", "text/plain", "application/octet-stream", "binary/octet-stream":
		// A file server or a proxy that does not know better.
		d.index, d.MediaType = isIndex, ocispec.MediaTypeImageManifest
		if isIndex {
			d.MediaType = ocispec.MediaTypeImageIndex
		}
	default:
		return nil, reason(ErrUnsupported, "its manifest is of the unknown type %q", clip(d.MediaType))
	}
	if d.index == isManifest && (isIndex || isManifest) {
		return nil, reason(ErrInvalid, "the manifest does not have the shape of its type %s", d.MediaType)
	}
	if !d.index && d.Config == nil {
		return nil, reason(ErrInvalid, "the manifest names no config")
	}
	return &d, d.check()
}

func (d *document) check() error {
	if len(d.Layers) > maxLayers || len(d.Manifests) > maxChildren {
		return reason(ErrInvalid, "the manifest lists %d entries, more than allowed", len(d.Layers)+len(d.Manifests))
	}
	if d.Config != nil {
		if err := checkDescriptor(*d.Config); err != nil {
			return err
		}
	}
	for _, list := range [][]ocispec.Descriptor{d.Layers, d.Manifests} {
		for _, desc := range list {
			if err := checkDescriptor(desc); err != nil {
				return err
			}
		}
	}
	if d.Subject != nil {
		return checkDescriptor(*d.Subject)
	}
	return nil
}

// isImage tells whether the config describes a container image, so that a
// platform can be asked of it.
func (d *document) isImage() bool {
	return d.Config != nil &&
		(d.Config.MediaType == ocispec.MediaTypeImageConfig || d.Config.MediaType == mediaTypeDockerConfig)
}

// isForeign tells whether a registry may legitimately lack the layer.
func isForeign(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, ".foreign.")
}

// isIndexType tells whether a descriptor announces an index.
func isIndexType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == mediaTypeDockerList
}
