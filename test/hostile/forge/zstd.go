package forge

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

const (
	blockMax = 128 << 10
	frameMax = 16 << 20
	packMax  = 1 << 20
)

// Frame is one zstd frame and what the seek table says of it.
type Frame struct {
	Data []byte
	// Encoded and Decoded are the entry of the seek table.
	Encoded, Decoded uint32
	// Hidden frames have no entry.
	Hidden bool
}

func frame(data []byte, decoded int) Frame {
	return Frame{Data: data, Encoded: uint32(len(data)), Decoded: uint32(decoded)}
}

// rawFrame stores p, at most 16 MiB, as it is.
func rawFrame(p []byte, checksum bool) Frame {
	desc := byte(0x80)
	if checksum {
		desc |= 4
	}
	b := []byte{0x28, 0xB5, 0x2F, 0xFD, desc, 0x38}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	for at := 0; at < len(p); at += blockMax {
		n := min(blockMax, len(p)-at)
		b = appendBlock(b, 0, n, at+n == len(p))
		b = append(b, p[at:at+n]...)
	}
	if checksum {
		b = binary.LittleEndian.AppendUint32(b, uint32(xxhash.Sum64(p)))
	}
	return frame(b, len(p))
}

// appendBlock appends a block header; kind is 0 raw, 1 RLE, 2 compressed.
func appendBlock(b []byte, kind, n int, last bool) []byte {
	h := n<<3 | kind<<1
	if last {
		h |= 1
	}
	return append(b, byte(h), byte(h>>8), byte(h>>16))
}

// rawFrames stores p in as many frames as the format wants.
func rawFrames(p []byte, checksum bool) []Frame {
	var list []Frame
	for at := 0; at < len(p); at += frameMax {
		list = append(list, rawFrame(p[at:min(at+frameMax, len(p))], checksum))
	}
	return list
}

// packedFrame stores p, at most 1 MiB, in one frame of a packed blob: runs of
// one byte as RLE blocks, all else raw. An encoder would do better, but might
// do differently tomorrow.
func packedFrame(p []byte) Frame {
	return frame(packedBlocks(packedHead(uint64(len(p))), p), len(p))
}

// packedHead is a frame header with the shortest field for the content size.
func packedHead(size uint64) []byte {
	b := []byte{0x28, 0xB5, 0x2F, 0xFD}
	switch {
	case size < 256:
		return append(b, 0x20, byte(size))
	case size < 256+1<<16:
		return binary.LittleEndian.AppendUint16(append(b, 0x60), uint16(size-256))
	case size < 1<<32:
		return binary.LittleEndian.AppendUint32(append(b, 0xA0), uint32(size))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xE0), size)
}

func packedBlocks(b, p []byte) []byte {
	for at := 0; at < len(p); {
		limit := min(at+blockMax, len(p))
		run := at + 1
		for run < limit && p[run] == p[at] {
			run++
		}
		if run-at >= 8 {
			b = appendBlock(b, 1, run-at, run == len(p))
			b, at = append(b, p[at]), run
			continue
		}
		for run < limit && !(run+8 <= len(p) && same(p[run:run+8])) {
			run++
		}
		b = appendBlock(b, 0, run-at, run == len(p))
		b, at = append(b, p[at:run]...), run
	}
	return b
}

func same(p []byte) bool {
	for _, c := range p {
		if c != p[0] {
			return false
		}
	}
	return true
}

// seekTable is the skippable frame that ends a file.
func seekTable(frames []Frame) []byte {
	n := 0
	var entries []byte
	for _, f := range frames {
		if f.Hidden {
			continue
		}
		n++
		entries = binary.LittleEndian.AppendUint32(entries, f.Encoded)
		entries = binary.LittleEndian.AppendUint32(entries, f.Decoded)
	}
	b := []byte{0x5E, 0x2A, 0x4D, 0x18}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)+9))
	b = append(b, entries...)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, 0, 0xB1, 0xEA, 0x92, 0x8F)
}
