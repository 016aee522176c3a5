package archive

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Raw zstd frames: content as it is, in blocks of 128 KiB behind three bytes
// each, so that every offset follows from the size (docs/format.md, "Raw
// frames").
const (
	zstdMagic   = 0xFD2FB528
	rawBlock    = 128 << 10
	rawFrame    = 16 << 20
	frameHeader = 10
	blockHeader = 3
	checksumLen = 4
	descriptor  = 0x80 // 4-byte content size, window byte follows, no dictionary
	checksumBit = 0x04
	singleBit   = 0x20
	windowByte  = 0x38 // 128 KiB

	// Reading and writing go in chunks of some whole blocks: small enough to
	// be still in the CPU's cache when they are hashed, which measures
	// better than fewer and larger reads. A frame is a whole number of
	// chunks.
	rawChunk       = 256 << 10
	chunkBlocks    = rawChunk / rawBlock
	chunksPerFrame = rawFrame / rawChunk
	// chunkBuffer has room for any chunk, and for any frame of a packed blob.
	chunkBuffer = packedBound
)

// rawShape is the geometry of n bytes, n > 0, stored in raw frames.
type rawShape struct {
	n   int64
	sum bool // frames end in a checksum
}

// encoded is the length of one frame that holds n bytes.
func (s rawShape) encoded(n int64) int64 {
	e := frameHeader + (n+rawBlock-1)/rawBlock*blockHeader + n
	if s.sum {
		e += checksumLen
	}
	return e
}

// frames is the number of frames.
func (s rawShape) frames() int64 { return (s.n + rawFrame - 1) / rawFrame }

// frame gives the lengths of frame i in the file and of its content.
func (s rawShape) frame(i int64) (encoded, decoded int64) {
	decoded = min(rawFrame, s.n-i*rawFrame)
	return s.encoded(decoded), decoded
}

// encodedLen is the length of all frames together.
func (s rawShape) encodedLen() int64 {
	full := s.n / rawFrame
	e := full * s.encoded(rawFrame)
	if rest := s.n % rawFrame; rest > 0 {
		e += s.encoded(rest)
	}
	return e
}

// chunks is the number of chunks.
func (s rawShape) chunks() int64 { return (s.n + rawChunk - 1) / rawChunk }

// chunkOffset is where chunk k begins, from the start of the first frame.
// The frame's header belongs to the first chunk of a frame.
func (s rawShape) chunkOffset(k int64) int64 {
	off := k / chunksPerFrame * s.encoded(rawFrame)
	if in := k % chunksPerFrame; in > 0 {
		off += frameHeader + in*(chunkBlocks*blockHeader+rawChunk)
	}
	return off
}

// chunkLen is the encoded length of chunk k. The checksum belongs to the last
// chunk of a frame. A buffer of chunkLen(0) bytes is enough for every chunk up
// to smallBuffer, and one of chunkBuffer always.
func (s rawShape) chunkLen(k int64) int64 {
	if k == s.chunks()-1 {
		return s.encodedLen() - s.chunkOffset(k)
	}
	return s.chunkOffset(k+1) - s.chunkOffset(k)
}

// position is where byte pos of the content lies, from the start of the first
// frame.
func (s rawShape) position(pos int64) int64 {
	in := pos % rawFrame
	return pos/rawFrame*s.encoded(rawFrame) + frameHeader + (in/rawBlock+1)*blockHeader + in
}

// chunkView is an encoded chunk taken apart.
type chunkView struct {
	// parts are the contents of the blocks, in order; the first n are used.
	parts [chunkBlocks][]byte
	n     int
	// checksum is the place of the frame's checksum, nil if there is none
	// in this chunk.
	checksum []byte
	// first is set where a frame begins.
	first bool
	// bad is the first byte of the framing that is not as it must be, or -1.
	bad int
}

// view takes chunk k, which is in buf[:chunkLen(k)], apart. With put it
// writes the framing, otherwise it compares it.
func (s rawShape) view(k int64, buf []byte, put bool) chunkView {
	return s.viewPart(k, buf, put, 0, s.chunkLen(k))
}

// viewPart is view of a chunk of which only the bytes from lo to hi are in
// their place in buf. Framing outside is neither written nor compared, and
// parts outside hold nothing of use.
func (s rawShape) viewPart(k int64, buf []byte, put bool, lo, hi int64) chunkView {
	v := chunkView{bad: -1}
	at := 0
	literal := func(p []byte) {
		have := buf[at : at+len(p)]
		if int64(at) < lo || int64(at+len(p)) > hi {
			at += len(p)
			return
		}
		if put {
			copy(have, p)
		} else if v.bad < 0 {
			for i := range p {
				if have[i] != p[i] {
					v.bad = at + i
					break
				}
			}
		}
		at += len(p)
	}
	_, inFrame := s.frame(k / chunksPerFrame)
	begin := k % chunksPerFrame * rawChunk
	if begin == 0 {
		v.first = true
		var h [frameHeader]byte
		binary.LittleEndian.PutUint32(h[0:], zstdMagic)
		h[4] = descriptor
		if s.sum {
			h[4] |= checksumBit
		}
		h[5] = windowByte
		binary.LittleEndian.PutUint32(h[6:], uint32(inFrame))
		literal(h[:])
	}
	end := min(begin+rawChunk, inFrame)
	for pos := begin; pos < end; pos += rawBlock {
		n := min(rawBlock, end-pos)
		h := uint32(n) << 3
		if pos+n == inFrame {
			h |= 1
		}
		literal([]byte{byte(h), byte(h >> 8), byte(h >> 16)})
		v.parts[v.n] = buf[at : at+int(n)]
		v.n++
		at += int(n)
	}
	if s.sum && end == inFrame {
		v.checksum = buf[at : at+checksumLen]
	}
	return v
}

// encodeRaw gives p, which is not empty, in raw frames with checksums. It is
// for the small members only.
func encodeRaw(p []byte, sum bool) []byte {
	s := rawShape{n: int64(len(p)), sum: sum}
	out := make([]byte, s.encodedLen())
	at := int64(0)
	hash := xxhash.New()
	for k := range s.chunks() {
		n := s.chunkLen(k)
		v := s.view(k, out[at:at+n], true)
		if v.first {
			hash.Reset()
		}
		for _, part := range v.parts[:v.n] {
			copy(part, p)
			p = p[len(part):]
			if sum {
				_, _ = hash.Write(part)
			}
		}
		if v.checksum != nil {
			binary.LittleEndian.PutUint32(v.checksum, uint32(hash.Sum64()))
		}
		at += n
	}
	return out
}
