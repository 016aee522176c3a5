package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/google/go-containerregistry/pkg/name"

	"bundle/manifest"
)

// ErrDigest is returned for a reference that pins a digest: the images are
// made here, so nobody can know theirs beforehand.
var ErrDigest = errors.New("a reference with a digest cannot be made up")

// Image is one image that the registry now answers.
type Image struct {
	Ref       manifest.Reference
	Digest    digest.Digest
	MediaType types.MediaType
	// Traits are the forms that were given to it, see [Registry.Populate].
	Traits []string
}

// The forms in which images are made.
const (
	TraitIndex     = "index"      // an index of linux/amd64 and linux/arm64, with an attestation as buildx adds it
	TraitZstd      = "zstd"       // its own layer is compressed with zstd
	TraitCosign    = "cosign"     // signed by cosign's tag scheme, see CosignPublicKey
	TraitReferrer  = "referrer"   // an SPDX document refers to it (OCI 1.1)
	TraitDocker    = "docker"     // Docker's media types, not OCI's
	TraitPlatforms = "multi-arch" // an index because several platforms were asked for
)

// Populate makes an image for every reference at Addr/<repository>:<tag>; the
// registry of the reference plays no part, as for `--mirror *=ADDR`. Each has
// the layer with the program in common and a layer of its own. With one
// platform an image is a single manifest, with several an index of them.
//
// Whatever the list, its first five images take a special form each, in this
// order: [TraitIndex], [TraitZstd], [TraitCosign], [TraitReferrer],
// [TraitDocker]. Errors wrap [ErrNoGo], [ErrDigest] or the cause.
func (r *Registry) Populate(ctx context.Context, refs []manifest.Reference, platforms []string) ([]Image, error) {
	if len(platforms) == 0 {
		platforms = []string{"linux/amd64"}
	}
	m := &maker{reg: r, base: map[string]v1.Layer{}}
	var want []v1.Platform
	for _, s := range platforms {
		p, err := v1.ParsePlatform(s)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return nil, fmt.Errorf("%q is no platform: write OS/ARCH[/VARIANT]", s)
		}
		want = append(want, *p)
	}
	traits := []string{TraitIndex, TraitZstd, TraitCosign, TraitReferrer, TraitDocker}
	made := make([]Image, 0, len(refs))
	for i, ref := range refs {
		if ref.Digest != "" {
			return nil, fmt.Errorf("%s: %w", ref, ErrDigest)
		}
		trait := ""
		if i < len(traits) {
			trait = traits[i]
		}
		img, err := m.make(ctx, ref, want, trait)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be made: %w", ref, err)
		}
		made = append(made, img)
	}
	return made, nil
}

// maker remembers the program's layer by platform, so that it is compiled
// once however many images share it.
type maker struct {
	reg  *Registry
	base map[string]v1.Layer
}

func (m *maker) make(ctx context.Context, ref manifest.Reference, platforms []v1.Platform, trait string) (Image, error) {
	made := Image{Ref: ref}
	if trait != "" {
		made.Traits = append(made.Traits, trait)
	}
	tag, err := name.NewTag(m.reg.addr+"/"+ref.Hostless(), name.Insecure, name.StrictValidation)
	if err != nil {
		return made, err
	}
	opts := []remote.Option{remote.WithContext(ctx)}
	if trait == TraitIndex {
		both := []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
		for _, p := range platforms {
			if !slices.ContainsFunc(both, p.Equals) {
				both = append(both, p)
			}
		}
		platforms = both
	} else if len(platforms) > 1 {
		made.Traits = append(made.Traits, TraitPlatforms)
	}

	var subject v1.Descriptor
	if len(platforms) == 1 {
		img, err := m.image(ctx, ref, platforms[0], trait)
		if err != nil {
			return made, err
		}
		if err := remote.Write(tag, img, opts...); err != nil {
			return made, err
		}
		subject, err = descriptor(img)
		if err != nil {
			return made, err
		}
	} else {
		idx, err := m.index(ctx, ref, platforms, trait)
		if err != nil {
			return made, err
		}
		if err := remote.WriteIndex(tag, idx, opts...); err != nil {
			return made, err
		}
		subject, err = descriptor(idx)
		if err != nil {
			return made, err
		}
	}
	made.Digest, made.MediaType = digest.Digest(subject.Digest.String()), subject.MediaType

	switch trait {
	case TraitCosign:
		err = m.reg.sign(ref, tag.Repository, subject, opts)
	case TraitReferrer:
		err = m.reg.attachSBOM(ref, tag.Repository, subject, opts)
	}
	return made, err
}

func (m *maker) index(ctx context.Context, ref manifest.Reference, platforms []v1.Platform, trait string) (v1.ImageIndex, error) {
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if trait == TraitDocker {
		idx = mutate.IndexMediaType(idx, types.DockerManifestList)
	}
	for _, p := range platforms {
		img, err := m.image(ctx, ref, p, trait)
		if err != nil {
			return nil, err
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
		if trait != TraitIndex {
			continue
		}
		// buildx writes one such child for each platform; tools must not take
		// it for something to run.
		d, err := img.Digest()
		if err != nil {
			return nil, err
		}
		att, err := attestation(ref, d)
		if err != nil {
			return nil, err
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: att, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.type":   "attestation-manifest",
				"vnd.docker.reference.digest": d.String(),
			},
		}})
	}
	return idx, nil
}

// image makes the manifest for one platform: the program's layer, then a
// layer with the image's name and some bytes of its own.
func (m *maker) image(ctx context.Context, ref manifest.Reference, p v1.Platform, trait string) (v1.Image, error) {
	layerType, manifestType, configType := types.OCILayer, types.OCIManifestSchema1, types.OCIConfigJSON
	if trait == TraitDocker {
		layerType, manifestType, configType = types.DockerLayer, types.DockerManifestSchema2, types.DockerConfigJSON
	}
	base, err := m.program(ctx, p)
	if err != nil {
		return nil, err
	}
	ownType := layerType
	if trait == TraitZstd {
		ownType = types.OCILayerZStd
	}
	own, err := newLayer([]file{
		{"etc/image-name", 0o644, []byte(ref.Hostless() + "\n")},
		{"var/lib/image/data", 0o644, noise(ref.Hostless(), m.reg.opts.LayerBytes)},
	}, ownType)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifestType), configType)
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: base, MediaType: layerType, History: v1.History{CreatedBy: "the program"}},
		mutate.Addendum{Layer: own, MediaType: ownType, History: v1.History{CreatedBy: "its name: " + ref.Hostless()}})
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Variant = p.OS, p.Architecture, p.Variant
	cfg.Config.Entrypoint = []string{"/hello"}
	cfg.Config.Env = []string{"PATH=/"}
	return mutate.ConfigFile(img, cfg)
}

func (m *maker) program(ctx context.Context, p v1.Platform) (v1.Layer, error) {
	if l, ok := m.base[p.String()]; ok {
		return l, nil
	}
	bin, err := m.reg.compile(ctx, p)
	if err != nil {
		return nil, err
	}
	l, err := newLayer([]file{{"hello", 0o755, bin}}, types.OCILayer)
	if err != nil {
		return nil, err
	}
	m.base[p.String()] = l
	return l, nil
}

type described interface {
	Digest() (v1.Hash, error)
	Size() (int64, error)
	MediaType() (types.MediaType, error)
}

func descriptor(d described) (v1.Descriptor, error) {
	hash, err := d.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := d.Size()
	if err != nil {
		return v1.Descriptor{}, err
	}
	mt, err := d.MediaType()
	return v1.Descriptor{Digest: hash, Size: size, MediaType: mt}, err
}
