package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

// source reads a bundle forward and knows where it is.
type source struct {
	r   *bufio.Reader
	off int64
}

// newSource reads from r, whose first byte is byte off of the file.
func newSource(r io.Reader, off int64) *source {
	// A small buffer: large reads go past it, straight into the caller's.
	return &source{r: bufio.NewReaderSize(r, 4<<10), off: off}
}

// newSourceAt reads n bytes of ra from off.
func newSourceAt(ra io.ReaderAt, off, n int64) *source {
	return newSource(io.NewSectionReader(ra, off, n), off)
}

// full fills p. A file that ends before is damaged; m is what was being read.
func (s *source) full(m *member, p []byte) error {
	n, err := io.ReadFull(s.r, p)
	s.off += int64(n)
	return readError(m, s.off, int64(len(p)-n), err)
}

// peek looks at the next n bytes, at most 4 KiB, or as many as there are.
func (s *source) peek(m *member, n int) ([]byte, error) {
	p, err := s.r.Peek(n)
	if err == io.EOF {
		err = nil
	}
	return p, readError(m, s.off, 0, err)
}

// skip goes on to byte off of the file.
func (s *source) skip(off int64) error {
	n, err := io.CopyN(io.Discard, s.r, off-s.off)
	s.off += n
	return err
}

func readError(m *member, off, missing int64, err error) error {
	switch {
	case err == nil:
		return nil
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return m.damaged(off, missing, "the file is cut off")
	}
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("reading the bundle at byte %d: %w", off, err)
}

// readFull fills p from off of ra.
func readFull(ra io.ReaderAt, p []byte, off int64) error {
	n, err := ra.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return readError(&member{}, off+int64(n), int64(len(p)-n), err)
}

// comparer is a writer that wants to be given what the source holds.
type comparer struct {
	src *source
	m   member // what is being compared, for errors
	buf []byte
}

func newComparer(src *source) *comparer {
	return &comparer{src: src, buf: make([]byte, 64<<10)}
}

// part tells what the next bytes belong to.
func (c *comparer) part(m *member) { c.m = *m }

func (c *comparer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, len(c.buf))
		have := c.buf[:n]
		at := c.src.off
		if err := c.src.full(&c.m, have); err != nil {
			return done, err
		}
		if i := differs(have, p[done:done+n]); i >= 0 {
			return done, c.m.damaged(at+int64(i), 1, "it is not as the format wants it")
		}
		done += n
	}
	return done, nil
}

// buffers keeps idle buffers of one chunk. The zero value is ready.
type buffers struct{ pool sync.Pool }

// smallBuffer is what is rather made anew than kept.
const smallBuffer = 32 << 10

// get gives a buffer of at least n bytes, n being at most chunkBuffer.
func (b *buffers) get(n int64) []byte {
	if n <= smallBuffer {
		return make([]byte, n)
	}
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, chunkBuffer)
}

func (b *buffers) put(p []byte) {
	if cap(p) >= chunkBuffer {
		p = p[:chunkBuffer]
		b.pool.Put(&p)
	}
}
