package pack

import (
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
)

// dockerEntry is one image in the list that `docker save` writes; podman and
// docker load every image of an archive by it.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerManifest gives the docker-save list of the images, or nil where none
// can be loaded by docker: artifacts have no file system to load. An image that
// has several names is one entry, as docker writes it.
func dockerManifest(images []packedImage, platform string) ([]byte, error) {
	entries := make([]dockerEntry, 0, len(images))
	byConfig := map[digest.Digest]int{}
	for _, img := range images {
		m, ok := img.runnable(platform)
		if !ok || img.ref.Tag == "" {
			continue
		}
		if i, ok := byConfig[m.Config.Digest]; ok {
			entries[i].RepoTags = append(entries[i].RepoTags, img.ref.Name()+":"+img.ref.Tag)
			continue
		}
		byConfig[m.Config.Digest] = len(entries)
		e := dockerEntry{Config: blobPath(m.Config.Digest), RepoTags: []string{img.ref.Name() + ":" + img.ref.Tag}, Layers: []string{}}
		for _, l := range m.Layers {
			e.Layers = append(e.Layers, blobPath(l.Digest))
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	return json.Marshal(entries)
}

// runnable picks the manifest a host of the platform would run.
func (img packedImage) runnable(platform string) (ocispec.Manifest, bool) {
	var m ocispec.Manifest
	desc := img.desc
	if isIndex(desc.MediaType) {
		var ix ocispec.Index
		if json.Unmarshal(img.manifests[desc.Digest], &ix) != nil {
			return m, false
		}
		found := false
		for _, c := range ix.Manifests {
			if c.Platform == nil || img.manifests[c.Digest] == nil || isAttestation(c) {
				continue
			}
			if p := platformString(*c.Platform); !found || p == platform {
				desc, found = c, true
				if p == platform {
					break
				}
			}
		}
		if !found {
			return m, false
		}
	}
	if json.Unmarshal(img.manifests[desc.Digest], &m) != nil || !isImageConfig(m.Config.MediaType) {
		return m, false
	}
	for _, l := range m.Layers {
		if !isImageLayer(l.MediaType) {
			return m, false
		}
	}
	return m, true
}

func blobPath(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
}

func isImageConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == "application/vnd.docker.container.image.v1+json"
}

func isImageLayer(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") ||
		strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.")
}

// isAttestation tells BuildKit's attestation manifests from real platforms.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
}

func platformString(p ocispec.Platform) string {
	return manifest.NewPlatform(p.OS, p.Architecture, p.Variant).String()
}
