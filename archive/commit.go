package archive

import (
	"errors"
	"fmt"
)

// Commit finishes the file with the given signatures (Sigstore bundles over
// [Plan.IndexBytes]), brings it safely to disk and moves it to its name. The
// error wraps [ErrMissing] if a blob was not written.
func (w *Writer) Commit(signatures ...[]byte) error {
	if len(signatures) > MaxSignatures {
		return fmt.Errorf("a bundle holds at most %d signatures, not %d", MaxSignatures, len(signatures))
	}
	for _, s := range signatures {
		if err := checkSignature(s); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.active > 0 {
		w.idle.Wait()
	}
	switch {
	case w.closed:
		return errClosed
	case w.syncFail != nil:
		return w.syncFail
	case w.left > 0:
		return w.missing()
	}
	if !w.renamed {
		if err := w.finishFile(signatures); err != nil {
			return err
		}
	}
	if err := w.fs.syncDir(w.path); err != nil {
		return fmt.Errorf("the folder of %s cannot be brought to disk: %w", w.path, err)
	}
	w.closed = true
	if renameOpen {
		_ = w.part.close()
	}
	_ = w.journal.f.close()
	if err := w.fs.remove(w.path + journalSuffix); err != nil {
		return fmt.Errorf("%s is complete, but its journal cannot be removed: %w", w.path, err)
	}
	return nil
}

func checkSignature(s []byte) error {
	if len(s) < 1 || len(s) > MaxSignatureSize {
		return fmt.Errorf("a signature may have 1 to %d bytes, not %d", MaxSignatureSize, len(s))
	}
	return nil
}

func (w *Writer) missing() error {
	for i, done := range w.done {
		if done {
			continue
		}
		m := w.plan.geo.blob(i)
		return &Error{Class: ErrMissing, Member: m.name, Digest: m.digest, Reason: fmt.Sprintf("%d of %d blobs were not written, this is the first", w.left, len(w.done))}
	}
	return nil
}

// finishFile writes all that is not a blob and gives the file its name.
func (w *Writer) finishFile(signatures [][]byte) error {
	g := w.plan.geo
	part := func(*member) {}
	if err := g.writeHead(&offsetWriter{f: w.part}, w.plan.index, w.plan.docker, w.plan.layout, part); err != nil {
		return w.partError(err)
	}
	end := &offsetWriter{f: w.part, off: g.end}
	if err := g.writeTail(end, signatures, part); err != nil {
		return w.partError(err)
	}
	if err := w.part.truncate(end.off); err != nil {
		return w.partError(err)
	}
	if v, ok := w.part.(*volumeFile); ok {
		if err := v.finish(); err != nil {
			return w.partError(err)
		}
	}
	if err := w.part.sync(); err != nil {
		// The kernel may have dropped what it could not write.
		w.syncFail = fmt.Errorf("%s cannot be brought to disk: %w", w.path+partSuffix, err)
		return w.syncFail
	}
	if !renameOpen {
		_ = w.part.close()
	}
	if err := w.fs.rename(w.path+partSuffix, w.path); err != nil {
		return fmt.Errorf("%s cannot be moved to its name: %w", w.path+partSuffix, err)
	}
	w.renamed = true
	return nil
}

// Close ends the writing and leaves what is there for the next [Create]. It
// waits for calls of WriteBlob that are under way. After Commit it does
// nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.idle.Broadcast()
	for w.active > 0 {
		w.idle.Wait()
	}
	if w.renamed {
		// Commit got as far as the name; only the journal is left over.
		return errors.Join(w.part.close(), w.journal.f.close(), w.fs.remove(w.path+journalSuffix))
	}
	err := w.marks()
	return errors.Join(err, w.part.datasync(), w.journal.f.datasync(), w.part.close(), w.journal.f.close())
}

// marks notes how far each unfinished blob has got.
func (w *Writer) marks() error {
	for i, s := range w.begun {
		if s.chunks == 0 {
			continue
		}
		if err := w.journal.append("prefix %d %d %x", i, s.chunks, s.hash.Sum(nil)); err != nil {
			return w.journalError(err)
		}
	}
	return nil
}
