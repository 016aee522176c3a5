package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"bundle/manifest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LocalSource is a source that holds files open until it is closed.
type LocalSource interface {
	Source
	io.Closer
}

// content is what tells the local formats apart: how they find bytes.
type content interface {
	// list gives the images with their names.
	list() []entry
	// read gives a manifest or config whole, unchecked; fs.ErrNotExist if
	// it is not there.
	read(d digest.Digest, limit int64) ([]byte, error)
	// open reads a blob from offset and tells its whole size.
	open(d digest.Digest, offset int64) (io.ReadCloser, int64, error)
	io.Closer
}

// local is a [LocalSource] on any content.
type local struct {
	name string
	content

	scan     sync.Once
	scanErr  error
	subjects map[digest.Digest][]Attachment
}

func (l *local) Name() string { return l.name }

func (l *local) Resolve(ctx context.Context, ref manifest.Reference) (ocispec.Descriptor, error) {
	e, err := match(l.list(), ref)
	return e.desc, fail(ctx, l.name, "resolve", ref, err)
}

func (l *local) Manifest(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor) ([]byte, error) {
	err := checkDescriptor(desc)
	var raw []byte
	if err == nil {
		raw, err = l.read(desc.Digest, MaxManifest)
	}
	if err == nil {
		err = checkManifest(desc, raw)
	}
	return raw, l.fail(ctx, "read manifest "+string(desc.Digest)+" of", ref, err)
}

func (l *local) Blob(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	err := checkDescriptor(desc)
	var r io.ReadCloser
	var size int64
	if err == nil {
		r, size, err = l.open(desc.Digest, offset)
	}
	if err == nil && size != desc.Size {
		err = errors.Join(reason(ErrDigest, "it holds %d bytes, the manifest announces %d", size, desc.Size), r.Close())
	}
	if err != nil {
		return nil, l.fail(ctx, "read blob "+string(desc.Digest)+" of", ref, err)
	}
	return &endingReader{ReadCloser: r, ctx: ctx}, nil
}

// endingReader stops reading when its context ends.
type endingReader struct {
	io.ReadCloser
	ctx context.Context
}

func (r *endingReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.ReadCloser.Read(p)
}

// fail says where it failed; a file that should be there is not found.
func (l *local) fail(ctx context.Context, op string, ref manifest.Reference, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = reason(ErrNotFound, "%s does not hold it", l.name)
	} else if err != nil {
		err = fmt.Errorf("%s: %w", l.name, err)
	}
	return fail(ctx, l.name, op, ref, err)
}

func (l *local) Attached(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor) ([]Attachment, error) {
	const op = "list what is attached to"
	list := newAttachments(desc.Digest)
	for _, suffix := range cosignTags {
		tag := manifest.Reference{Registry: ref.Registry, Repository: ref.Repository, Tag: attachedTag(desc.Digest, suffix)}
		e, err := match(l.list(), tag)
		switch {
		case err == nil:
			list.add(Attachment{Descriptor: e.desc, Tag: tag.Tag})
		case !isNotFound(err):
			return nil, l.fail(ctx, op, ref, err)
		}
	}
	l.scan.Do(func() { l.subjects, l.scanErr = subjects(ctx, l) })
	if l.scanErr != nil {
		return nil, l.fail(ctx, op, ref, l.scanErr)
	}
	for _, a := range l.subjects[desc.Digest] {
		list.add(a)
	}
	return list.all, nil
}

// subjects finds the referrers among the listed manifests, which say
// themselves what they refer to.
func subjects(ctx context.Context, c content) (map[digest.Digest][]Attachment, error) {
	found := map[digest.Digest][]Attachment{}
	for _, e := range c.list() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		raw, err := c.read(e.desc.Digest, MaxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		doc, err := parseDocument(raw, e.desc.MediaType)
		if err != nil || doc.Subject == nil {
			continue
		}
		found[doc.Subject.Digest] = append(found[doc.Subject.Digest], Attachment{Descriptor: e.desc})
	}
	return found, nil
}

// layout is an OCI image layout in a store.
type layout struct {
	store
	entries []entry
}

// newLayout reads index.json; fs.ErrNotExist if there is none.
func newLayout(s store) (*layout, error) {
	raw, err := readMember(s, ocispec.ImageIndexFile, 4*MaxManifest)
	if err != nil {
		return nil, err
	}
	var version ocispec.ImageLayout
	mark, err := readMember(s, ocispec.ImageLayoutFile, 1<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Some tools leave it out so that ctr takes the archive.
	case err != nil:
		return nil, err
	case json.Unmarshal(mark, &version) != nil || !strings.HasPrefix(version.Version, "1."):
		return nil, reason(ErrUnsupported, "it is an OCI layout of version %q, 1.x is known", clip(version.Version))
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, reason(ErrInvalid, "its index.json is not JSON: %s", err)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("its index.json: %w", err)
		}
	}
	return &layout{store: s, entries: layoutEntries(index.Manifests)}, nil
}

func (l *layout) list() []entry { return l.entries }

func blobPath(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + string(d.Algorithm()) + "/" + d.Encoded()
}

func (l *layout) read(d digest.Digest, limit int64) ([]byte, error) {
	return readMember(l.store, blobPath(d), limit)
}

func (l *layout) open(d digest.Digest, offset int64) (io.ReadCloser, int64, error) {
	return l.store.open(blobPath(d), offset)
}
