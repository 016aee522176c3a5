package pull

import (
	"errors"
	"io"

	"bundle/archive"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// NewBundle is the source of what an open, loaded bundle holds. Whether its
// signature was checked is the caller's business. Closing the source does
// not close r.
func NewBundle(name string, r *archive.Reader) LocalSource {
	return &local{name: name, content: &bundleContent{r: r, entries: bundleEntries(r.Index())}}
}

// bundleContent reads a bundle in place.
type bundleContent struct {
	r       *archive.Reader
	entries []entry
	close   func() error
}

func openBundle(file string) (content, error) {
	r, err := archive.Open(file)
	if err != nil {
		return nil, err
	}
	if err := r.Load(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &bundleContent{r: r, entries: bundleEntries(r.Index()), close: r.Close}, nil
}

// bundleEntries names images, charts and attachments by the full reference
// that the bundle records; an OCI referrer has a reference without tag,
// which nothing asks for by name.
func bundleEntries(index *ocispec.Index) []entry {
	if index == nil {
		return nil
	}
	var list []ocispec.Descriptor
	for _, d := range index.Manifests {
		switch d.Annotations[archive.AnnotationKind] {
		case archive.KindImage, archive.KindAttached, archive.KindChart, archive.KindBundle:
		default:
			continue
		}
		name := d.Annotations[archive.AnnotationRef]
		d.Annotations = map[string]string{annotationImageName: name}
		list = append(list, d)
	}
	return layoutEntries(list)
}

func (b *bundleContent) list() []entry { return b.entries }

func (b *bundleContent) read(d digest.Digest, limit int64) ([]byte, error) {
	raw, err := b.r.ReadBlob(d, limit)
	return raw, absent(err, d)
}

func (b *bundleContent) open(d digest.Digest, offset int64) (io.ReadCloser, int64, error) {
	r, err := b.r.Open(d)
	if err != nil {
		return nil, 0, absent(err, d)
	}
	offset = min(max(offset, 0), r.Size())
	return io.NopCloser(r.Section(offset, r.Size()-offset)), r.Size(), nil
}

func (b *bundleContent) Close() error {
	if b.close == nil {
		return nil
	}
	return b.close()
}

// absent says in this package's words that a bundle leaves a blob out, as a
// delta or a sparse index does.
func absent(err error, d digest.Digest) error {
	if errors.Is(err, archive.ErrMissing) {
		return notExist(string(d))
	}
	return err
}
