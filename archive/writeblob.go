package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
)

var errClosed = fmt.Errorf("the bundle's writer is closed: %w", os.ErrClosed)

// WriteBlob fills the slot of blob d with the content that open delivers,
// which must begin at the given offset of the content. A raw blob that was
// begun before goes on behind what is already in place; a packed one starts
// over. The content is hashed on the way: if it is not d, the error wraps
// [ErrDigest] and the slot is empty again. After any other error another
// call goes on where this one stopped. A blob already done is left alone.
func (w *Writer) WriteBlob(ctx context.Context, d digest.Digest, open func(ctx context.Context, offset int64) (io.ReadCloser, error)) error {
	n, ok := w.plan.geo.find[d]
	if !ok {
		if d == w.plan.geo.layout.digest {
			return nil
		}
		return &Error{Class: ErrUnexpected, Digest: d, Reason: fmt.Sprintf("the plan does not list blob %s", d)}
	}
	i := int(n)
	todo, err := w.claim(ctx, i)
	if err != nil || !todo {
		return err
	}
	defer w.unclaim(i)
	m := w.plan.geo.blob(i)
	if m.isPacked() {
		return w.writePacked(ctx, i, m, open)
	}
	resumed, err := w.writeRaw(ctx, i, m, open)
	if resumed && errors.Is(err, ErrDigest) {
		// What was there may have come from elsewhere and been wrong.
		_, err = w.writeRaw(ctx, i, m, open)
	}
	return err
}

// claim takes blob i for the caller, or tells that there is nothing to do.
// It waits for another that writes the same blob.
func (w *Writer) claim(ctx context.Context, i int) (todo bool, err error) {
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.idle.Broadcast()
	})()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy[i] && !w.closed && ctx.Err() == nil {
		w.idle.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case w.closed:
		return false, errClosed
	case w.syncFail != nil:
		return false, w.syncFail
	case w.done[i]:
		return false, nil
	}
	w.busy[i] = true
	w.active++
	return true, nil
}

func (w *Writer) unclaim(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, i)
	w.active--
	w.idle.Broadcast()
}

func (w *Writer) slotOf(i int) *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.begun[i]
	if s == nil {
		s = newSlot()
		w.begun[i] = s
	}
	return s
}

// reset empties the slot of blob i, of whose content so much was counted, and
// returns err, or what the journal says if it cannot be told.
func (w *Writer) reset(i int, counted int64, err error) error {
	w.written.Add(-counted)
	w.mu.Lock()
	delete(w.begun, i)
	w.mu.Unlock()
	if jerr := w.journal.append("reset %d", i); jerr != nil {
		return errors.Join(err, w.journalError(jerr))
	}
	return err
}

func (w *Writer) journalError(err error) error {
	return fmt.Errorf("%s cannot be written: %w", w.path+journalSuffix, err)
}

func (w *Writer) partError(err error) error {
	if noSpace(err) {
		return fmt.Errorf("%w for %s: %w", ErrNoSpace, w.path+partSuffix, err)
	}
	return fmt.Errorf("%s cannot be written: %w", w.path+partSuffix, err)
}

// writeRaw writes what is missing of a raw blob. resumed tells whether
// something was there before.
func (w *Writer) writeRaw(ctx context.Context, i int, m member, open func(ctx context.Context, offset int64) (io.ReadCloser, error)) (resumed bool, err error) {
	s := w.slotOf(i)
	resumed = s.chunks > 0
	shape, head := m.raw(), m.head()
	var in io.Reader
	if at := m.contentIn(s.chunks); at < m.size {
		rc, err := open(ctx, at)
		if err != nil {
			return resumed, err
		}
		defer rc.Close() //nolint:errcheck // nothing was written to it
		in = rc
	}
	buf := w.tools.buffers.get(shape.chunkLen(0))
	defer w.tools.buffers.put(buf)
	for ; s.chunks < shape.chunks(); s.chunks++ {
		if err := ctx.Err(); err != nil {
			return resumed, err
		}
		k := s.chunks
		chunk := buf[:shape.chunkLen(k)]
		v := shape.view(k, chunk, true)
		pos := k * rawChunk
		var contents [chunkBlocks][]byte
		for j, part := range v.parts[:v.n] {
			h, c, p := m.split(pos, part)
			if len(h) > 0 {
				copy(h, head[pos:])
			}
			if len(c) > 0 {
				if _, err := io.ReadFull(in, c); err != nil {
					return resumed, w.shortBlob(m, m.contentIn(k), err)
				}
			}
			clear(p)
			contents[j] = c
			pos += int64(len(part))
		}
		if _, err := w.part.WriteAt(chunk, m.pos+shape.chunkOffset(k)); err != nil {
			return resumed, w.partError(err)
		}
		for _, c := range contents[:v.n] {
			_, _ = s.hash.Write(c)
		}
		w.written.Add(m.contentIn(k+1) - m.contentIn(k))
		if (k+1)%chunksPerFrame == 0 && k+1 < shape.chunks() {
			if err := w.journal.append("prefix %d %d %s", i, k+1, hex.EncodeToString(s.hash.Sum(nil))); err != nil {
				s.chunks++
				return resumed, w.journalError(err)
			}
		}
		if err := w.wrote(int64(len(chunk))); err != nil {
			s.chunks++
			return resumed, err
		}
	}
	if in != nil {
		if err := endOfBlob(in, m); err != nil {
			if errors.Is(err, ErrDigest) {
				err = w.reset(i, m.size, err)
			}
			return resumed, err
		}
	}
	if have := digest.NewDigest(digest.SHA256, s.hash); have != m.digest {
		return resumed, w.reset(i, m.size, w.badBlob(m, fmt.Sprintf("what was delivered has the digest %s", have)))
	}
	w.finish(i, 0)
	if err := w.journal.append("done %d", i); err != nil {
		return resumed, w.journalError(err)
	}
	return resumed, nil
}

// endOfBlob makes sure that nothing follows the content.
func endOfBlob(in io.Reader, m member) error {
	var one [1]byte
	n, err := io.ReadFull(in, one[:])
	if n > 0 {
		return &Error{Class: ErrDigest, Digest: m.digest, Reason: fmt.Sprintf("what was delivered for blob %s is longer than its %d bytes", m.digest, m.size)}
	}
	if err != io.EOF {
		return fmt.Errorf("reading the end of blob %s: %w", m.digest, err)
	}
	return nil
}

func (w *Writer) badBlob(m member, reason string) *Error {
	return &Error{Class: ErrDigest, Digest: m.digest, Reason: fmt.Sprintf("blob %s: %s", m.digest, reason)}
}

// shortBlob explains why content ended before its time.
func (w *Writer) shortBlob(m member, at int64, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("blob %s ended before its %d bytes were complete: %w", m.digest, m.size, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("reading blob %s behind byte %d: %w", m.digest, at, err)
}

// writePacked writes a packed blob from its start.
func (w *Writer) writePacked(ctx context.Context, i int, m member, open func(ctx context.Context, offset int64) (io.ReadCloser, error)) (err error) {
	in, err := open(ctx, 0)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // nothing was written to it
	enc, err := w.packers.get()
	if err != nil {
		return err
	}
	defer w.packers.put(enc)
	buf, out := w.tools.buffers.get(min(m.size, packFrame)), w.tools.buffers.get(slices.Max(m.frames))
	defer w.tools.buffers.put(buf)
	defer w.tools.buffers.put(out)
	counted := int64(0)
	defer func() {
		if err != nil {
			w.written.Add(-counted)
		}
	}()
	content, packed := sha256.New(), sha256.New()
	to := &offsetWriter{f: w.part, off: m.pos}
	if _, err := to.Write(encodeRaw(m.head(), false)); err != nil {
		return w.partError(err)
	}
	for j, size := range m.frames {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(packFrame, m.size-counted)]
		if _, err := io.ReadFull(in, p); err != nil {
			return w.shortBlob(m, counted, err)
		}
		_, _ = content.Write(p)
		frame := enc.EncodeAll(p, out[:0])
		if int64(len(frame)) != size {
			return w.badBlob(m, fmt.Sprintf("frame %d packs to %d bytes, where %d were measured: other content, or another version of the compressor", j, len(frame), size))
		}
		_, _ = packed.Write(frame)
		if _, err := to.Write(frame); err != nil {
			return w.partError(err)
		}
		counted += int64(len(p))
		w.written.Add(int64(len(p)))
		if err := w.wrote(size); err != nil {
			return err
		}
	}
	if pad := m.padLen(); pad > 0 {
		if _, err := to.Write(encodeRaw(make([]byte, pad), false)); err != nil {
			return w.partError(err)
		}
	}
	if err := endOfBlob(in, m); err != nil {
		return err
	}
	if have := digest.NewDigest(digest.SHA256, content); have != m.digest {
		return w.badBlob(m, fmt.Sprintf("what was delivered has the digest %s", have))
	}
	if have := digest.NewDigest(digest.SHA256, packed); have != m.packed {
		return w.badBlob(m, "it does not pack to the bytes that were measured: another version of the compressor")
	}
	w.finish(i, 0)
	if jerr := w.journal.append("done %d", i); jerr != nil {
		counted = 0
		return w.journalError(jerr)
	}
	return nil
}

// wrote counts n bytes written and begins a sync to disk behind the caller's
// back each time enough have come together.
func (w *Writer) wrote(n int64) error {
	if w.unsynced.Add(n) < w.o.SyncBytes || !w.syncing.CompareAndSwap(false, true) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.syncFail != nil {
		w.syncing.Store(false)
		return w.syncFail
	}
	w.unsynced.Store(0)
	w.active++
	go func() {
		err := w.part.datasync()
		if err == nil {
			err = w.journal.f.datasync()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.syncFail = fmt.Errorf("%s cannot be brought to disk: %w", w.path+partSuffix, err)
		}
		w.syncing.Store(false)
		w.active--
		w.idle.Broadcast()
	}()
	return nil
}
