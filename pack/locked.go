package pack

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
	"bundle/manifest/lock"
	"bundle/registry/pull"
)

// lockError says that the inputs and the lock do not fit each other.
func lockError(path, format string, args ...any) error {
	return inputError{hintError{
		fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)),
		"--update-lock resolves everything anew; without it the lock is built from exactly",
	}}
}

// errNotLocked heads the list of differences.
var errNotLocked = errors.New("the lock and the inputs differ")

// pinToLock gives each request the digest of the lock and refuses inputs that
// the lock was not made for.
func pinToLock(requests []pull.Request, l *lock.Lock, in *inputs) error {
	if l == nil {
		return nil
	}
	var diff []string
	if !slices.Equal(l.Platforms, in.platforms) {
		diff = append(diff, fmt.Sprintf("platforms are %s, the lock has %s", strings.Join(in.platforms, ","), strings.Join(l.Platforms, ",")))
	}
	locked := make(map[string]digest.Digest, len(l.Images))
	for _, i := range l.Images {
		locked[i.Name] = i.Digest
	}
	for i := range requests {
		name := requests[i].Ref.String()
		d, ok := locked[name]
		if !ok {
			diff = append(diff, "image "+name+" is not in the lock")
			continue
		}
		delete(locked, name)
		if requests[i].Digest != "" && requests[i].Digest != d {
			diff = append(diff, fmt.Sprintf("image %s is %s in the base and %s in the lock", name, requests[i].Digest, d))
		}
		requests[i].Digest = d
	}
	for name := range locked {
		diff = append(diff, "image "+name+" is in the lock and nothing asks for it any more")
	}
	slices.Sort(diff)
	if len(diff) > 0 {
		return lockMismatch(diff)
	}
	return nil
}

func lockMismatch(diff []string) error {
	return lockError("the lock", "%s:\n  %s", errNotLocked, strings.Join(diff, "\n  "))
}

// keepLockedAttachments drops signatures and other referrers that came after
// the lock, and errs where one that it names is gone.
func keepLockedAttachments(images []packedImage, l *lock.Lock) error {
	if l == nil {
		return nil
	}
	want := map[string][]manifest.Attached{}
	for _, i := range l.Images {
		want[i.Name] = i.Attached
	}
	var diff []string
	for i := range images {
		name := images[i].ref.String()
		var keep []packedAttachment
		for _, w := range want[name] {
			at := slices.IndexFunc(images[i].attached, func(a packedAttachment) bool { return a.Digest == w.Digest && a.Tag == w.Tag })
			if at < 0 {
				diff = append(diff, fmt.Sprintf("%s %s of image %s is gone from its source", w.Tag, w.Digest, name))
				continue
			}
			keep = append(keep, images[i].attached[at])
		}
		images[i].dropAttachments(keep)
	}
	if len(diff) > 0 {
		return lockMismatch(diff)
	}
	return nil
}

// dropAttachments keeps only the given attachments, and of manifests and blobs
// only what they or the image itself need.
func (img *packedImage) dropAttachments(keep []packedAttachment) {
	dropped := map[digest.Digest]bool{}
	for _, a := range img.attached {
		dropped[a.Digest] = true
	}
	for _, a := range keep {
		delete(dropped, a.Digest)
	}
	img.attached = keep
	if len(dropped) == 0 {
		return
	}
	needed := map[digest.Digest]bool{}
	img.order = slices.DeleteFunc(img.order, func(d ocispec.Descriptor) bool { return dropped[d.Digest] })
	for _, d := range img.order {
		for _, child := range blobsOf(img.manifests[d.Digest]) {
			needed[child] = true
		}
	}
	img.blobs = slices.DeleteFunc(img.blobs, func(b packedBlob) bool { return !needed[b.desc.Digest] })
}

// settleLock checks what only a finished plan knows against the lock, or
// makes the lock that Run writes.
func (b *Build) settleLock(l *lock.Lock, in *inputs, base *base, charts []packedChart) error {
	if b.opts.Lock == "" {
		return nil
	}
	now := &lock.Lock{Platforms: in.platforms}
	if base != nil {
		now.Bases = []lock.Base{{Ref: base.ref, Digest: base.digest}}
	}
	for _, img := range b.images {
		i := lock.Image{Name: img.ref.String(), Digest: img.desc.Digest, MediaType: img.desc.MediaType, Platforms: img.platforms}
		for _, a := range img.attached {
			i.Attached = append(i.Attached, a.Attached)
		}
		now.Images = append(now.Images, i)
	}
	for _, c := range charts {
		now.Charts = append(now.Charts, lock.Chart{
			Name: c.Name, Version: c.Version, Digest: digest.FromBytes(c.artifact.Layer), Source: chartSource(c),
		})
	}
	now.Files = b.filesDigest
	if l == nil {
		b.lock = now
		return nil
	}
	if diff := lock.Diff(l, now); len(diff) > 0 {
		return lockMismatch(diff)
	}
	return nil
}

// chartSource names where a chart came from in a way that is the same on
// every machine.
func chartSource(c packedChart) string {
	if c.path != "" {
		return c.path
	}
	return strings.TrimPrefix(string(c.source), "--chart ")
}
