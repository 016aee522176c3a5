package archive

import (
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Stream reads a bundle once from front to back, for instance from a pipe.
// It is as strict as a [Reader] and holds no more than index.json and the
// layout in memory. It is for one goroutine.
type Stream struct {
	src         *source
	tools       tools
	indexBytes  []byte
	indexDigest digest.Digest

	// Set by Load.
	inv *inventory

	next    int
	current *streamBlob // nil before the first and after the last blob
	err     error       // what ended the reading

	finished   bool
	signatures [][]byte
}

// NewStream reads the head of a bundle up to and including index.json and
// parses nothing. Errors are an [*Error] of class [ErrFormat] or
// [ErrDamaged], or what r returned.
func NewStream(r io.Reader) (*Stream, error) {
	s := &Stream{src: newSource(r, 0)}
	if err := readOCILayout(s.src, nil); err != nil {
		return nil, err
	}
	var err error
	if s.indexBytes, err = s.tools.readUnsized(s.src, nameIndex, MaxIndexSize, -1); err != nil {
		return nil, err
	}
	s.indexDigest = digest.FromBytes(s.indexBytes)
	if isVolume(s.indexBytes) {
		return nil, errVolume
	}
	return s, nil
}

// IndexBytes is index.json as it stands in the file. It must not be changed.
func (s *Stream) IndexBytes() []byte { return s.indexBytes }

// IndexDigest is the sha256 of [Stream.IndexBytes].
func (s *Stream) IndexDigest() digest.Digest { return s.indexDigest }

// Load parses index.json and reads on to the end of the layout. A second
// call does nothing.
func (s *Stream) Load() error {
	if s.inv != nil || s.err != nil {
		return s.err
	}
	s.inv, s.err = s.tools.readInventory(s.src, s.indexBytes, -1)
	return s.err
}

// Index is the parsed index.json; nil before Load.
func (s *Stream) Index() *ocispec.Index {
	if s.inv == nil {
		return nil
	}
	return &s.inv.index
}

// Blobs lists the blobs in the file, in its order. The slice must not be
// changed.
func (s *Stream) Blobs() []Blob {
	if s.inv == nil {
		return nil
	}
	return s.inv.geo.carried()
}

// Bases are the bundles that the file leans on; none if it is whole.
func (s *Stream) Bases() []Base {
	if s.inv == nil || s.inv.geo.part == nil {
		return nil
	}
	return s.inv.geo.part.bases
}

// Absent lists the blobs of the bundle that are not in the file.
func (s *Stream) Absent() []Blob {
	if s.inv == nil {
		return nil
	}
	var list []Blob
	for i, pos := range s.inv.geo.pos {
		if pos < 0 {
			list = append(list, s.inv.geo.blobs[i])
		}
	}
	return list
}

// DockerManifest is the manifest.json member; nil if there is none.
func (s *Stream) DockerManifest() []byte {
	if s.inv == nil {
		return nil
	}
	return s.inv.docker
}

// Extent tells where in the file the blob's tar member lies, as
// [Reader.Extent] does.
func (s *Stream) Extent(d digest.Digest) (offset, length int64) {
	if s.inv == nil {
		return 0, 0
	}
	m, ok := s.inv.geo.member(d)
	if !ok {
		return 0, 0
	}
	return m.pos, m.encodedLen()
}

// Next moves on to the next blob and returns its content. What was not read
// of the blob before is read and checked first. At the content's end the
// reader returns io.EOF if framing and digest are right, and an [*Error] if
// they are not. Next returns io.EOF after the last blob. A blob that is
// damaged does not end the stream, as it is known where the next one begins:
// after an [*Error] call Next again. If the file is cut off, or cannot be
// read, the error stays.
func (s *Stream) Next() (Blob, io.Reader, error) {
	if s.inv == nil && s.err == nil {
		return Blob{}, nil, ErrNotLoaded
	}
	if err := s.drain(); err != nil {
		return Blob{}, nil, err
	}
	for s.next < len(s.inv.geo.blobs) && s.inv.geo.pos[s.next] < 0 {
		s.next++
	}
	if s.next == len(s.inv.geo.blobs) {
		return Blob{}, nil, io.EOF
	}
	m := s.inv.geo.blob(s.next)
	s.current = &streamBlob{s: s, d: s.tools.decoder(s.src, m), end: m.end()}
	s.next++
	return s.inv.geo.blobs[s.next-1], s.current, nil
}

// drain reads the rest of the current blob.
func (s *Stream) drain() error {
	if s.err != nil {
		return s.err
	}
	for s.current != nil && s.current.err == nil {
		s.current.fill()
	}
	b := s.current
	s.current = nil
	if b == nil || b.err == io.EOF || b.told {
		return s.err
	}
	return b.err
}

// streamBlob is the content of the blob a Stream stands at.
type streamBlob struct {
	s     *Stream
	d     decoder
	end   int64 // of the member in the file
	parts [][]byte
	err   error
	told  bool // the caller has seen err
}

func (b *streamBlob) fill() {
	b.parts, b.err = b.d.next()
	if b.err == nil {
		return
	}
	b.d.release()
	b.d = nil
	if b.err == io.EOF {
		return
	}
	if _, ok := b.err.(*Error); !ok || b.s.src.skip(b.end) != nil {
		b.s.err = b.err
	}
}

// Read implements [io.Reader].
func (b *streamBlob) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.err == nil && len(b.parts) == 0 {
		b.fill()
	}
	if b.err != nil {
		b.told = true
		return 0, b.err
	}
	n := copy(p, b.parts[0])
	if b.parts[0] = b.parts[0][n:]; len(b.parts[0]) == 0 {
		b.parts = b.parts[1:]
	}
	return n, nil
}

// Finish reads the rest: blobs that were not asked for, signatures, end of
// archive, seek table, and makes sure that nothing follows. It returns the
// signatures in file order; a second call does so too. Errors are an
// [*Error], or what reading returned.
func (s *Stream) Finish() (signatures [][]byte, err error) {
	if s.finished {
		return s.signatures, nil
	}
	for {
		_, _, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	signatures, err = s.readSignatures()
	if err != nil {
		s.err = err
		return nil, err
	}
	c := newComparer(s.src)
	// The signatures were read: what is left of the tail begins behind them.
	skip := &skipWriter{w: c}
	for i, sig := range signatures {
		m := signatureMember(i+1, int64(len(sig)), 0)
		skip.n += m.encodedLen()
	}
	if err := s.inv.geo.writeTail(skip, signatures, c.part); err != nil {
		s.err = err
		return nil, err
	}
	more, err := s.src.peek(&c.m, 1)
	if err == nil && len(more) > 0 {
		err = c.m.damaged(s.src.off, 1, "something follows the end of the bundle")
	}
	if err != nil {
		s.err = err
		return nil, err
	}
	s.finished, s.signatures = true, signatures
	return signatures, nil
}

// readSignatures reads signature members up to the end of the archive.
func (s *Stream) readSignatures() ([][]byte, error) {
	var all [][]byte
	const front = frameHeader + blockHeader
	for {
		m := member{name: signatureName(len(all) + 1)}
		p, err := s.src.peek(&m, front+tarBlock)
		if err != nil {
			return nil, err
		}
		if len(p) < front+tarBlock {
			end := endMember(s.src.off)
			return nil, end.damaged(s.src.off, 0, "the file is cut off")
		}
		name, size, ok := parseTarHead(p[front:])
		if !ok {
			// The zeros of the end, or damage: the comparison will tell.
			return all, nil
		}
		if name != m.name || len(all) == MaxSignatures {
			return nil, &Error{Class: ErrUnexpected, Member: name, Offset: s.src.off, Length: int64(len(p)), Reason: "neither index.json nor the layout lists it"}
		}
		if size < 1 || size > MaxSignatureSize {
			return nil, m.damaged(s.src.off, int64(len(p)), fmt.Sprintf("a signature cannot have %d bytes", size))
		}
		content, err := s.tools.readMember(s.src, signatureMember(len(all)+1, size, s.src.off))
		if err != nil {
			return nil, err
		}
		all = append(all, content)
	}
}

// skipWriter drops the first n bytes.
type skipWriter struct {
	w io.Writer
	n int64
}

func (s *skipWriter) Write(p []byte) (int, error) {
	k := min(s.n, int64(len(p)))
	s.n -= k
	n := 0
	var err error
	if k < int64(len(p)) {
		n, err = s.w.Write(p[k:])
	}
	return int(k) + n, err
}

// WriteTo implements [io.WriterTo], which saves a copy.
func (b *streamBlob) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		for len(b.parts) > 0 {
			n, err := w.Write(b.parts[0])
			total += int64(n)
			b.parts[0] = b.parts[0][n:]
			if err != nil {
				return total, err
			}
			b.parts = b.parts[1:]
		}
		if b.err == nil {
			b.fill()
		}
		if b.err != nil {
			b.told = true
			if b.err == io.EOF {
				return total, nil
			}
			return total, b.err
		}
	}
}
