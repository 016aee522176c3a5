package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
)

var errWhence = errors.New("seek before the start of a blob")

// reader gives out the bytes of one blob and never the last of them unchecked.
//
// Read from its start, a blob that nobody has read yet gets its SHA-256 on the
// way, and the last chunk is held back until that is right. Where somebody else
// is about that already, the blob is checked once for all of them meanwhile: a
// cluster's nodes ask for the same at the same time. Read from anywhere else, it
// is checked as a whole first. Once checked, a blob is read chunk by
// chunk against the cheap hashes that the check left behind, so a file that
// changes underneath is noticed whichever part is read.
//
// After an error the reader is done: every further call returns it.
type reader struct {
	ctx  context.Context // nil means never cancelled
	s    *store
	d    digest.Digest
	st   *state
	size int64
	off  int64 // of the next byte to give out

	sources []source
	sum     *sum          // while on the way through an unchecked blob
	leads   bool          // sum has the SHA-256, and the others rely on it or on a check
	hashing chan struct{} // closed when the last chunk given out is in sum
	buf     *[]byte
	chunk   []byte // checked bytes of the chunk that covers off, from its start
	at      int64  // offset of chunk in the blob
	err     error
}

// Seek moves without reading.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errWhence
	}
	r.off = offset
	return offset, nil
}

func (r *reader) Read(p []byte) (int, error) {
	b, err := r.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, b)
	r.off += int64(n)
	return n, nil
}

// copyTo writes n bytes, in pieces as large as they come.
func (r *reader) copyTo(w io.Writer, n int64) (written int64, err error) {
	for written < n {
		b, err := r.next()
		if err == io.EOF {
			return written, io.ErrUnexpectedEOF
		}
		if err != nil {
			return written, err
		}
		b = b[:min(int64(len(b)), n-written)]
		m, err := w.Write(b)
		written += int64(m)
		r.off += int64(m)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// WriteTo lets io.Copy use large pieces.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	return r.copyTo(w, max(0, r.size-r.off))
}

// Close gives the buffer back.
func (r *reader) Close() error {
	r.fail(errClosed)
	return nil
}

var errClosed = errors.New("read of a blob after its end")

// settle waits until sum is up to date and the buffer free.
func (r *reader) settle() {
	if r.hashing != nil {
		<-r.hashing
		r.hashing = nil
	}
}

func (r *reader) fail(err error) {
	r.settle()
	r.drop()
	if r.buf != nil {
		r.s.buffers.Put(r.buf)
		r.buf, r.chunk = nil, nil
	}
	if r.err == nil {
		r.err = err
	}
}

// next gives the checked bytes from r.off to the end of their chunk.
func (r *reader) next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.off >= r.size {
		return nil, io.EOF
	}
	if r.off >= r.at && r.off < r.at+int64(len(r.chunk)) {
		return r.chunk[r.off-r.at:], nil
	}
	if err := r.fill(); err != nil {
		r.fail(err)
		return nil, err
	}
	return r.chunk[r.off-r.at:], nil
}

func (r *reader) fill() error {
	if r.ctx != nil && r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if r.sources == nil {
		all, err := r.s.sources(r.d, r.st, r.size)
		if err != nil {
			return err
		}
		r.sources = all
	}
	r.settle()
	if r.buf == nil {
		r.buf = r.s.buffers.Get().(*[]byte)
	}
	r.at = r.off / chunkSize * chunkSize
	r.chunk = (*r.buf)[:min(chunkSize, r.size-r.at)]
	err := r.fillChunk()
	if err != nil {
		r.chunk = nil
	}
	return err
}

func (r *reader) fillChunk() error {
	i := int(r.at / chunkSize)
	if sums := r.st.sums.Load(); sums != nil {
		return r.fillChecked(*sums, i)
	}
	if r.sum == nil && r.off == 0 {
		r.sum = newSum(r.size)
		if r.leads = !r.st.checking() && r.st.hashing.CompareAndSwap(false, true); !r.leads {
			r.sum.sha = nil
			r.s.check(r.d, r.st, r.size)
		}
	}
	if r.leads && r.at < r.size/2 && r.st.checking() {
		// Others came, and the check for them will be through before us.
		r.follow()
	}
	if r.sum != nil && i == len(r.sum.chunks) {
		if r.leads || r.at+int64(len(r.chunk)) < r.size {
			return r.fillFirst()
		}
		// The last chunk of a blob that somebody else checks.
	} else {
		// Somewhere in the middle of a blob that nobody has checked.
		r.drop()
	}
	ctx := r.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	if err := r.s.verify(ctx, r.d); err != nil {
		return err
	}
	sums := r.st.sums.Load()
	if sums == nil {
		return fmt.Errorf("%s: %w: it changes while it is read", r.d, ErrDamaged)
	}
	return r.fillChecked(*sums, i)
}

// follow leaves the SHA-256 to somebody else.
func (r *reader) follow() {
	if r.leads {
		r.leads, r.sum.sha = false, nil
		r.st.hashing.Store(false)
	}
}

// drop ends the way through an unchecked blob.
func (r *reader) drop() {
	r.follow()
	r.sum = nil
}

// fillFirst reads the next chunk of a blob that is being checked on its way
// out; the last chunk is given out only if the whole was right. The others may
// go before they are hashed, so that is done while the client takes them.
func (r *reader) fillFirst() error {
	src := r.sources[0]
	if err := readFull(src, r.chunk, r.at); err != nil {
		return r.s.damage(r.d, r.st, src, err)
	}
	if r.at+int64(len(r.chunk)) < r.size {
		done := make(chan struct{})
		r.hashing = done
		go func(sum *sum, chunk []byte) {
			defer close(done)
			sum.add(r.s.hasher, chunk)
		}(r.sum, r.chunk)
		return nil
	}
	r.sum.add(r.s.hasher, r.chunk)
	if !r.sum.matches(r.d) {
		return r.s.damage(r.d, r.st, src, fmt.Errorf("%w: its SHA-256 is %s", ErrDamaged, r.sum.digest()))
	}
	r.s.accept(r.st, src, r.sum.chunks)
	r.drop()
	return nil
}

// fillChecked reads a chunk of a blob whose chunk hashes are known, from the
// first source that has it right.
func (r *reader) fillChecked(sums []uint64, i int) error {
	if r.sum != nil {
		// Another client's read finished first and spares us the SHA-256. What
		// was given out so far must have been the same bytes.
		if !slices.Equal(r.sum.chunks, sums[:len(r.sum.chunks)]) {
			return r.s.damage(r.d, r.st, r.sources[0], fmt.Errorf("%w: it changed while it was read", ErrDamaged))
		}
		r.drop()
	}
	var first error
	for k, src := range r.sources {
		err := readFull(src, r.chunk, r.at)
		if err == nil && r.s.hasher.sum(r.chunk) == sums[i] {
			r.sources[0], r.sources[k] = r.sources[k], r.sources[0]
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%w: the bytes from %d on changed since they were checked", ErrDamaged, r.at)
		}
		err = r.s.damage(r.d, r.st, src, err)
		if first == nil {
			first = err
		}
	}
	// The file may be mended: the next reader checks it anew.
	r.st.sums.CompareAndSwap(r.st.sums.Load(), nil)
	return first
}
