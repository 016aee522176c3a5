package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
	"bundle/manifest/lock"
	"bundle/registry/pull"
	"bundle/registry/wire"
)

// pull resolves every wanted image.
func (b *Build) pull(ctx context.Context, in *inputs, sources []pull.Source, pins map[manifest.Reference]digest.Digest, locked *lock.Lock, items Items) ([]packedImage, error) {
	p := &pull.Puller{Sources: sources, Platforms: in.platforms, Jobs: 2 * cmp.Or(b.opts.Jobs, defaultJobs)} // answers are small, and mostly waited for
	if items != nil {
		items.Add(len(in.images.order))
		p.Resolved = func(i *pull.Image) { items.Done(i.Ref.String()) }
		p.Failed = func(f pull.Failure) { items.Done(f.Name) }
	}
	requests := make([]pull.Request, 0, len(in.images.order))
	for _, ref := range in.images.order {
		requests = append(requests, pull.Request{Ref: ref, Digest: pins[ref]})
	}
	if err := pinToLock(requests, locked, in); err != nil {
		return nil, err
	}
	resolved, err := p.Resolve(ctx, requests)
	if err = b.withoutOptional(err, in); err != nil {
		return nil, err
	}
	if _, err := pull.Blobs(resolved); err != nil {
		return nil, err
	}
	images := make([]packedImage, len(resolved))
	for i := range resolved {
		images[i] = toPacked(&resolved[i], in.images.by[resolved[i].Ref])
	}
	slices.SortFunc(images, func(x, y packedImage) int { return cmp.Compare(x.ref.String(), y.ref.String()) })
	return images, keepLockedAttachments(images, locked)
}

// withoutOptional turns failures of optional images into warnings, if there
// are no others.
func (b *Build) withoutOptional(err error, in *inputs) error {
	failures, ok := errors.AsType[*pull.Failures](err)
	if !ok {
		return err
	}
	for _, f := range failures.List {
		if !in.optional[f.Name] || !errors.Is(f.Err, pull.ErrNotFound) {
			return err
		}
	}
	for _, f := range failures.List {
		b.opts.Warn(Warning{Text: fmt.Sprintf("optional image %s is left out: %v", f.Name, f.Err)})
	}
	return nil
}

// newRemote makes the source that asks registries. ahead may be nil.
func newRemote(o RegistryOptions, ahead *pull.Ahead) (*pull.Remote, error) {
	h, err := HTTPOptions(o)
	if err != nil {
		return nil, err
	}
	return pull.NewRemote(pull.RemoteOptions{HTTP: h, Mirrors: o.Mirrors, MirrorOnly: true, Ahead: ahead})
}

// HTTPOptions gives the same as the registry packages want it.
func HTTPOptions(o RegistryOptions) (wire.Options, error) {
	h := wire.Options{PlainHTTP: o.PlainHTTP, CAFile: o.CA, InsecureSkipVerify: o.SkipTLSVerify, Retries: o.Retries, UserAgent: "bundle"}
	if o.Config != "" {
		k, err := wire.FileKeychain(o.Config)
		if err != nil {
			return h, err
		}
		h.Keychain = k
	}
	return h, nil
}

// toPacked turns a resolved image into one that knows how to be written.
func toPacked(img *pull.Image, neededBy []manifest.Source) packedImage {
	p := packedImage{
		ref: img.Ref, desc: img.Descriptor, platforms: img.Platforms, from: img.Source,
		manifests: map[digest.Digest][]byte{}, neededBy: neededBy,
	}
	for _, m := range img.Manifests {
		p.manifests[m.Desc.Digest] = m.Bytes
		p.order = append(p.order, m.Desc)
	}
	for _, blob := range img.Blobs {
		p.blobs = append(p.blobs, packedBlob{desc: blob.Desc, open: blob.Open})
	}
	for _, a := range img.Attached {
		p.attached = append(p.attached, packedAttachment{
			Attached: manifest.Attached{Digest: a.Digest, Tag: a.Tag, ArtifactType: a.ArtifactType},
			desc:     a.Descriptor,
		})
	}
	p.markAttachedBlobs()
	return p
}
