package archive

import (
	"strconv"

	"github.com/opencontainers/go-digest"
)

// Names of the members that are not blobs.
const (
	nameOCILayout      = "oci-layout"
	nameIndex          = "index.json"
	nameDockerManifest = "manifest.json"
	nameDelta          = "delta.json"
	blobPrefix         = "blobs/sha256/"
	signaturePrefix    = "signatures/"
	signatureSuffix    = ".sigstore.json"
	nameEnd            = "end of archive"
	nameSeekTable      = "seek table"
)

const ociLayoutContent = `{"imageLayoutVersion":"1.0.0"}`

// maxFileSize and maxBlobSize keep all sums of sizes far from overflow.
const (
	maxFileSize = 1 << 60
	maxBlobSize = 1 << 50
)

// member is one file of the tar, where it lies and how it is stored.
type member struct {
	name   string
	digest digest.Digest // empty where the member is no blob
	size   int64         // of the content
	pos    int64         // in the file
	frames []int64       // of a packed blob
	packed digest.Digest
	sum    bool // raw frames carry checksums
}

func blobMember(b Blob, pos int64) member {
	return member{
		name: blobPrefix + b.Digest.Encoded(), digest: b.Digest, size: b.Size,
		pos: pos, frames: b.Frames, packed: b.Packed,
	}
}

func signatureName(n int) string {
	return signaturePrefix + strconv.Itoa(n) + signatureSuffix
}

func (m *member) isPacked() bool { return m.frames != nil }
func (m *member) head() []byte   { return tarHead(m.name, m.size) }
func (m *member) headLen() int64 { return headLen(m.size) }
func (m *member) padLen() int64  { return padLen(m.size) }

// raw is the shape of a member that is not packed.
func (m *member) raw() rawShape {
	return rawShape{n: m.headLen() + m.size + m.padLen(), sum: m.sum}
}

// content is where the compressed frames of a packed member begin.
func (m *member) content() int64 {
	return m.pos + rawShape{n: m.headLen()}.encodedLen()
}

// encodedLen is the member's length in the file.
func (m *member) encodedLen() int64 {
	if !m.isPacked() {
		return m.raw().encodedLen()
	}
	n := rawShape{n: m.headLen()}.encodedLen()
	for _, f := range m.frames {
		n += f
	}
	if pad := m.padLen(); pad > 0 {
		n += rawShape{n: pad}.encodedLen()
	}
	return n
}

// frameCount is the number of zstd frames.
func (m *member) frameCount() int64 {
	if !m.isPacked() {
		return m.raw().frames()
	}
	n := 1 + int64(len(m.frames))
	if m.padLen() > 0 {
		n++
	}
	return n
}

// eachFrame yields the lengths of the member's frames in the file and of
// their content.
func (m *member) eachFrame(yield func(encoded, decoded int64) bool) bool {
	if !m.isPacked() {
		s := m.raw()
		for i := range s.frames() {
			if !yield(s.frame(i)) {
				return false
			}
		}
		return true
	}
	if !yield(rawShape{n: m.headLen()}.frame(0)) {
		return false
	}
	for i, f := range m.frames {
		if !yield(f, min(packFrame, m.size-int64(i)*packFrame)) {
			return false
		}
	}
	if pad := m.padLen(); pad > 0 {
		return yield(rawShape{n: pad}.frame(0))
	}
	return true
}

// split cuts p, the bytes from pos of the member's tar stream, into what is
// header, content and padding.
func (m *member) split(pos int64, p []byte) (head, content, pad []byte) {
	h := min(max(m.headLen()-pos, 0), int64(len(p)))
	c := min(max(m.headLen()+m.size-pos, h), int64(len(p)))
	return p[:h], p[h:c], p[c:]
}

// damaged makes an error about n bytes at off in the file.
func (m *member) damaged(off, n int64, reason string) *Error {
	return &Error{Class: ErrDamaged, Member: m.name, Digest: m.digest, Offset: off, Length: n, Reason: reason}
}

// wrongDigest makes the error for content that is not the blob's.
func (m *member) wrongDigest(reason string) *Error {
	return &Error{Class: ErrDigest, Member: m.name, Digest: m.digest, Offset: m.pos, Length: m.encodedLen(), Reason: reason}
}
