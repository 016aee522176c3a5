package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/opencontainers/go-digest"
)

// decoder reads one member forward and checks every byte of it.
type decoder interface {
	// next gives some more content, in pieces that stay valid until the
	// next call. After the last it checks the digest, if the member is a
	// blob, and returns io.EOF.
	next() ([][]byte, error)
	// release gives the buffers back.
	release()
}

// tools are what decoders borrow from.
type tools struct {
	buffers   buffers
	unpackers unpackers
}

// decoder begins to read m at src, which stands at its first byte.
func (t *tools) decoder(src *source, m member) decoder {
	if m.isPacked() {
		return &packedDecoder{
			m: m, src: src, t: t,
			buf: t.buffers.get(slices.Max(m.frames)), out: t.buffers.get(min(m.size, packFrame)),
			content: sha256.New(), packed: sha256.New(),
		}
	}
	s := m.raw()
	d := &rawDecoder{m: m, src: src, shape: s, head: m.head(), t: t, buf: t.buffers.get(s.chunkLen(0))}
	if m.digest != "" {
		d.hash = sha256.New()
	}
	if m.sum {
		d.xx = xxhash.New()
	}
	return d
}

// rawDecoder reads a member in raw frames, chunk by chunk.
type rawDecoder struct {
	m     member
	src   *source
	shape rawShape
	head  []byte
	t     *tools
	buf   []byte
	k     int64
	parts [chunkBlocks][]byte
	hash  hash.Hash // nil for a member without digest
	xx    *xxhash.Digest
}

func (d *rawDecoder) next() ([][]byte, error) {
	if d.k == d.shape.chunks() {
		if d.hash != nil && digest.NewDigest(digest.SHA256, d.hash) != d.m.digest {
			return nil, d.m.wrongDigest("its content is not what the digest in its name says")
		}
		return nil, io.EOF
	}
	at := d.src.off
	buf := d.buf[:d.shape.chunkLen(d.k)]
	if err := d.src.full(&d.m, buf); err != nil {
		return nil, err
	}
	v := d.shape.view(d.k, buf, false)
	if v.bad >= 0 {
		return nil, d.m.damaged(at+int64(v.bad), 1, "the zstd framing is not as the format wants it")
	}
	if v.first && d.xx != nil {
		d.xx.Reset()
	}
	pos := d.k * rawChunk
	parts := d.parts[:0]
	for _, part := range v.parts[:v.n] {
		head, content, pad := d.m.split(pos, part)
		if i := differs(head, d.head[min(pos, int64(len(d.head))):][:len(head)]); i >= 0 {
			return nil, d.m.damaged(d.m.pos+d.shape.position(pos+int64(i)), 1, "the tar header is not as the format wants it")
		}
		if i := notZero(pad); i >= 0 {
			return nil, d.m.damaged(d.m.pos+d.shape.position(pos+int64(len(part)-len(pad)+i)), 1, "the padding is not zero")
		}
		if len(content) > 0 {
			parts = append(parts, content)
		}
		if d.hash != nil {
			_, _ = d.hash.Write(content)
		}
		if d.xx != nil {
			_, _ = d.xx.Write(part)
		}
		pos += int64(len(part))
	}
	if v.checksum != nil && binary.LittleEndian.Uint32(v.checksum) != uint32(d.xx.Sum64()) {
		return nil, d.m.damaged(at, int64(len(buf)), "the checksum of the frame that ends there is wrong")
	}
	d.k++
	return parts, nil
}

func (d *rawDecoder) release() { d.t.buffers.put(d.buf) }

// packedDecoder reads a member whose content is in compressed frames.
type packedDecoder struct {
	m               member
	src             *source
	t               *tools
	buf, out        []byte
	begun           bool
	i               int
	part            [1][]byte
	content, packed hash.Hash
}

func (d *packedDecoder) next() ([][]byte, error) {
	if !d.begun {
		d.begun = true
		if err := d.compare(d.m.head()); err != nil {
			return nil, err
		}
	}
	if d.i == len(d.m.frames) {
		return nil, d.finish()
	}
	at := d.src.off
	buf := d.buf[:d.m.frames[d.i]]
	if err := d.src.full(&d.m, buf); err != nil {
		return nil, err
	}
	_, _ = d.packed.Write(buf)
	size := min(packFrame, d.m.size-int64(d.i)*packFrame)
	out, err := d.t.unpackers.decode(buf, d.out, size)
	if err != nil {
		return nil, d.m.damaged(at, int64(len(buf)), "a compressed frame is broken: "+err.Error())
	}
	_, _ = d.content.Write(out)
	d.i++
	d.part[0] = out
	return d.part[:], nil
}

func (d *packedDecoder) finish() error {
	if pad := d.m.padLen(); pad > 0 {
		if err := d.compare(make([]byte, pad)); err != nil {
			return err
		}
	}
	if digest.NewDigest(digest.SHA256, d.packed) != d.m.packed {
		return d.m.wrongDigest("its compressed bytes are not those that the layout lists")
	}
	if digest.NewDigest(digest.SHA256, d.content) != d.m.digest {
		return d.m.wrongDigest("its content is not what the digest in its name says")
	}
	return io.EOF
}

// compare wants p in a raw frame of its own next.
func (d *packedDecoder) compare(p []byte) error {
	want := encodeRaw(p, false)
	have := make([]byte, len(want))
	at := d.src.off
	if err := d.src.full(&d.m, have); err != nil {
		return err
	}
	if i := differs(have, want); i >= 0 {
		return d.m.damaged(at+int64(i), 1, "the tar header or padding is not as the format wants it")
	}
	return nil
}

func (d *packedDecoder) release() {
	d.t.buffers.put(d.buf)
	d.t.buffers.put(d.out)
}

// notZero gives the index of the first byte that is not zero, or -1.
func notZero(p []byte) int {
	for i, c := range p {
		if c != 0 {
			return i
		}
	}
	return -1
}

// readMember reads the whole content of a member of a known, bounded size.
func (t *tools) readMember(src *source, m member) ([]byte, error) {
	d := t.decoder(src, m)
	defer d.release()
	// Grown while reading, so that a false size costs no memory.
	content := make([]byte, 0, min(m.size, rawChunk))
	for {
		parts, err := d.next()
		if err == io.EOF {
			return content, nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			content = append(content, p...)
		}
	}
}

// readUnsized reads a member without digest whose size only its own tar header
// tells. remaining is how many bytes of the file are left, or -1.
func (t *tools) readUnsized(src *source, name string, limit, remaining int64) ([]byte, error) {
	m := member{name: name, pos: src.off, sum: true}
	const front = frameHeader + blockHeader
	p, err := src.peek(&m, front+tarBlock)
	if err != nil {
		return nil, err
	}
	if len(p) < front+tarBlock {
		return nil, m.damaged(src.off, 0, "the file is cut off")
	}
	have, size, ok := parseTarHead(p[front:])
	if !ok {
		return nil, m.damaged(src.off+front, tarBlock, "the tar header is not as the format wants it")
	}
	if have != name {
		return nil, &Error{Class: ErrUnexpected, Member: have, Offset: src.off, Length: front + tarBlock, Reason: name + " must be there"}
	}
	m.size = size
	if size > limit || (remaining >= 0 && m.encodedLen() > remaining) {
		return nil, m.damaged(src.off+front, tarBlock, "its size is larger than it can be")
	}
	return t.readMember(src, m)
}

// decodeSmall takes a raw member of m apart that is wholly in buf. bad is the
// first byte that is not as it must be, or -1.
func decodeSmall(m *member, buf []byte) (content []byte, bad int) {
	s := m.raw()
	stream := make([]byte, 0, s.n)
	at := int64(0)
	for k := range s.chunks() {
		n := s.chunkLen(k)
		v := s.view(k, buf[at:at+n], false)
		for _, part := range v.parts[:v.n] {
			stream = append(stream, part...)
		}
		at += n
	}
	_, content, pad := m.split(0, stream)
	copy(stream, m.head())
	clear(pad)
	return content, differs(buf, encodeRaw(stream, m.sum))
}

// writeRaw writes a member in raw frames.
func writeRaw(w io.Writer, m *member, content []byte) error {
	s := m.raw()
	head := m.head()
	buf := make([]byte, min(chunkBuffer, s.chunkLen(0)+checksumLen))
	xx := xxhash.New()
	for k := range s.chunks() {
		chunk := buf[:s.chunkLen(k)]
		v := s.view(k, chunk, true)
		if v.first {
			xx.Reset()
		}
		pos := k * rawChunk
		for _, part := range v.parts[:v.n] {
			h, c, p := m.split(pos, part)
			if len(h) > 0 {
				copy(h, head[pos:])
			}
			if len(c) > 0 {
				copy(c, content[pos+int64(len(h))-int64(len(head)):])
			}
			clear(p)
			if m.sum {
				_, _ = xx.Write(part)
			}
			pos += int64(len(part))
		}
		if v.checksum != nil {
			binary.LittleEndian.PutUint32(v.checksum, uint32(xx.Sum64()))
		}
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}
