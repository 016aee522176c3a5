package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// packFrame is how much content each frame of a packed blob holds, in bytes;
// the last may hold less.
const packFrame = 1 << 20

// packedBound is the greatest length of one such frame: zstd falls back to
// raw blocks, so it never grows by more than the framing.
const packedBound = packFrame + 64

// minPacked is the least length of a frame with content: magic, descriptor,
// one byte of size, a block header and one byte.
const minPacked = 4 + 1 + 1 + blockHeader + 1

// What packing adds elsewhere in the file, in bytes: two more frames, the
// digest in the layout, and each frame's size there and in the seek table.
const (
	packCost      = 130
	packFrameCost = 15
)

// Measure reads a blob's content once, in constant memory, and says how to
// store it: packed if that saves at least a tenth, all costs counted, raw
// otherwise. The same content always gives the same Blob.
func Measure(r io.Reader) (Blob, error) {
	enc, err := newPacker()
	if err != nil {
		return Blob{}, err
	}
	content, packed := sha256.New(), sha256.New()
	in, out := make([]byte, packFrame), make([]byte, 0, packedBound)
	var b Blob
	var sum int64
	for {
		n, err := io.ReadFull(r, in)
		if n > 0 {
			content.Write(in[:n])
			out = enc.EncodeAll(in[:n], out[:0])
			packed.Write(out)
			b.Frames = append(b.Frames, int64(len(out)))
			sum += int64(len(out))
			b.Size += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return Blob{}, err
		}
	}
	b.Digest = digest.NewDigest(digest.SHA256, content)
	cost := sum + packCost + int64(len(b.Frames))*packFrameCost
	if cost > b.Size-(b.Size+9)/10 {
		b.Frames = nil
		return b, nil
	}
	b.Packed = digest.NewDigest(digest.SHA256, packed)
	return b, nil
}

// newPacker makes the encoder whose output the format fixes for a writer:
// what Measure saw is what WriteBlob produces again.
func newPacker() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(packFrame),
		zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
}

// packers and unpackers keep idle encoders and decoders of one Reader, Writer
// or Stream. The zero value is ready.
type (
	packers   struct{ pool sync.Pool }
	unpackers struct{ pool sync.Pool }
)

func (p *packers) get() (*zstd.Encoder, error) {
	if e, ok := p.pool.Get().(*zstd.Encoder); ok {
		return e, nil
	}
	return newPacker()
}

func (p *packers) put(e *zstd.Encoder) { p.pool.Put(e) }

// decode decodes enc, which must be exactly one canonical frame of size bytes
// of content, into dst, which must have room for them.
func (u *unpackers) decode(enc, dst []byte, size int64) ([]byte, error) {
	if err := checkPacked(enc, size); err != nil {
		return nil, err
	}
	d, ok := u.pool.Get().(*zstd.Decoder)
	if !ok {
		var err error
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(packFrame), zstd.WithDecoderMaxWindow(packFrame),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
	}
	defer u.pool.Put(d)
	out, err := d.DecodeAll(enc, dst[:0:size])
	if err != nil {
		return nil, fmt.Errorf("it does not decode: %w", err)
	}
	if int64(len(out)) != size {
		return nil, fmt.Errorf("it decodes to %d bytes in place of %d", len(out), size)
	}
	return dst[:size], nil // the same bytes, with all of dst's capacity
}

var errPackedFrame = errors.New("it is not one zstd frame of the kind the format allows")

// checkPacked makes sure that enc is one frame, no more and no less: without
// dictionary and checksum, single-segment (so that a decoder needs no more
// memory than the content), and with size as its content size.
func checkPacked(enc []byte, size int64) error {
	if len(enc) < minPacked || binary.LittleEndian.Uint32(enc) != zstdMagic {
		return errPackedFrame
	}
	desc := enc[4]
	if desc&0x3F != singleBit {
		return errPackedFrame
	}
	var have int64
	rest := enc[5:]
	switch desc >> 6 {
	case 0:
		have, rest = int64(rest[0]), rest[1:]
	case 1:
		have, rest = int64(binary.LittleEndian.Uint16(rest))+256, rest[2:]
	case 2:
		have, rest = int64(binary.LittleEndian.Uint32(rest)), rest[4:]
	default:
		return errPackedFrame
	}
	if have != size {
		return fmt.Errorf("it says that it holds %d bytes in place of %d", have, size)
	}
	for last := false; !last; {
		if len(rest) < blockHeader {
			return errPackedFrame
		}
		h := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
		last = h&1 != 0
		n := h >> 3
		switch h >> 1 & 3 {
		case 1:
			n = 1
		case 3:
			return errPackedFrame
		}
		rest = rest[blockHeader:]
		if len(rest) < n {
			return errPackedFrame
		}
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return errPackedFrame
	}
	return nil
}
