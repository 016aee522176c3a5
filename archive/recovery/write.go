package recovery

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/reedsolomon"

	"bundle/internal/safefile"
)

// Write writes the recovery file of the file at path beside it, in one step,
// and gives its length. percent says how large it is, in percent of the file,
// from [MinPercent] to [MaxPercent], besides the hashes; about as much of the
// file may be damaged. progress, if not nil, is told of every n bytes read.
func Write(ctx context.Context, path string, percent float64, progress func(n int)) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	s, err := newShape(fi.Size(), percent)
	if err != nil {
		return 0, err
	}
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+Suffix+"-*")
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	err = s.encode(ctx, w, f, progress)
	if err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, out.Chmod(0o644), out.Sync(), out.Close()); err == nil {
		err = safefile.Rename(out.Name(), path+Suffix)
	}
	if err != nil {
		_ = os.Remove(out.Name())
		return 0, err
	}
	return s.fileSize(), nil
}

// encode writes the recovery file of what r gives.
func (s shape) encode(ctx context.Context, w io.Writer, r io.Reader, progress func(n int)) error {
	code, err := s.code()
	if err != nil {
		return err
	}
	if _, err := w.Write(s.header()); err != nil {
		return err
	}
	block := make([]byte, blockSize)
	var parity [][]byte
	for n := range s.groups() {
		g := s.group(n)
		for len(parity) < g.stripes*s.parity {
			parity = append(parity, make([]byte, blockSize))
		}
		for _, p := range parity {
			clear(p)
		}
		hashes := make([]uint64, g.count)
		for i := range g.count {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := s.blockLen(g.first + int64(i))
			if _, err := io.ReadFull(r, block[:n]); err != nil {
				return fmt.Errorf("the file changes while it is read: %w", err)
			}
			clear(block[n:])
			hashes[i] = xxhash.Sum64(block[:n])
			stripe := i % g.stripes
			if err := code.EncodeIdx(block, i/g.stripes, parity[stripe*s.parity:(stripe+1)*s.parity]); err != nil {
				return err
			}
			if progress != nil {
				progress(n)
			}
		}
		table := encodeTable(hashes)
		if _, err := w.Write(table); err != nil {
			return err
		}
		var sum [hashSize]byte
		for _, p := range parity[:g.stripes*s.parity] {
			binary.LittleEndian.PutUint64(sum[:], xxhash.Sum64(p))
			if _, err := w.Write(sum[:]); err != nil {
				return err
			}
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		if _, err := w.Write(table); err != nil {
			return err
		}
	}
	_, err = w.Write(s.header())
	return err
}

// code is the code of a stripe.
func (s shape) code() (reedsolomon.Encoder, error) {
	return reedsolomon.New(dataBlocks, s.parity)
}
