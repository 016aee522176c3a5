package walk

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's own that mean the same as OCI's, and OCI's artifact
// manifest, which was withdrawn but is still met.
const (
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeArtifact       = "application/vnd.oci.artifact.manifest.v1+json"
)

// roleOf gives the role of an entry of an index.
func roleOf(mediaType string) Role {
	switch mediaType {
	case ocispec.MediaTypeImageIndex, MediaTypeDockerList:
		return RoleIndex
	case ocispec.MediaTypeImageManifest, MediaTypeDockerManifest, MediaTypeArtifact:
		return RoleManifest
	}
	return RoleBlob
}

// IsManifest tells whether a media type is one of an index or manifest that
// is understood.
func IsManifest(mediaType string) bool { return roleOf(mediaType) != RoleBlob }

// CheckDescriptor makes sure that a descriptor can name a blob: a sha256
// digest and a size. Errors wrap [ErrMalformed].
func CheckDescriptor(d ocispec.Descriptor) error {
	if !strings.HasPrefix(string(d.Digest), "sha256:") || d.Digest.Validate() != nil {
		return fmt.Errorf("%w: %.100q is no sha256 digest", ErrMalformed, string(d.Digest))
	}
	if d.Size < 0 {
		return fmt.Errorf("%w: %s has size %d", ErrMalformed, d.Digest, d.Size)
	}
	return nil
}

// parseManifest gives the children of an index or manifest in the order in which a
// person counts them: config, layers.
func parseManifest(role Role, mediaType string, raw []byte) ([]child, error) {
	var m struct {
		MediaType string               `json:"mediaType"`
		Manifests []ocispec.Descriptor `json:"manifests"`
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		FSLayers  []json.RawMessage    `json:"fsLayers"`
		Blobs     []ocispec.Descriptor `json:"blobs"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%w: it is not the JSON of %s", ErrMalformed, mediaType)
	}
	// Bytes that are an index to one tool and a manifest to another would be
	// checked as one and run as the other (CVE-2021-41190).
	switch other := roleOf(m.MediaType); {
	case other != RoleBlob && other != role:
		return nil, fmt.Errorf("%w: it says that it is %s, and its descriptor %s", ErrMalformed, m.MediaType, mediaType)
	case role == RoleIndex && (m.Config != nil || m.Layers != nil || m.FSLayers != nil || m.Blobs != nil),
		role == RoleManifest && (m.Manifests != nil || m.FSLayers != nil):
		return nil, fmt.Errorf("%w: it is an index and a manifest at once", ErrMalformed)
	case role == RoleManifest && m.Config == nil && mediaType != MediaTypeArtifact:
		return nil, fmt.Errorf("%w: it has no config", ErrMalformed)
	}
	var children []child
	add := func(d ocispec.Descriptor, role Role, i, of int) error {
		if err := CheckDescriptor(d); err != nil {
			return fmt.Errorf("%s %d: %w", role, i+1, err)
		}
		children = append(children, child{d, role, i + 1, of})
		return nil
	}
	for i, d := range m.Manifests {
		if err := add(d, roleOf(d.MediaType), i, len(m.Manifests)); err != nil {
			return nil, err
		}
	}
	if m.Config != nil {
		if err := add(*m.Config, RoleConfig, 0, 1); err != nil {
			return nil, err
		}
	}
	for _, list := range [][]ocispec.Descriptor{m.Layers, m.Blobs} {
		for i, d := range list {
			if err := add(d, RoleLayer, i, len(list)); err != nil {
				return nil, err
			}
		}
	}
	return children, nil
}

// Children gives every descriptor that an index or manifest lists, usable or
// not, and nothing for other bytes. It is for guessing what will be needed;
// checking is what [Walk] does.
func Children(raw []byte) []ocispec.Descriptor {
	var m struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	if m.Config != nil {
		m.Manifests = append(m.Manifests, *m.Config)
	}
	return append(m.Manifests, m.Layers...)
}
