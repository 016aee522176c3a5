package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/manifest/imagelist"
	"bundle/manifest/kubefile"
	"bundle/manifest/step"
	"bundle/pack/unpack"
	"bundle/registry/pull"
)

// maxListBytes bounds the image list of a cluster image.
const maxListBytes = 1 << 20

// clusterImage makes a base of a sealer cluster image that a source has. Its
// layers are the root file system as they are; they are read once here, for
// the names of files and the image list, and again when they are packed.
func clusterImage(ctx context.Context, in *inputs, sources []pull.Source) (*base, error) {
	ref, err := manifest.ParseReference(in.base)
	if err != nil {
		return nil, err
	}
	p := pull.Puller{Sources: sources, Platforms: in.platforms[:1], NoAttached: true}
	images, err := p.Resolve(ctx, []pull.Request{{Ref: ref, Name: in.base}})
	if failures, ok := errors.AsType[*pull.Failures](err); ok && len(failures.List) == 1 {
		err = failures.List[0].Err
	}
	if err != nil {
		return nil, err
	}
	img := toPacked(&images[0], nil)
	m, err := clusterManifest(img, in.platforms[0])
	if err != nil {
		return nil, err
	}
	b := &base{ref: in.base, name: img.from, digest: img.desc.Digest, contents: &manifest.Contents{
		Name: path.Base(ref.Repository), Version: ref.Tag,
	}}
	open := map[string]opener{}
	for _, blob := range img.blobs {
		open[blob.desc.Digest.String()] = blob.open
	}
	tree := newRootfs()
	var list []byte
	for i, l := range m.Layers {
		layer := baseLayer{desc: l, blob: archive.Blob{Digest: l.Digest, Size: l.Size}, open: open[l.Digest.String()]}
		onlyRegistry, err := layer.read(ctx, tree, &list)
		if err != nil {
			return nil, fmt.Errorf("layer %d of %s: %w", i+1, in.base, err)
		}
		if onlyRegistry {
			continue // images that sealer put in; the bundle carries its own
		}
		b.rootfs = append(b.rootfs, layer)
	}
	b.contents.Files = tree.files()
	if err := b.readList(list); err != nil {
		return nil, err
	}
	config, err := readConfig(ctx, m.Config, open[m.Config.Digest.String()])
	if err != nil {
		return nil, err
	}
	b.contents.Steps = sealerSteps(config, b.contents.Name)
	return b, nil
}

func clusterManifest(img packedImage, platform string) (*ocispec.Manifest, error) {
	d := img.desc.Digest
	if isIndex(img.desc.MediaType) {
		var ix ocispec.Index
		if err := json.Unmarshal(img.manifests[d], &ix); err != nil {
			return nil, err
		}
		for _, c := range ix.Manifests {
			if c.Platform != nil && img.manifests[c.Digest] != nil && !isAttestation(c) {
				d = c.Digest
				if platformString(*c.Platform) == platform {
					break
				}
			}
		}
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(img.manifests[d], &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// read goes through a layer: it notes its files in the tree and keeps the
// image list. It tells whether the layer holds nothing but sealer's registry.
func (l baseLayer) read(ctx context.Context, tree *rootfs, list *[]byte) (onlyRegistry bool, err error) {
	r, err := l.open(ctx, 0)
	if err != nil {
		return false, err
	}
	defer r.Close()
	content, done, err := unpack.Decompress(r, l.desc.MediaType)
	if err != nil {
		return false, err
	}
	defer done()
	onlyRegistry = true
	tr := tar.NewReader(content)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return onlyRegistry, nil
		}
		if err != nil {
			return false, err
		}
		name := cleanRootPath(h.Name)
		if name == "registry" || strings.HasPrefix(name, "registry/") {
			continue
		}
		onlyRegistry = onlyRegistry && (name == "." || h.Typeflag == tar.TypeDir)
		if name == "." {
			continue
		}
		if len(tree.entries) >= maxRootfsEntries {
			return false, fmt.Errorf("it brings more than %d files", maxRootfsEntries)
		}
		f := manifest.File{Path: name, Mode: uint32(h.Mode) & 0o777}
		switch h.Typeflag {
		case tar.TypeDir:
			f.Type = "dir"
		case tar.TypeSymlink:
			f.Type, f.Link = "symlink", h.Linkname
		case tar.TypeReg:
			f.Type, f.Size = "file", h.Size
		default:
			continue
		}
		tree.entries[name] = &rootfsEntry{File: f}
		if name == imageListPath && h.Typeflag == tar.TypeReg {
			if h.Size > maxListBytes {
				return false, fmt.Errorf("its image list has %d bytes; it may have %d", h.Size, maxListBytes)
			}
			if *list, err = io.ReadAll(tr); err != nil {
				return false, err
			}
		}
	}
}

// readList takes the images of the list that the cluster image carries.
func (b *base) readList(list []byte) error {
	entries, err := imagelist.Parse(imageListPath, bytes.NewReader(list))
	if err != nil {
		return err
	}
	for _, e := range entries {
		b.contents.Images = append(b.contents.Images, manifest.Image{Name: e.Ref.String(), NeededBy: e.Sources()})
	}
	return nil
}

func readConfig(ctx context.Context, d ocispec.Descriptor, open opener) ([]byte, error) {
	if open == nil || d.Size > maxManifestBytes {
		return nil, nil
	}
	r, err := open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxManifestBytes))
}

// sealerSteps reads the commands that sealer before 0.9 kept in the config of
// a cluster image: its layers of type CMD. Later versions do not hand commands
// on, and so neither do their configs.
func sealerSteps(config []byte, name string) []manifest.Step {
	var image struct {
		Spec struct {
			Layers []struct{ Type, Value string }
		}
	}
	if json.Unmarshal(config, &image) != nil {
		return nil
	}
	var commands []kubefile.Command
	for _, l := range image.Spec.Layers {
		if l.Type == "CMD" {
			commands = append(commands, kubefile.Command{Text: l.Value, Source: manifest.Source("cluster image " + name)})
		}
	}
	return step.From(commands, name, name)
}
