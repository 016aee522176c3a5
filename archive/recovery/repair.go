package recovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/reedsolomon"
)

// Result is what a repair found and did.
type Result struct {
	// Blocks of so many bytes were damaged and are mended.
	Blocks int
	Bytes  int64
}

// Repair mends the file at path with the recovery file at from. First it reads
// all of the file, and finds out whether everything can be mended; if not,
// nothing is touched and the error wraps [ErrTooMuch]. As all that is written
// is the content of its place, an interrupted Repair harms nothing: the next one
// ends it. That the file is then the one that was meant is for the caller to
// check. progress, if not nil, is told of every n bytes read.
func Repair(ctx context.Context, path, from string, progress func(n int)) (res Result, err error) {
	rec, err := os.Open(from)
	if err != nil {
		return res, err
	}
	defer rec.Close()
	fi, err := rec.Stat()
	if err != nil {
		return res, err
	}
	s, err := readShape(rec, fi.Size())
	if err != nil {
		return res, fmt.Errorf("%s: %w", from, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if fi, err = f.Stat(); err != nil {
		return res, err
	}
	if fi.Size() > s.size {
		return res, fmt.Errorf("%w: %s has %d bytes and %s is for %d", ErrOther, path, fi.Size(), from, s.size)
	}
	// Nobody need wait until this is found out block by block.
	if lost := (s.size - fi.Size()) / blockSize; lost > s.blocks()/dataBlocks*int64(s.parity)+int64(maxStripes*s.parity) {
		return res, fmt.Errorf("%w: %s has %d bytes of %d", ErrTooMuch, path, fi.Size(), s.size)
	}
	m, err := newMender(s, f, rec)
	if err != nil {
		return res, err
	}
	bad, err := m.scan(ctx, progress)
	if err != nil {
		return res, fmt.Errorf("%s: %w", path, err)
	}
	for _, d := range bad {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		if err := m.mend(d, &res); err != nil {
			return res, fmt.Errorf("%s cannot be mended: %w", path, err)
		}
	}
	if len(bad) > 0 {
		if err := f.Sync(); err != nil {
			return res, fmt.Errorf("%s cannot be written; run the same again: %w", path, err)
		}
	}
	return res, nil
}

// damaged is a stripe of which some blocks are.
type damaged struct {
	group  int64
	stripe int
	blocks []int // numbers in the stripe
}

// file is what is mended.
type file interface {
	io.ReaderAt
	io.WriterAt
}

// mender has what is needed for a file and its recovery file.
type mender struct {
	shape
	f    file
	rec  io.ReaderAt
	code reedsolomon.Encoder
	// buf has the blocks of a stripe, and shards those that are good.
	buf    [][]byte
	shards [][]byte
	record []byte
}

func newMender(s shape, f file, rec io.ReaderAt) (*mender, error) {
	code, err := s.code()
	if err != nil {
		return nil, err
	}
	m := &mender{shape: s, f: f, rec: rec, code: code, record: make([]byte, recordSize)}
	for range dataBlocks + s.parity {
		m.buf = append(m.buf, make([]byte, blockSize))
	}
	m.shards = make([][]byte, len(m.buf))
	return m, nil
}

// read reads as much as there is, and tells whether that was all of p.
func read(r io.ReaderAt, p []byte, at int64) bool {
	n, err := r.ReadAt(p, at)
	return n == len(p) && (err == nil || err == io.EOF)
}

// table reads the hashes of a group, from whichever copy has them.
func (m *mender) table(g *group) (hashes []uint64, known []bool) {
	hashes, known = make([]uint64, g.count), make([]bool, g.count)
	b := make([]byte, g.tableLen())
	for _, at := range []int64{g.table, g.second} {
		// What a bad sector hides need not hide the rest.
		for from := 0; from < len(b); from += pieceSize {
			piece := b[from:min(from+pieceSize, len(b))]
			if !read(m.rec, piece, at+int64(from)) {
				clear(piece)
			}
		}
		decodeTable(b, hashes, known)
	}
	return hashes, known
}

// maxDamaged bounds how many damaged stripes are kept in mind.
const maxDamaged = 1 << 20

// scan reads all of the file and gives the stripes that have to be mended.
func (m *mender) scan(ctx context.Context, progress func(n int)) ([]damaged, error) {
	var list []damaged
	hit, lost := 0, 0
	block := make([]byte, blockSize)
	for n := range m.groups() {
		g := m.group(n)
		hashes, known := m.table(&g)
		stripes := map[int][]int{}
		for i := range g.count {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p := block[:m.blockLen(g.first+int64(i))]
			if !read(m.f, p, (g.first+int64(i))*blockSize) || !known[i] || xxhash.Sum64(p) != hashes[i] {
				stripes[i%g.stripes] = append(stripes[i%g.stripes], i/g.stripes)
				hit++
			}
			if progress != nil {
				progress(len(p))
			}
		}
		for stripe := range g.stripes {
			bad := stripes[stripe]
			if len(bad) == 0 {
				continue
			}
			good := 0
			for p := range m.parity {
				if m.readParity(&g, stripe, p, m.buf[0]) {
					good++
				}
			}
			if len(bad) > good {
				lost += len(bad)
				continue
			}
			if len(list) == maxDamaged {
				return nil, fmt.Errorf("%w: %d blocks", ErrTooMuch, hit)
			}
			list = append(list, damaged{n, stripe, bad})
		}
	}
	if lost > 0 {
		return nil, fmt.Errorf("%w: of its %d blocks %d are damaged, and %d of them cannot be made anew", ErrTooMuch, m.blocks(), hit, lost)
	}
	return list, nil
}

// readParity reads a parity block, and tells whether it is good.
func (m *mender) readParity(g *group, stripe, n int, into []byte) bool {
	if !read(m.rec, m.record, g.record(stripe, n)) {
		return false
	}
	copy(into, m.record[hashSize:])
	return xxhash.Sum64(into) == binary.LittleEndian.Uint64(m.record)
}

// mend makes the damaged blocks of a stripe anew and writes them.
func (m *mender) mend(d damaged, res *Result) error {
	g := m.group(d.group)
	hashes, known := m.table(&g)
	want := make([]bool, dataBlocks)
	for _, b := range d.blocks {
		want[b] = true
	}
	for i := range dataBlocks {
		at := i*g.stripes + d.stripe
		m.shards[i] = m.buf[i]
		switch {
		case at >= g.count:
			clear(m.buf[i])
		case want[i]:
			m.shards[i] = m.buf[i][:0]
		default:
			n := m.blockLen(g.first + int64(at))
			clear(m.buf[i][n:])
			if p := m.buf[i][:n]; !read(m.f, p, (g.first+int64(at))*blockSize) || xxhash.Sum64(p) != hashes[at] {
				return fmt.Errorf("%w: it changes while it is mended", ErrTooMuch)
			}
		}
	}
	for p := range m.parity {
		m.shards[dataBlocks+p] = m.buf[dataBlocks+p]
		if !m.readParity(&g, d.stripe, p, m.buf[dataBlocks+p]) {
			m.shards[dataBlocks+p] = m.buf[dataBlocks+p][:0]
		}
	}
	if err := m.code.ReconstructData(m.shards); err != nil {
		return fmt.Errorf("%w: %w", ErrTooMuch, err)
	}
	for _, b := range d.blocks {
		at := b*g.stripes + d.stripe
		n := m.blockLen(g.first + int64(at))
		p := m.shards[b][:n]
		if known[at] && xxhash.Sum64(p) != hashes[at] {
			return fmt.Errorf("%w: block %d is not what its hash says when it is made anew", ErrTooMuch, g.first+int64(at))
		}
		if _, err := m.f.WriteAt(p, (g.first+int64(at))*blockSize); err != nil {
			return err
		}
		res.Blocks++
		res.Bytes += int64(n)
	}
	return nil
}
