package pull

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"bundle/manifest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxDepth bounds indexes within indexes.
	maxDepth = 4
	// maxManifests bounds the manifests of one image, attachments included.
	maxManifests = 10_000
)

// Buildkit's mark of a child that attests to another child.
const (
	annotationReferenceDigest = "vnd.docker.reference.digest"
	annotationReferenceType   = "vnd.docker.reference.type"
)

// collector walks from one descriptor to everything that belongs to it.
type collector struct {
	ctx      context.Context
	src      Source
	ref      manifest.Reference
	wanted   []platform
	attached bool

	img       Image
	found     []platform // of the images that were taken
	have      []platform // that its indexes list
	manifests map[digest.Digest]bool
	blobs     map[digest.Digest]int
	// subjects are the manifests whose attachments are looked up.
	subjects []ocispec.Descriptor
	// early gives those of the image itself, until they are used.
	early chan attachedTo
}

// attachedTo is what was found attached.
type attachedTo struct {
	list []Attachment
	err  error
}

func (c *collector) collect(desc ocispec.Descriptor) (*Image, error) {
	c.manifests, c.blobs = map[digest.Digest]bool{}, map[digest.Digest]int{}
	c.img = Image{Descriptor: desc, Source: c.src.Name()}
	doc, err := c.read(desc)
	if err != nil {
		return nil, err
	}
	c.img.Descriptor.MediaType = doc.MediaType
	c.subjects = append(c.subjects, desc)
	if c.attached {
		// What is attached needs no config to be known: over a long way each
		// question takes its time.
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		c.early = make(chan attachedTo, 1)
		go func() {
			list, err := c.src.Attached(ctx, c.ref, desc)
			c.early <- attachedTo{list, err}
		}()
	}
	if doc.index {
		if err = c.index(doc, 0); err == nil {
			err = c.complete()
		}
	} else {
		err = c.single(doc)
	}
	if err != nil {
		return nil, err
	}
	c.img.Platforms = platformNames(c.found)
	if c.attached {
		for _, s := range c.subjects {
			if err := c.attachments(s); err != nil {
				return nil, err
			}
		}
	}
	return &c.img, nil
}

func (c *collector) fail(err error) error {
	return fail(c.ctx, c.src.Name(), "pull", c.ref, err)
}

// read fetches a manifest, checks it and records it. It returns nil without
// an error for one that is recorded already.
func (c *collector) read(desc ocispec.Descriptor) (*document, error) {
	if c.manifests[desc.Digest] {
		return nil, nil
	}
	if len(c.manifests) >= maxManifests {
		return nil, c.fail(reason(ErrInvalid, "more than %d manifests belong to it", maxManifests))
	}
	raw, err := c.src.Manifest(c.ctx, c.ref, desc)
	if err != nil {
		return nil, err
	}
	if err := checkManifest(desc, raw); err != nil {
		return nil, c.fail(err)
	}
	doc, err := parseDocument(raw, desc.MediaType)
	if err != nil {
		return nil, c.fail(err)
	}
	if isIndexType(desc.MediaType) != doc.index && desc.MediaType != "" {
		return nil, c.fail(reason(ErrInvalid, "manifest %s is listed as %s and says that it is %s", desc.Digest, desc.MediaType, doc.MediaType))
	}
	c.manifests[desc.Digest] = true
	// Only what identifies the bytes: annotations and platforms stay where
	// they were read, in the parent.
	desc = ocispec.Descriptor{MediaType: doc.MediaType, Digest: desc.Digest, Size: int64(len(raw)), ArtifactType: doc.ArtifactType}
	c.img.Manifests = append(c.img.Manifests, Content{Desc: desc, Bytes: raw})
	return doc, nil
}

// single takes an image that is one manifest; it must be for every wanted
// platform.
func (c *collector) single(doc *document) error {
	if doc.isImage() {
		have, err := c.platform(doc)
		if err != nil {
			return err
		}
		for _, w := range c.wanted {
			if have.Known() && w.runs(have) == 0 {
				return c.fail(reason(ErrPlatform, "it is not made for %s, only for %s", w, have))
			}
		}
		c.found = append(c.found, have)
	}
	return c.content(doc)
}

// platform reads it out of the image's config.
func (c *collector) platform(doc *document) (platform, error) {
	raw, err := c.config(*doc.Config)
	if err != nil {
		return platform{}, err
	}
	var p ocispec.Platform
	if err := json.Unmarshal(raw, &p); err != nil {
		return platform{}, c.fail(reason(ErrInvalid, "its config is not JSON: %s", err))
	}
	return platformOf(&p), nil
}

// config reads a config blob whole and records it with its bytes.
func (c *collector) config(desc ocispec.Descriptor) ([]byte, error) {
	if i, ok := c.blobs[desc.Digest]; ok && c.img.Blobs[i].Data != nil {
		return c.img.Blobs[i].Data, nil
	}
	if desc.Size > maxConfig {
		return nil, c.fail(reason(ErrInvalid, "its config has %d bytes, %d are allowed", desc.Size, maxConfig))
	}
	r, err := c.src.Blob(c.ctx, c.ref, desc, 0)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, desc.Size+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, c.fail(err)
	}
	if digest.FromBytes(raw) != desc.Digest {
		return nil, c.fail(reason(ErrDigest, "its config came with other bytes than %s", desc.Digest))
	}
	if err := c.blob(desc); err != nil {
		return nil, err
	}
	c.img.Blobs[c.blobs[desc.Digest]].Data = raw
	return raw, nil
}

// content records the blobs of a manifest.
func (c *collector) content(doc *document) error {
	if err := c.blob(*doc.Config); err != nil {
		return err
	}
	for _, l := range doc.Layers {
		if isForeign(l) {
			if err := c.foreign(l); err != nil {
				return err
			}
		}
		if err := c.blob(l); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) blob(desc ocispec.Descriptor) error {
	if i, ok := c.blobs[desc.Digest]; ok {
		if c.img.Blobs[i].Desc.Size != desc.Size {
			return c.fail(reason(ErrInvalid, "its manifests disagree about the size of blob %s", desc.Digest))
		}
		return nil
	}
	c.blobs[desc.Digest] = len(c.img.Blobs)
	c.img.Blobs = append(c.img.Blobs, BlobRef{
		Desc:   ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size},
		Source: c.src, Ref: c.ref,
	})
	return nil
}

// foreign makes sure that a layer which need not be in the registry is.
// Fetching it from the URLs it names would take bytes from a place that
// nobody asked for, and leaving it out would give an image that does not run.
func (c *collector) foreign(desc ocispec.Descriptor) error {
	r, err := c.src.Blob(c.ctx, c.ref, desc, 0)
	if err == nil {
		return r.Close()
	}
	if !isNotFound(err) {
		return err
	}
	where := ""
	if len(desc.URLs) > 0 {
		where = " and only found at " + clip(strings.Join(desc.URLs, ", "))
	}
	return c.fail(reason(ErrUnsupported, "its layer %s is not distributed with it%s; push the image to a registry of your own with all its layers", desc.Digest, where))
}

// index chooses the children of the wanted platforms, and what attests to
// them.
func (c *collector) index(doc *document, depth int) error {
	if depth >= maxDepth {
		return c.fail(reason(ErrInvalid, "it has indexes within indexes beyond %d levels", maxDepth))
	}
	var plain, attesting []ocispec.Descriptor
	for _, d := range doc.Manifests {
		if d.Annotations[annotationReferenceDigest] != "" || d.Annotations[annotationReferenceType] != "" {
			attesting = append(attesting, d)
		} else {
			plain = append(plain, d)
		}
	}
	taken := map[string]bool{}
	for _, d := range c.choose(plain) {
		taken[string(d.Digest)] = true
		if err := c.child(d, depth); err != nil {
			return err
		}
	}
	for _, d := range attesting {
		if taken[d.Annotations[annotationReferenceDigest]] {
			if err := c.extra(d, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose picks the children to fetch. Those without a platform cannot be
// judged and come along.
func (c *collector) choose(children []ocispec.Descriptor) []ocispec.Descriptor {
	if len(c.wanted) == 0 {
		return children
	}
	picked := make([]bool, len(children))
	for i, d := range children {
		if d.Platform == nil {
			picked[i] = true
		} else {
			c.have = append(c.have, platformOf(d.Platform))
		}
	}
	for _, w := range c.wanted {
		best, at := 0, -1
		for i, d := range children {
			if d.Platform == nil {
				continue
			}
			score := w.runs(platformOf(d.Platform))
			if score > best {
				best, at = score, i
			}
			// Windows images come once for each build of the system.
			if score == exactly && w.OS == "windows" {
				picked[i] = true
			}
		}
		if at >= 0 {
			picked[at] = true
		}
	}
	var chosen []ocispec.Descriptor
	for i, d := range children {
		if picked[i] {
			chosen = append(chosen, d)
		}
	}
	return chosen
}

// complete checks that every wanted platform was found, unless no child has
// one, as in an index of artifacts.
func (c *collector) complete() error {
	have := platformNames(append(c.have, c.found...))
	if len(have) == 0 {
		return nil
	}
	var missing []platform
	for _, w := range c.wanted {
		if !slices.ContainsFunc(c.found, func(f platform) bool { return w.runs(f) > 0 }) {
			missing = append(missing, w)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return c.fail(reason(ErrPlatform, "it is not made for %s, only for %s",
		strings.Join(platformNames(missing), ", "), strings.Join(have, ", ")))
}

// child takes a chosen child of an index.
func (c *collector) child(desc ocispec.Descriptor, depth int) error {
	doc, err := c.read(desc)
	if err != nil || doc == nil {
		return err
	}
	if doc.index {
		return c.index(doc, depth+1)
	}
	if doc.isImage() {
		have := platform{}
		if desc.Platform != nil {
			have = platformOf(desc.Platform)
		} else if have, err = c.platform(doc); err != nil {
			return err
		}
		c.found = append(c.found, have)
	}
	c.subjects = append(c.subjects, ocispec.Descriptor{MediaType: doc.MediaType, Digest: desc.Digest, Size: desc.Size})
	return c.content(doc)
}

// extra takes something that is about the image, whole.
func (c *collector) extra(desc ocispec.Descriptor, depth int) error {
	if depth > maxDepth {
		return c.fail(reason(ErrInvalid, "what is attached to it has indexes beyond %d levels", maxDepth))
	}
	doc, err := c.read(desc)
	if err != nil || doc == nil {
		return err
	}
	if !doc.index {
		return c.content(doc)
	}
	for _, d := range doc.Manifests {
		if err := c.extra(d, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// attachments takes all that refers to subject. Attachments of attachments
// are not looked for.
func (c *collector) attachments(subject ocispec.Descriptor) error {
	var list []Attachment
	var err error
	if c.early != nil && subject.Digest == c.img.Descriptor.Digest {
		early := <-c.early
		c.early = nil
		list, err = early.list, early.err
	} else {
		list, err = c.src.Attached(c.ctx, c.ref, subject)
	}
	if err != nil {
		return err
	}
	for _, a := range list {
		if slices.ContainsFunc(c.img.Attached, func(b Attachment) bool { return b.Digest == a.Digest && b.Tag == a.Tag }) {
			continue
		}
		doc, err := c.peek(a.Descriptor)
		if isNotFound(err) {
			// A list of referrers may outlive what it lists.
			continue
		}
		if err != nil {
			return err
		}
		a.MediaType, a.Annotations, a.URLs, a.Data = doc.MediaType, nil, nil, nil
		// The manifest's own word; lists of referrers have been seen to differ.
		switch {
		case doc.ArtifactType != "":
			a.ArtifactType = doc.ArtifactType
		case a.ArtifactType == "" && doc.Config != nil && !doc.isImage():
			a.ArtifactType = doc.Config.MediaType
		}
		c.img.Attached = append(c.img.Attached, a)
	}
	return nil
}

// peek takes an attachment and returns its document.
func (c *collector) peek(desc ocispec.Descriptor) (*document, error) {
	if err := c.extra(desc, 0); err != nil {
		return nil, err
	}
	for _, m := range c.img.Manifests {
		if m.Desc.Digest == desc.Digest {
			return parseDocument(m.Bytes, m.Desc.MediaType)
		}
	}
	return nil, c.fail(reason(ErrNotFound, "its attachment %s disappeared", desc.Digest))
}
