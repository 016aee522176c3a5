package serve

import (
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Errors that [New] and the functions of this package wrap.
var (
	// ErrIndex says that the index of a bundle cannot be served.
	ErrIndex = errors.New("the bundle's index cannot be served")
	// ErrConflict says that two bundles give one name to different content.
	ErrConflict = errors.New("one name for two different contents")
	// ErrDamaged says that bytes read from a bundle do not have the digest
	// under which they are known.
	ErrDamaged = errors.New("damaged in the bundle")
	// ErrUnknown says that no bundle holds a blob.
	ErrUnknown = errors.New("not in the bundle")
	// ErrOptions says that an option cannot be used.
	ErrOptions = errors.New("cannot serve so")
)

// Blob is random access to the bytes of one blob.
type Blob interface {
	io.ReaderAt
	// Size is the length of the blob in bytes.
	Size() int64
}

// Content is what the server asks of a bundle. Its methods are called from
// many goroutines at once.
type Content interface {
	// Index is the bundle's OCI image index. It must not change.
	Index() *ocispec.Index
	// Size tells whether the blob is there and how long it is, in bytes.
	Size(d digest.Digest) (int64, bool)
	// Open gives access to a blob. Its bytes need not be checked: the server
	// does that.
	Open(d digest.Digest) (Blob, error)
	// ReadBlob gives a whole blob of at most limit bytes, checked against its
	// digest.
	ReadBlob(d digest.Digest, limit int64) ([]byte, error)
}

// Bundle is one bundle to serve.
type Bundle struct {
	// Name is what messages call the bundle, usually its file name.
	Name string
	// Content is what the bundle holds.
	Content Content
}

// maxManifest bounds every manifest and index read from a bundle, in bytes.
// It is the limit that registries put on manifests pushed to them.
const maxManifest = 4 << 20
