package pack

import (
	"context"
	"io"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/manifest/discover"
)

// compose puts everything into its place in the file.
func (b *Build) compose(ctx context.Context, in *inputs, base *base, charts []packedChart, steps []manifest.Step, res discover.Resolution) error {
	c := b.content
	contents := &manifest.Contents{
		SchemaVersion: contentsSchemaFirst, Name: in.name, Version: in.version, Platforms: in.platforms,
		Images: []manifest.Image{}, Steps: steps, Env: in.env, Labels: in.labels,
	}
	var layers []ocispec.Descriptor
	var err error
	if base != nil {
		if layers, err = base.layers(c); err != nil {
			return err
		}
		contents.Bases = append(slices.Clone(base.contents.Bases), manifest.Base{
			Name: base.contents.Name, Version: base.contents.Version, IndexDigest: base.digest,
		})
		contents.Env = mergeEnv(base.contents.Env, in.env)
		contents.Labels = mergeLabels(base.contents.Labels, in.labels)
		if in.inheritSteps {
			contents.Steps = slices.Concat(base.steps(), steps)
		}
	}
	own, err := b.ownLayer(in.tree)
	if err != nil {
		return err
	}
	layers = append(layers, own...)
	contents.Files = in.tree.files()
	if base != nil {
		contents.Files = mergeFiles(base.files(), contents.Files)
	}
	for _, img := range b.images {
		contents.Images = append(contents.Images, img.inventory())
	}
	baseCharts, err := b.inheritCharts(base, charts)
	if err != nil {
		return err
	}
	contents.Charts = inventoryCharts(baseCharts, charts)
	contents.Candidates = candidates(res.Unlisted)

	if err := c.bundleManifest(contents, layers); err != nil {
		return err
	}
	for _, img := range b.images {
		c.entry(img.desc, archive.KindImage, img.ref.String())
		c.addImageManifests(img)
	}
	b.addCharts(baseCharts, charts)
	b.addAttached()
	for _, img := range b.images {
		if err := c.addImageBlobs(img); err != nil {
			return err
		}
	}
	c.index.Annotations = map[string]string{archive.AnnotationName: in.name, archive.AnnotationVersion: in.version}
	if err := b.describeTools(in.name, in.version); err != nil {
		return err
	}
	b.delta.leaveOut(c)
	if b.opts.Compact {
		if err := c.compact(ctx, b.images); err != nil {
			return err
		}
	}
	docker, err := dockerManifest(b.images, in.platforms[0])
	if err != nil {
		return err
	}
	b.contents = contents
	b.plan, err = b.delta.plan(c, docker)
	return err
}

// ownLayer adds the files of the context as one layer; none if there are none.
func (b *Build) ownLayer(tree *rootfs) ([]ocispec.Descriptor, error) {
	if len(tree.entries) == 0 {
		return nil, nil
	}
	r := tree.layerReader()
	blob, err := archive.Measure(r)
	r.Close()
	if err != nil {
		return nil, inputError{err}
	}
	open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		r := tree.layerReader()
		if _, err := io.CopyN(io.Discard, r, offset); err != nil {
			r.Close()
			return nil, err
		}
		return r, nil
	}
	if err := b.content.addRemote(blob, open, "files of the context", false); err != nil {
		return nil, err
	}
	b.filesDigest = blob.Digest
	return []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: blob.Digest, Size: blob.Size}}, nil
}

func (img packedImage) inventory() manifest.Image {
	i := manifest.Image{
		Name: img.ref.String(), Digest: img.desc.Digest, MediaType: img.desc.MediaType,
		Platforms: img.platforms, Size: img.size(), NeededBy: img.neededBy,
	}
	if i.Platforms == nil {
		i.Platforms = []string{}
	}
	if i.NeededBy == nil {
		i.NeededBy = []manifest.Source{}
	}
	for _, a := range img.attached {
		i.Attached = append(i.Attached, a.Attached)
	}
	return i
}

// addAttached lists signatures and other referrers in the index, each once.
func (b *Build) addAttached() {
	seen := map[string]bool{}
	for _, img := range b.images {
		for _, a := range img.attached {
			ref := img.ref.Name()
			if a.Tag != "" {
				ref += ":" + a.Tag
			}
			if key := ref + "@" + a.Digest.String(); !seen[key] {
				seen[key] = true
				b.content.entry(a.desc, archive.KindAttached, ref)
			}
		}
	}
}

func candidates(found []discover.Found) []manifest.Candidate {
	at := map[string]int{}
	var list []manifest.Candidate
	for _, f := range found {
		name := f.Ref.String()
		i, ok := at[name]
		if !ok {
			i = len(list)
			at[name] = i
			list = append(list, manifest.Candidate{Ref: name})
		}
		if !slices.Contains(list[i].FoundIn, f.Source) {
			list[i].FoundIn = append(list[i].FoundIn, f.Source)
		}
	}
	slices.SortFunc(list, func(a, b manifest.Candidate) int { return strings.Compare(a.Ref, b.Ref) })
	return list
}
