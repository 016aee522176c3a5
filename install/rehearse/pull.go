package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
)

// doc is an image index or manifest.
type doc struct {
	MediaType string
	Manifests []ocispec.Descriptor
	Config    *ocispec.Descriptor
	Layers    []ocispec.Descriptor
}

const maxLayers = 1000

// pulled is what became of one reference.
type pulled struct {
	digest    digest.Digest
	platforms []string
	bytes     int64
	// kind and reason of what is wrong; kind is empty if nothing is.
	kind   Kind
	reason string
	// hostless is the digest that the name has without its registry.
	hostless digest.Digest
}

func (p *pulled) fail(kind Kind, format string, args ...any) {
	if p.kind == "" {
		p.kind, p.reason = kind, fmt.Sprintf(format, args...)
	}
}

// failed takes an error of the registry for an object of the image.
func (p *pulled) failed(r *registry, what string, d digest.Digest, err error) {
	if r.damaged(d) {
		p.fail(Damaged, "%s%s: its bytes are not those of %s", what, errBroken, d)
		return
	}
	if errors.Is(err, errAbsent) {
		p.fail(Missing, "%s%s", what, err)
		return
	}
	p.fail(Damaged, "%s%s", what, err)
}

// pull does what a container runtime does for ref: its manifest by tag, then
// by digest; for every platform its config and its layers.
func (r *registry) pull(ctx context.Context, ref manifest.Reference, local func(string) bool, platforms []manifest.Platform) pulled {
	var p pulled
	ns := ref.Registry
	if local(ns) {
		ns = ""
	}
	at := func(reference string) string { return ref.Repository + "/manifests/" + reference }
	d := ref.Digest
	if ref.Tag != "" {
		_, byTag, err := r.get(ctx, at(ref.Tag), ns, "", maxManifest)
		switch {
		case err == nil && d == "":
			d = byTag
		case err != nil && d == "":
			p.failed(r, "", "", err)
			return p
		}
	}
	body, _, err := r.get(ctx, at(d.String()), ns, d, maxManifest)
	if err != nil {
		p.failed(r, "", d, err)
		return p
	}
	p.digest = d
	p.bytes = int64(len(body))
	if ns != "" && ref.Tag != "" {
		// As docker, or a manifest that names our registry, asks for it.
		_, p.hostless, _ = r.get(ctx, at(ref.Tag), "", "", maxManifest)
	}
	var m doc
	if err := json.Unmarshal(body, &m); err != nil {
		p.fail(Damaged, "has a manifest that is not JSON")
		return p
	}
	if len(m.Manifests) == 0 {
		r.image(ctx, &p, ref.Repository, ns, m, platforms)
		return p
	}
	for _, want := range platforms {
		i := slices.IndexFunc(m.Manifests, func(c ocispec.Descriptor) bool { return fits(want, c.Platform) })
		if i < 0 {
			p.fail(Missing, "has no image for %s", want)
			continue
		}
		child := m.Manifests[i].Digest
		body, _, err := r.get(ctx, at(child.String()), ns, child, maxManifest)
		if err != nil {
			p.failed(r, "for "+want.String()+" ", child, err)
			continue
		}
		p.bytes += int64(len(body))
		var cm doc
		if err := json.Unmarshal(body, &cm); err != nil {
			p.fail(Damaged, "has a manifest for %s that is not JSON", want)
			continue
		}
		r.image(ctx, &p, ref.Repository, ns, cm, []manifest.Platform{want})
	}
	return p
}

// image reads the config and the layers of one manifest, which is for all of
// the platforms or wrong.
func (r *registry) image(ctx context.Context, p *pulled, repository, ns string, m doc, platforms []manifest.Platform) {
	if m.Config == nil || len(m.Layers) > maxLayers {
		p.fail(Damaged, "has a manifest without a config, or with more than %d layers", maxLayers)
		return
	}
	body, _, err := r.get(ctx, repository+"/blobs/"+m.Config.Digest.String(), ns, m.Config.Digest, maxConfig)
	if err != nil {
		p.failed(r, "has a config that ", m.Config.Digest, err)
		return
	}
	p.bytes += int64(len(body))
	var c ocispec.Platform
	if json.Unmarshal(body, &c) == nil && c.Architecture != "" {
		for _, want := range platforms {
			if !fits(want, &c) {
				p.fail(Missing, "is there for %s only, and hosts are %s", manifest.NewPlatform(c.OS, c.Architecture, c.Variant), want)
				return
			}
		}
	}
	for i, l := range m.Layers {
		if len(l.URLs) > 0 {
			continue // a layer that may not be distributed; its maker has it
		}
		p.bytes += l.Size
		if err := r.layer(ctx, repository, ns, l); err != nil {
			p.failed(r, fmt.Sprintf("has a layer (%d of %d) that ", i+1, len(m.Layers)), l.Digest, err)
			return
		}
	}
	for _, want := range platforms {
		p.platforms = append(p.platforms, want.String())
	}
}

// fits tells whether an image for has runs on want. A variant that one of the
// two does not name is taken for any.
func fits(want manifest.Platform, has *ocispec.Platform) bool {
	if has == nil {
		return false
	}
	h := manifest.NewPlatform(or(has.OS, want.OS), has.Architecture, has.Variant)
	return h.OS == want.OS && h.Arch == want.Arch && (h.Variant == want.Variant || has.Variant == "" || want.Variant == "")
}

// listHint says what to do about a missing image: what the bundle has that is
// near, or else to list it.
func listHint(reason string) string {
	if reason = strings.TrimSpace(reason); reason != "" {
		return reason
	}
	return "add it to the imageList and build the bundle again"
}
