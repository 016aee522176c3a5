package archive

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// BlobReader reads the content of one blob. Its methods may be called from
// several goroutines. The zstd framing is checked on the way, the digest is
// not: hash what you read. It needs no closing.
type BlobReader struct {
	r     *Reader // that holds the blob
	asked *Reader
	m     member
	shape rawShape
	// starts are the offsets of a packed blob's frames in the file.
	starts []int64
}

// Open gives random access to a blob's content. The error wraps
// [ErrMissing] if the bundle does not hold it.
func (r *Reader) Open(d digest.Digest) (*BlobReader, error) {
	from, m, err := r.holder(d)
	if err != nil {
		return nil, err
	}
	b := &BlobReader{r: from, asked: r, m: m}
	if !m.isPacked() {
		b.shape = m.raw()
		return b, nil
	}
	b.starts = make([]int64, len(m.frames))
	pos := m.content()
	for i, n := range m.frames {
		b.starts[i] = pos
		pos += n
	}
	return b, nil
}

// Size of the content in bytes.
func (b *BlobReader) Size() int64 { return b.m.size }

// Section returns a reader of n bytes of the content from off; it can seek.
func (b *BlobReader) Section(off, n int64) *io.SectionReader {
	return io.NewSectionReader(b, off, n)
}

// ReadAt implements [io.ReaderAt] on the blob's content. Its errors are
// [io.EOF], an [*Error] of class [ErrDamaged], or what reading the file
// returned.
func (b *BlobReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("a blob has no negative offsets")
	}
	if off >= b.m.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), b.m.size-off)]
	read := b.readRaw
	if b.m.isPacked() {
		read = b.readPacked
	}
	n, err := read(want, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, b.asked.in(b.r, err)
}

// readRaw fills p from off. It reads whole chunks of the file, from the block
// that off is in.
func (b *BlobReader) readRaw(p []byte, off int64) (int, error) {
	buf := b.r.tools.buffers.get(b.shape.chunkLen(0))
	defer b.r.tools.buffers.put(buf)
	done := 0
	for done < len(p) {
		n, err := b.readBlocks(buf, p[done:], b.m.headLen()+off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// readBlocks fills some of p from pos of the member's stream with one or two
// reads of the file: up to the end of the chunk that pos is in.
func (b *BlobReader) readBlocks(buf, p []byte, pos int64) (int, error) {
	k := pos / rawChunk
	chunkEnd := min((k+1)*rawChunk, b.shape.n)
	end := min(pos+int64(len(p)), chunkEnd)
	block := pos / rawBlock * rawBlock
	// The framing before the first block: its header, and the frame's where
	// a frame begins.
	framing := int64(blockHeader)
	if block%rawFrame == 0 {
		framing += frameHeader
	}
	from := b.shape.position(block) - framing
	to := b.shape.position(end-1) + 1
	// view wants the chunk from its start; what lies before is not looked at.
	base := b.shape.chunkOffset(k)
	skip := from - base
	if gap := b.shape.position(pos) - from - framing; gap > maxGap {
		// Deep inside a block: fetch its header alone rather than all of
		// the block before pos.
		if err := readFull(b.r.ra, buf[skip:skip+framing], b.m.pos+from); err != nil {
			return 0, err
		}
		at := b.shape.position(pos)
		if err := readFull(b.r.ra, buf[at-base:to-base], b.m.pos+at); err != nil {
			return 0, err
		}
	} else if err := readFull(b.r.ra, buf[skip:to-base], b.m.pos+from); err != nil {
		return 0, err
	}
	v := b.shape.viewPart(k, buf, false, skip, to-base)
	if v.bad >= 0 {
		return 0, b.m.damaged(b.m.pos+base+int64(v.bad), 1, "the zstd framing is not as the format wants it")
	}
	n := 0
	at := k * rawChunk
	for _, part := range v.parts[:v.n] {
		lo, hi := max(pos-at, 0), min(end-at, int64(len(part)))
		if lo < hi {
			n += copy(p[n:], part[lo:hi])
		}
		at += int64(len(part))
	}
	return n, nil
}

// maxGap is how many bytes are rather read for nothing than skipped by a
// second read.
const maxGap = 4 << 10

// readPacked fills p from off, a frame at a time.
func (b *BlobReader) readPacked(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i := int(at / packFrame)
		err := b.r.cache.use(frameKey{b.m.pos, i}, func(out []byte) ([]byte, error) {
			return b.decodeFrame(i, out)
		}, func(content []byte) {
			done += copy(p[done:], content[at%packFrame:])
		})
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (b *BlobReader) decodeFrame(i int, out []byte) ([]byte, error) {
	buf := b.r.tools.buffers.get(b.m.frames[i])
	defer b.r.tools.buffers.put(buf)
	enc := buf[:b.m.frames[i]]
	if err := readFull(b.r.ra, enc, b.starts[i]); err != nil {
		return nil, err
	}
	out, err := b.r.tools.unpackers.decode(enc, out, min(packFrame, b.m.size-int64(i)*packFrame))
	if err != nil {
		return nil, b.m.damaged(b.starts[i], b.m.frames[i], fmt.Sprintf("compressed frame %d is broken: %v", i, err))
	}
	return out, nil
}

// cachedFrames is how many decoded frames a Reader keeps, 1 MiB each.
const cachedFrames = 8

type frameKey struct {
	pos   int64 // of the member, which is its name
	frame int
}

// frameCache keeps the last decoded frames of packed blobs. The zero value is
// ready.
type frameCache struct {
	mu    sync.Mutex
	slots []*frameSlot
	clock int64
}

type frameSlot struct {
	key     frameKey
	used    int64 // the cache's clock, guarded by its mutex
	pins    int   // likewise
	mu      sync.Mutex
	valid   bool // guarded by mu, as is content
	content []byte
}

// use calls copyOut with the content of a frame, decoding it into a reused
// buffer if it is not at hand.
func (c *frameCache) use(key frameKey, decode func(out []byte) ([]byte, error), copyOut func(content []byte)) error {
	s := c.pin(key)
	defer c.unpin(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.valid {
		if s.content == nil {
			s.content = make([]byte, packFrame)
		}
		out, err := decode(s.content[:0:packFrame])
		if err != nil {
			return err
		}
		s.content, s.valid = out, true
	}
	copyOut(s.content)
	return nil
}

// pin finds the slot of key, or makes one: of a free place, of the slot that
// was not used for longest, or beside the cache if all are in use.
func (c *frameCache) pin(key frameKey) *frameSlot {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	var oldest *frameSlot
	for _, s := range c.slots {
		if s.key == key {
			s.used = c.clock
			s.pins++
			return s
		}
		if s.pins == 0 && (oldest == nil || s.used < oldest.used) {
			oldest = s
		}
	}
	switch {
	case len(c.slots) < cachedFrames:
		oldest = &frameSlot{}
		c.slots = append(c.slots, oldest)
	case oldest == nil:
		oldest = &frameSlot{}
	}
	// Nobody holds the slot, so its content is ours to change.
	oldest.key, oldest.valid, oldest.used, oldest.pins = key, false, c.clock, 1
	return oldest
}

func (c *frameCache) unpin(s *frameSlot) {
	c.mu.Lock()
	s.pins--
	c.mu.Unlock()
}
