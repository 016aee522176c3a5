package serve

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// Archive makes the [Content] of a bundle file. r must be loaded, its
// signature checked by then if it is to be, and stay open as long as the
// server runs.
func Archive(r *archive.Reader) Content { return archived{r} }

type archived struct{ r *archive.Reader }

func (a archived) Index() *ocispec.Index { return a.r.Index() }

func (a archived) Size(d digest.Digest) (int64, bool) {
	b, ok := a.r.Stat(d)
	return b.Size, ok
}

func (a archived) Open(d digest.Digest) (Blob, error) {
	b, err := a.r.Open(d)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (a archived) ReadBlob(d digest.Digest, limit int64) ([]byte, error) {
	return a.r.ReadBlob(d, limit)
}
