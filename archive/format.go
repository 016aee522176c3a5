package archive

import "github.com/opencontainers/go-digest"

// Media types and annotations of docs/format.md, "The index".
const (
	// MediaTypeLayout is the media type of the layout blob.
	MediaTypeLayout = "application/vnd.bundle.layout.v1+json"

	// AnnotationFormat on the index is the version the file is written in.
	AnnotationFormat = "vnd.bundle.format"
	// AnnotationMinReader on the index is the least format version that a
	// reader must know to read the file.
	AnnotationMinReader = "vnd.bundle.min-reader"
	// AnnotationName on the index is the bundle's name.
	AnnotationName = "vnd.bundle.name"
	// AnnotationVersion on the index is the bundle's version.
	AnnotationVersion = "vnd.bundle.version"
	// AnnotationDockerManifest on the index is the digest of manifest.json;
	// it is there exactly if that member is.
	AnnotationDockerManifest = "vnd.bundle.docker-manifest"
	// AnnotationDelta on the index is the digest of delta.json. The file is a
	// delta if it has that member, and whole if it does not.
	AnnotationDelta = "vnd.bundle.delta"
	// AnnotationReadme on the index is the name of the member that tells people
	// without a program of ours what to do.
	AnnotationReadme = "vnd.bundle.readme"
	// AnnotationPlatform on a program is what it runs on.
	AnnotationPlatform = "vnd.bundle.platform"
	// AnnotationKind on a descriptor of the index is one of the Kind values.
	AnnotationKind = "vnd.bundle.kind"
	// AnnotationRef on a descriptor of the index is its full reference.
	AnnotationRef = "vnd.bundle.ref"
)

// Values of [AnnotationKind].
const (
	KindLayout   = "layout"
	KindBundle   = "bundle"
	KindImage    = "image"
	KindChart    = "chart"
	KindAttached = "attached"
	KindPatch    = "patch"
	KindTool     = "tool"
)

// FormatVersion is the newest version of the format that this package reads.
// It writes each file in the oldest that has what the file needs.
const FormatVersion = 2

// Versions of the format.
const (
	formatFirst = 1
	formatDelta = 2
)

// Limits of docs/format.md, "Limits". A file beyond one of them is refused
// before memory is spent on it.
const (
	// MaxIndexSize bounds index.json, in bytes.
	MaxIndexSize = 64 << 20
	// MaxDockerManifestSize bounds manifest.json, in bytes.
	MaxDockerManifestSize = 64 << 20
	// MaxLayoutSize bounds the layout blob, in bytes.
	MaxLayoutSize = 256 << 20
	// MaxBlobs bounds the number of blobs in the layout.
	MaxBlobs = 4 << 20
	// MaxPackedFrames bounds the frames of all packed blobs together.
	MaxPackedFrames = 16 << 20
	// MaxSignatures bounds the number of signature members.
	MaxSignatures = 64
	// MaxSignatureSize bounds one signature member, in bytes.
	MaxSignatureSize = 1 << 20
)

// Blob is one entry of the layout: a blob and how it is stored.
type Blob struct {
	// Digest of the content; always sha256.
	Digest digest.Digest `json:"digest"`
	// Size of the content in bytes.
	Size int64 `json:"size"`
	// Frames are the compressed sizes in bytes of the blob's independent
	// zstd frames, each of 1 MiB of content but for the last. Nil for a blob
	// that is stored raw.
	Frames []int64 `json:"frames,omitempty"`
	// Packed is the sha256 of all compressed frames in a row; empty for a
	// blob that is stored raw.
	Packed digest.Digest `json:"packed,omitempty"`
}
