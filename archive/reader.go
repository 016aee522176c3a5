package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Reader gives random access to a bundle. Its methods may be called from
// several goroutines once [Reader.Load] has returned.
type Reader struct {
	ra   io.ReaderAt
	size int64
	path string
	// closers are the files that were opened for it.
	closers []io.Closer
	tools   tools
	cache   frameCache

	indexBytes  []byte
	indexDigest digest.Digest
	tail        tail

	// Set by Load.
	index  *ocispec.Index
	docker []byte
	geo    *geometry

	// Set by Attach.
	attached map[digest.Digest]*Reader

	vols  *volumes                  // nil for a bundle in one file
	files []string                  // of the volumes
	over  map[digest.Digest]*Reader // set by Overlay
	parts []*Reader
}

// Open opens the bundle at path, which may be one volume of it. See
// [NewReader] and [OpenAll].
func Open(path string) (*Reader, error) {
	readers, errs := OpenAll([]string{path})
	if errs[0] != nil {
		return nil, errs[0]
	}
	return readers[0], nil
}

// NewReader opens a bundle of size bytes. It reads the head and the tail
// only, whatever the size: the framing of both is checked, index.json and the
// signatures are read, and nothing is parsed, so that a signature can be
// checked first. Errors are an [*Error] of class [ErrFormat] or [ErrDamaged],
// or what ra returned.
func NewReader(ra io.ReaderAt, size int64) (*Reader, error) {
	return newReader(ra, size, "")
}

func newReader(ra io.ReaderAt, size int64, path string) (*Reader, error) {
	r := &Reader{ra: ra, size: size, path: path}
	src := newSourceAt(ra, 0, size)
	if err := readOCILayout(src, func() bool { return hasFooter(ra, size) }); err != nil {
		return nil, r.hint(err)
	}
	var err error
	r.indexBytes, err = r.tools.readUnsized(src, nameIndex, MaxIndexSize, size-src.off)
	if err != nil {
		return nil, r.hint(err)
	}
	r.indexDigest = digest.FromBytes(r.indexBytes)
	if isVolume(r.indexBytes) {
		return nil, errVolume
	}
	if r.tail, err = readTail(ra, size); err != nil {
		return nil, r.hint(err)
	}
	if r.tail.pos < src.off {
		table := member{name: nameSeekTable}
		return nil, r.hint(table.damaged(r.tail.table, 0, "the tail begins inside index.json"))
	}
	return r, nil
}

// maxHeadDamage is how many of the first bytes may differ in a file that is
// taken for a damaged bundle rather than for another kind of file.
const maxHeadDamage = 32

func differing(a, b []byte) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// hasFooter tells whether a file ends as a bundle does.
func hasFooter(ra io.ReaderAt, size int64) bool {
	var b [4]byte
	return size > seekTableLeast && readFull(ra, b[:], size-4) == nil && binary.LittleEndian.Uint32(b[:]) == seekableMagic
}

// readOCILayout reads the first member, whose bytes are always the same, and
// so tells a bundle from other files. footer, if not nil, tells whether the file
// ends as a bundle does.
func readOCILayout(src *source, footer func() bool) error {
	m := ociLayoutMember()
	var b bytes.Buffer
	if err := writeRaw(&b, &m, []byte(ociLayoutContent)); err != nil {
		return err
	}
	want := b.Bytes()
	have, err := src.peek(&m, len(want))
	if err != nil {
		return err
	}
	if len(have) < len(want) && bytes.HasPrefix(want, have) {
		return m.damaged(0, int64(len(have)), "the file is cut off")
	}
	if len(have) < len(want) || differing(have, want) > maxHeadDamage && (footer == nil || !footer()) {
		return &Error{Class: ErrFormat, Reason: "the file does not begin as a bundle does"}
	}
	c := newComparer(src)
	c.part(&m)
	_, err = c.Write(want)
	return err
}

// hint adds to an error of damage what an interrupted signing explains.
func (r *Reader) hint(err error) error {
	var e *Error
	if r.path == "" || !errors.As(err, &e) || e.Class != ErrDamaged {
		return err
	}
	journal := r.path + signJournalSuffix
	if _, serr := os.Lstat(journal); serr != nil {
		return err
	}
	c := *e
	c.Reason += "; adding a signature was interrupted, as " + journal + " shows: sign again, that repairs the file first"
	return &c
}

// IndexBytes is index.json as it stands in the file. It must not be changed.
func (r *Reader) IndexBytes() []byte { return r.indexBytes }

// IndexDigest is the sha256 of [Reader.IndexBytes].
func (r *Reader) IndexDigest() digest.Digest { return r.indexDigest }

// Signatures are the signature members in file order.
func (r *Reader) Signatures() [][]byte { return r.tail.signatures }

// Size of the file in bytes.
func (r *Reader) Size() int64 { return r.size }

// Path given to [Open], or empty.
func (r *Reader) Path() string { return r.path }

// Load parses index.json and the layout and checks that they describe this
// file. Call it after the signature was checked. Errors are an [*Error] of
// any class but [ErrMissing], or what reading returned. A second call does
// nothing.
func (r *Reader) Load() error {
	if r.geo != nil {
		return nil
	}
	begin := indexMember(int64(len(r.indexBytes))).end()
	src := newSourceAt(r.ra, begin, r.tail.pos-begin)
	h, err := r.tools.readInventory(src, r.indexBytes, r.tail.pos)
	if err != nil {
		return r.hint(err)
	}
	if err := h.geo.matches(r.ra, &r.tail); err != nil {
		return r.hint(err)
	}
	r.index, r.docker, r.geo = &h.index, h.docker, h.geo
	return nil
}

// end is where the member ends in the file.
func (m member) end() int64 { return m.pos + m.encodedLen() }

// inventory is what index.json and the members up to the layout say.
type inventory struct {
	index  ocispec.Index
	docker []byte
	geo    *geometry
}

// readInventory reads the members behind index.json up to the layout. limit is
// where they must have ended at the latest, or -1.
func (t *tools) readInventory(src *source, index []byte, limit int64) (*inventory, error) {
	p, err := parseIndex(index)
	if err != nil {
		return nil, err
	}
	h := &inventory{index: p.index}
	dockerSize := int64(-1)
	if p.docker != "" {
		remaining := int64(-1)
		if limit >= 0 {
			remaining = limit - src.off
		}
		at := src.off
		if h.docker, err = t.readUnsized(src, nameDockerManifest, MaxDockerManifestSize, remaining); err != nil {
			return nil, err
		}
		dockerSize = int64(len(h.docker))
		if digest.FromBytes(h.docker) != p.docker {
			return nil, &Error{Class: ErrDigest, Member: nameDockerManifest, Offset: at, Length: src.off - at, Reason: "its content is not what index.json says"}
		}
	}
	m := blobMember(Blob{Digest: p.layout.Digest, Size: p.layout.Size}, src.off)
	if limit >= 0 && m.end() > limit {
		return nil, m.damaged(src.off, 0, "the file is cut off")
	}
	data, err := t.readMember(src, m)
	if err != nil {
		return nil, err
	}
	blobs, err := parseLayout(data)
	if err != nil {
		return nil, m.malformed(err)
	}
	part, err := t.readDelta(src, p, len(blobs), limit)
	if err != nil {
		return nil, err
	}
	h.geo, err = newGeometry(int64(len(index)), dockerSize, p.layout.Digest, p.layout.Size, blobs, part)
	if err != nil {
		return nil, m.malformed(err)
	}
	return h, nil
}

// readDelta reads delta.json; nil where the file is whole.
func (t *tools) readDelta(src *source, p *parsedIndex, blobs int, limit int64) (*deltaPart, error) {
	if p.delta == "" {
		return nil, nil
	}
	m := member{name: nameDelta, pos: src.off}
	front, err := src.peek(&m, frameHeader+blockHeader+tarBlock)
	if err != nil {
		return nil, err
	}
	if !beginsDelta(front) {
		return nil, nil
	}
	remaining := int64(-1)
	if limit >= 0 {
		remaining = limit - src.off
	}
	data, err := t.readUnsized(src, nameDelta, maxDeltaSize, remaining)
	if err != nil {
		return nil, err
	}
	m.size = int64(len(data))
	if digest.FromBytes(data) != p.delta {
		return nil, &Error{Class: ErrDigest, Member: nameDelta, Offset: m.pos, Length: src.off - m.pos, Reason: "its content is not what index.json says"}
	}
	part, err := parseDelta(data, blobs)
	if err != nil {
		return nil, m.malformed(err)
	}
	return part, nil
}

// malformed makes the error for a member whose bytes are right and make no
// sense.
func (m *member) malformed(err error) *Error {
	class := ErrDamaged
	if errors.Is(err, ErrVersion) {
		class = ErrVersion
	}
	return &Error{Class: class, Member: m.name, Digest: m.digest, Offset: m.pos, Length: m.encodedLen(), Reason: err.Error()}
}

// matches tells whether the blobs fill exactly the room up to the tail.
func (g *geometry) matches(ra io.ReaderAt, t *tail) error {
	if g.end == t.pos && g.frames == t.frames {
		return nil
	}
	table := member{name: nameSeekTable}
	switch {
	case g.end > t.pos:
		return table.damaged(t.pos, t.table-t.pos, fmt.Sprintf("the blobs need %d bytes more than there are before the file's tail", g.end-t.pos))
	case g.end == t.pos:
		return table.damaged(t.table, seekTableLen(t.frames), fmt.Sprintf("it lists %d frames in place of %d before the tail", t.frames, g.frames))
	}
	e := &Error{Class: ErrUnexpected, Offset: g.end, Length: t.pos - g.end, Reason: "the file holds bytes that the layout does not list"}
	front := make([]byte, frameHeader+blockHeader+tarBlock)
	if int64(len(front)) <= t.pos-g.end && readFull(ra, front, g.end) == nil {
		if name, _, ok := parseTarHead(front[frameHeader+blockHeader:]); ok {
			e.Member = name
			e.Reason = "neither index.json nor the layout lists it"
		}
	}
	return e
}

// Index is the parsed index.json; nil before Load.
func (r *Reader) Index() *ocispec.Index { return r.index }

// Blobs lists the blobs that are at hand, in the order of the layout and
// without the layout blob: those in the file, and those in what was attached.
// The slice must not be changed.
func (r *Reader) Blobs() []Blob {
	if r.geo == nil {
		return nil
	}
	if len(r.attached) == 0 && r.vols == nil {
		return r.geo.carried()
	}
	var list []Blob
	for i := range r.geo.blobs {
		if !r.lacks(i) || r.attached[r.geo.blobs[i].Digest] != nil {
			list = append(list, r.geo.blobs[i])
		}
	}
	return list
}

// Layout lists all blobs of the bundle in order, those included that are not
// at hand. The slice must not be changed.
func (r *Reader) Layout() []Blob {
	if r.geo == nil {
		return nil
	}
	return r.geo.blobs
}

// DockerManifest is the manifest.json member; nil if there is none.
func (r *Reader) DockerManifest() []byte { return r.docker }

// Stat finds a blob of the layout, or the layout blob itself.
func (r *Reader) Stat(d digest.Digest) (Blob, bool) {
	_, m, err := r.holder(d)
	if err != nil {
		return Blob{}, false
	}
	return Blob{Digest: m.digest, Size: m.size, Frames: m.frames, Packed: m.packed}, true
}

// own finds a blob that is in the file itself.
func (r *Reader) own(d digest.Digest) (member, error) {
	if r.geo == nil {
		return member{}, ErrNotLoaded
	}
	m, ok := r.geo.member(d)
	if !ok {
		return member{}, &Error{Class: ErrMissing, Digest: d, Reason: fmt.Sprintf("the bundle does not hold blob %s", d)}
	}
	if r.vols != nil && d != r.geo.layout.digest && !r.vols.covers(m.pos, m.encodedLen()) {
		return member{}, &Error{Class: ErrMissing, Digest: d, Reason: fmt.Sprintf("blob %s lies in %s", d, r.vols.lacking())}
	}
	return m, nil
}

// Extent tells where in the file the blob's tar member lies, header and
// padding included, in bytes. Both are 0 if the file itself does not hold it.
func (r *Reader) Extent(d digest.Digest) (offset, length int64) {
	m, err := r.own(d)
	if err != nil {
		return 0, 0
	}
	return m.pos, m.encodedLen()
}

// Close closes the files that [Open] or [OpenAll] opened for it.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
