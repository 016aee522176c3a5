package pack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
)

// opener gives a blob's bytes from offset on. It may be called again after a
// failure and by a later run, and gives the same bytes each time.
type opener func(ctx context.Context, offset int64) (io.ReadCloser, error)

// packedImage is one image as it goes into the bundle.
type packedImage struct {
	ref       manifest.Reference
	desc      ocispec.Descriptor
	platforms []string
	// manifests holds every manifest by digest: the image's own, those of its
	// platforms, and those of what is attached. order is their file order.
	manifests map[digest.Digest][]byte
	order     []ocispec.Descriptor
	blobs     []packedBlob
	attached  []packedAttachment
	neededBy  []manifest.Source
	// from names the source that answered.
	from string
}

type packedBlob struct {
	desc ocispec.Descriptor
	open opener
	// attached blobs do not count as the image's size.
	attached bool
}

type packedAttachment struct {
	manifest.Attached
	desc ocispec.Descriptor
}

// size is what the image alone would take, in bytes.
func (img packedImage) size() int64 {
	attached := make(map[digest.Digest]bool, len(img.attached))
	for _, a := range img.attached {
		attached[a.Digest] = true
	}
	seen := map[digest.Digest]bool{}
	var n int64
	for _, d := range img.order {
		if !attached[d.Digest] && !seen[d.Digest] {
			seen[d.Digest] = true
			n += d.Size
		}
	}
	for _, b := range img.blobs {
		if !b.attached && !seen[b.desc.Digest] {
			seen[b.desc.Digest] = true
			n += b.desc.Size
		}
	}
	return n
}

// composer collects what goes into the file and in which order: manifests,
// then configs, then layers, each as it was first met. That puts what every
// reader looks at first at the front of the file.
type composer struct {
	index                      ocispec.Index
	manifests, configs, layers []archive.Blob
	memory                     map[digest.Digest][]byte
	remote                     map[digest.Digest]remoteBlob
	// absent are the blobs that a delta leaves out.
	absent map[digest.Digest]bool
}

// remoteBlob is content that is not held in memory.
type remoteBlob struct {
	open opener
	size int64
	// of names the first object that needs the blob, for messages.
	of string
	// fetched blobs come from a source; others are made on this machine.
	fetched bool
}

func newComposer() *composer {
	c := &composer{memory: map[digest.Digest][]byte{}, remote: map[digest.Digest]remoteBlob{}}
	c.index.SchemaVersion = 2
	c.index.MediaType = ocispec.MediaTypeImageIndex
	return c
}

func (c *composer) has(d digest.Digest) bool {
	_, inMemory := c.memory[d]
	_, remote := c.remote[d]
	return inMemory || remote
}

// addMemory puts small content into a group of the file.
func (c *composer) addMemory(group *[]archive.Blob, mediaType string, data []byte) ocispec.Descriptor {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if !c.has(desc.Digest) {
		c.memory[desc.Digest] = data
		*group = append(*group, archive.Blob{Digest: desc.Digest, Size: desc.Size})
	}
	return desc
}

// addRemote puts content that is opened when it is needed into the file.
func (c *composer) addRemote(b archive.Blob, open opener, of string, fetched bool) error {
	if c.has(b.Digest) {
		return nil
	}
	if b.Size < 0 {
		return fmt.Errorf("%s: blob %s has the size %d", of, b.Digest, b.Size)
	}
	c.remote[b.Digest] = remoteBlob{open: open, size: b.Size, of: of, fetched: fetched}
	c.layers = append(c.layers, b)
	return nil
}

// entry adds a descriptor to index.json.
func (c *composer) entry(desc ocispec.Descriptor, kind, ref string) {
	annotations := map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	if kind == archive.KindImage {
		annotations[ocispec.AnnotationRefName] = ref
		annotations["io.containerd.image.name"] = ref
	}
	c.index.Manifests = append(c.index.Manifests, ocispec.Descriptor{
		MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
		ArtifactType: desc.ArtifactType, Platform: desc.Platform, Annotations: annotations,
	})
}

// addImageManifests puts the manifests of an image at the front of the file.
func (c *composer) addImageManifests(img packedImage) {
	for _, d := range img.order {
		c.addMemory(&c.manifests, d.MediaType, img.manifests[d.Digest])
	}
}

// addImageBlobs puts the configs and layers of an image into the file.
func (c *composer) addImageBlobs(img packedImage) error {
	for _, b := range img.blobs {
		blob := archive.Blob{Digest: b.desc.Digest, Size: b.desc.Size}
		if err := c.addRemote(blob, b.open, "image "+img.ref.String(), true); err != nil {
			return err
		}
	}
	return nil
}

// blobs gives all blobs in file order.
func (c *composer) blobs() []archive.Blob {
	all := append([]archive.Blob{}, c.manifests...)
	all = append(all, c.configs...)
	return append(all, c.layers...)
}

// bundleManifest adds the bundle's own manifest: the inventory as config and
// the root file system as layers.
func (c *composer) bundleManifest(contents *manifest.Contents, layers []ocispec.Descriptor) error {
	config, err := json.Marshal(contents)
	if err != nil {
		return err
	}
	m := ocispec.Manifest{
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactTypeBundle,
		Config:       c.addMemory(&c.configs, MediaTypeConfig, config),
		Layers:       layers,
	}
	m.SchemaVersion = 2
	if len(m.Layers) == 0 {
		// Registries want a layer; OCI's empty one says that there is none.
		empty := ocispec.DescriptorEmptyJSON
		empty.Data = nil
		m.Layers = []ocispec.Descriptor{c.addMemory(&c.layers, empty.MediaType, []byte(`{}`))}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	desc := c.addMemory(&c.manifests, ocispec.MediaTypeImageManifest, raw)
	desc.ArtifactType = ArtifactTypeBundle
	c.entry(desc, archive.KindBundle, "bundle/"+contents.Name+":"+contents.Version)
	return nil
}
