package recovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cespare/xxhash/v2"
)

// Suffix is what the name of a recovery file has behind that of the file.
const Suffix = ".recovery"

var (
	// ErrFormat: it is no recovery file, or both of its headers are damaged.
	ErrFormat = errors.New("not a recovery file")
	// ErrOther: the file is longer than the one that the recovery data is for.
	ErrOther = errors.New("recovery data of another file")
	// ErrTooMuch: more is damaged than the recovery data makes up for.
	ErrTooMuch = errors.New("too much is damaged")
)

// The file is cut into blocks, as many blocks as fit into groups of stripes,
// and the blocks of a group are dealt out to its stripes one by one, so that
// what is damaged in a row hits each stripe as little as can be.
const (
	blockSize  = 16 << 10
	dataBlocks = 200 // of a stripe
	maxParity  = 50  // blocks of a stripe
	// A group has maxStripes stripes, or less where its parity would take more
	// memory than that of so many blocks.
	maxGroupParity = 4096
	// maxSize keeps sums of sizes far from overflow.
	maxSize = 1 << 50

	magic      = "BNDLREC1"
	headerSize = 32
	hashSize   = 8
	// A piece of the table of hashes, with a hash of its own.
	pieceHashes = 511
	pieceSize   = (pieceHashes + 1) * hashSize
	recordSize  = hashSize + blockSize
)

// maxStripes is part of the format; only tests change it, to have many groups.
var maxStripes = 256

// MinPercent and MaxPercent bound how large a recovery file may be asked to
// be.
const (
	MinPercent = 0.5
	MaxPercent = 25
)

// shape says where everything lies.
type shape struct {
	size   int64 // of the file
	parity int   // blocks of a stripe
}

// newShape gives that of a file of so many bytes.
func newShape(size int64, percent float64) (shape, error) {
	if !(percent >= MinPercent && percent <= MaxPercent) {
		return shape{}, fmt.Errorf("recovery data may be %g to %g percent of a file, not %g", MinPercent, float64(MaxPercent), percent)
	}
	if size < 1 || size > maxSize {
		return shape{}, fmt.Errorf("a file of %d bytes can have no recovery data", size)
	}
	return shape{size, int(math.Ceil(percent * dataBlocks / 100))}, nil
}

func (s shape) header() []byte {
	b := append(make([]byte, 0, headerSize), magic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.parity))
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

// parseHeader reads a header; ok is false if it is none.
func parseHeader(b []byte) (s shape, ok bool) {
	if len(b) != headerSize || string(b[:8]) != magic || binary.LittleEndian.Uint64(b[24:]) != xxhash.Sum64(b[:24]) {
		return s, false
	}
	size, parity := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if size < 1 || size > maxSize || parity < 1 || parity > maxParity {
		return s, false
	}
	return shape{int64(size), int(parity)}, true
}

// readShape reads the header at the front, or the one at the end.
func readShape(r io.ReaderAt, size int64) (shape, error) {
	var b [headerSize]byte
	for _, at := range []int64{0, size - headerSize} {
		if at < 0 {
			break
		}
		if _, err := r.ReadAt(b[:], at); err != nil && err != io.EOF {
			continue // a sector that cannot be read is as good as damaged
		}
		if s, ok := parseHeader(b[:]); ok {
			return s, nil
		}
	}
	return shape{}, ErrFormat
}

// blocks is how many the file has; the last may be shorter.
func (s shape) blocks() int64 { return (s.size + blockSize - 1) / blockSize }

// groupBlocks is how many a group has that is not the last.
func (s shape) groupBlocks() int64 {
	return int64(min(maxStripes, maxGroupParity/s.parity)) * dataBlocks
}

func (s shape) groups() int64 { return (s.blocks() + s.groupBlocks() - 1) / s.groupBlocks() }

// group is one of them, and where its parts lie in the recovery file.
type group struct {
	shape
	first         int64 // block
	count         int   // of blocks
	stripes       int
	table, second int64 // the table and its copy
	records       int64 // parity
}

func (s shape) group(n int64) group {
	g := group{shape: s, first: n * s.groupBlocks()}
	g.count = int(min(s.groupBlocks(), s.blocks()-g.first))
	g.stripes = (g.count + dataBlocks - 1) / dataBlocks
	// All groups before it are full.
	full := group{count: int(s.groupBlocks())}
	full.stripes, full.shape = full.count/dataBlocks, s
	g.table = headerSize + n*full.len()
	g.records = g.table + g.tableLen()
	g.second = g.records + int64(g.stripes*s.parity)*recordSize
	return g
}

// tableLen is the length of the table of hashes.
func (g *group) tableLen() int64 {
	pieces := (g.count + pieceHashes - 1) / pieceHashes
	return int64(pieces+g.count) * hashSize
}

// len is what the group takes of the recovery file.
func (g *group) len() int64 {
	return 2*g.tableLen() + int64(g.stripes*g.parity)*recordSize
}

// record is where a parity block lies.
func (g *group) record(stripe, n int) int64 {
	return g.records + int64(stripe*g.parity+n)*recordSize
}

// fileSize is the length of the recovery file.
func (s shape) fileSize() int64 {
	last := s.group(s.groups() - 1)
	return last.table + last.len() + headerSize
}

// blockLen is the length of a block of the file.
func (s shape) blockLen(n int64) int { return int(min(blockSize, s.size-n*blockSize)) }

// encodeTable gives a table of hashes.
func encodeTable(hashes []uint64) []byte {
	var b []byte
	for len(hashes) > 0 {
		n := min(len(hashes), pieceHashes)
		from := len(b)
		for _, h := range hashes[:n] {
			b = binary.LittleEndian.AppendUint64(b, h)
		}
		b = binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b[from:]))
		hashes = hashes[n:]
	}
	return b
}

// decodeTable notes the hashes of those pieces that are whole.
func decodeTable(b []byte, hashes []uint64, known []bool) {
	for at := 0; at < len(hashes); at += pieceHashes {
		n := min(len(hashes)-at, pieceHashes)
		piece := b[:(n+1)*hashSize]
		b = b[len(piece):]
		end := n * hashSize
		if binary.LittleEndian.Uint64(piece[end:]) != xxhash.Sum64(piece[:end]) {
			continue
		}
		for i := range n {
			hashes[at+i], known[at+i] = binary.LittleEndian.Uint64(piece[i*hashSize:]), true
		}
	}
}
