package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

const signJournalSuffix = ".sign-journal"

// AppendSignature adds one more signature, a Sigstore bundle over
// index.json, to the finished bundle at path. Only the file's tail is
// rewritten, in place. The old tail is kept in path+".sign-journal" while
// that goes on; if it is interrupted, the next call puts things right first.
// A signature that is there already is not added again. Errors are an [*Error] if the file is no whole bundle, or wrap [ErrBusy] or
// [ErrNoSpace] where that is the reason. After an error the file is as it
// was, or the journal is there to make it so.
func AppendSignature(path string, sig []byte) error {
	return appendSignature(osFS{}, path, sig)
}

// Recover puts right what an interrupted [AppendSignature] left of the bundle
// at path, and does nothing to any other file. Errors are as for
// AppendSignature.
func Recover(path string) error {
	return recoverSigning(osFS{}, path)
}

func recoverSigning(fs fsys, path string) (err error) {
	s := &signing{fs: fs, path: path}
	j, err := fs.open(s.journal(), false)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := j.close(); err != nil {
		return err
	}
	if s.f, err = fs.open(path, false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.f.close()) }()
	if err := s.f.lock(); err != nil {
		return fmt.Errorf("%s cannot be mended: %w", path, err)
	}
	return s.recover()
}

func appendSignature(fs fsys, path string, sig []byte) (err error) {
	if err := checkSignature(sig); err != nil {
		return err
	}
	f, err := fs.open(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.lock(); err != nil {
		return fmt.Errorf("%s cannot be signed: %w", path, err)
	}
	s := &signing{fs: fs, path: path, f: f}
	if err := s.recover(); err != nil {
		return err
	}
	size, _, err := f.size()
	if err != nil {
		return err
	}
	r, err := NewReader(f, size)
	if err != nil {
		return err
	}
	for _, have := range r.tail.signatures {
		if bytes.Equal(have, sig) {
			return nil
		}
	}
	n := len(r.tail.signatures) + 1
	if n > MaxSignatures {
		return fmt.Errorf("%s has %d signatures already, the most that a bundle can hold", path, MaxSignatures)
	}
	if r.tail.frames+int64(n)+1 > maxTableFrames {
		return fmt.Errorf("%s has as many frames as a bundle can hold", path)
	}
	return s.append(r, sig)
}

// signing is one call of AppendSignature.
//
// The journal holds what is needed to take the change back:
//
//	8 bytes   "bndlsign"
//	32 bytes  sha256 of index.json, which tells whose journal it is
//	8 bytes   where the old tail begins in the file
//	8 bytes   length of the old tail
//	8 bytes   length of the new tail
//	...       the old tail
//	32 bytes  sha256 of the new tail
//	32 bytes  sha256 of all of the above
//
// Numbers are little-endian. A journal whose last hash is wrong was not
// finished, and so the bundle was not touched yet.
type signing struct {
	fs   fsys
	path string
	f    file
}

const (
	signMagic   = "bndlsign"
	signHeadLen = 8 + 32 + 3*8
	signEndLen  = 32 + 32
)

type signHead struct {
	index          []byte // raw sha256
	pos, old, next int64
}

func (h *signHead) encode() []byte {
	b := append([]byte(signMagic), h.index...)
	for _, n := range []int64{h.pos, h.old, h.next} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func (s *signing) journal() string { return s.path + signJournalSuffix }

// append writes the journal, then the new tail over the old one.
func (s *signing) append(r *Reader, sig []byte) (err error) {
	m := signatureMember(len(r.tail.signatures)+1, int64(len(sig)), r.tail.table-endShape.encodedLen())
	var add bytes.Buffer // the new signature and the end of the archive
	if err := writeRaw(&add, &m, sig); err != nil {
		return err
	}
	add.Write(encodeRaw(make([]byte, endContent), true))
	// The tail from the end of the archive on: what changes.
	old := r.size - m.pos
	n := r.tail.frames + int64(len(r.tail.signatures)) + 1 // frames now
	h := signHead{index: rawDigest(r.indexBytes), pos: m.pos, old: old, next: old + m.encodedLen() + seekEntryLen}
	j, err := s.fs.open(s.journal(), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	// From the journal, as the new tail overwrites what it is made from.
	tail := func(w io.Writer) error {
		table := signHeadLen + endShape.encodedLen()
		if _, err := w.Write(add.Bytes()); err != nil {
			return err
		}
		if _, err := w.Write(seekHeader(n + 1)); err != nil {
			return err
		}
		// All entries but the last, the end of the archive's.
		if _, err := io.Copy(w, io.NewSectionReader(j, table+seekHeaderLen, (n-1)*seekEntryLen)); err != nil {
			return err
		}
		b := make([]byte, 0, 2*seekEntryLen)
		for _, shape := range []rawShape{m.raw(), endShape} {
			enc, dec := shape.frame(0)
			b = binary.LittleEndian.AppendUint32(b, uint32(enc))
			b = binary.LittleEndian.AppendUint32(b, uint32(dec))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		_, err := w.Write(seekFooter(n + 1))
		return err
	}
	if err := s.save(j, &h, tail); err != nil {
		// The bundle was not touched.
		return errors.Join(s.writeError(s.journal(), err), s.fs.remove(s.journal()))
	}
	if err := s.overwrite(&h, tail); err != nil {
		err = s.writeError(s.path, err)
		if rerr := s.restore(j, &h); rerr != nil {
			return errors.Join(err, fmt.Errorf("the old end of %s could not be put back, sign again to do so: %w", s.path, rerr))
		}
		return errors.Join(err, s.forget())
	}
	return s.forget()
}

func rawDigest(p []byte) []byte {
	h := sha256.Sum256(p)
	return h[:]
}

func (s *signing) writeError(name string, err error) error {
	if noSpace(err) {
		return fmt.Errorf("%w to write %s: %w", ErrNoSpace, name, err)
	}
	return fmt.Errorf("%s cannot be written: %w", name, err)
}

// save writes the journal and brings it safely to disk.
func (s *signing) save(j file, h *signHead, tail func(io.Writer) error) error {
	if err := j.truncate(0); err != nil {
		return err
	}
	all := sha256.New()
	w := &offsetWriter{f: j}
	both := io.MultiWriter(w, all)
	if _, err := both.Write(h.encode()); err != nil {
		return err
	}
	if _, err := io.Copy(both, io.NewSectionReader(s.f, h.pos, h.old)); err != nil {
		return err
	}
	next := sha256.New()
	if err := tail(next); err != nil {
		return err
	}
	if _, err := both.Write(next.Sum(nil)); err != nil {
		return err
	}
	if _, err := w.Write(all.Sum(nil)); err != nil {
		return err
	}
	if err := j.sync(); err != nil {
		return err
	}
	return s.fs.syncDir(s.journal())
}

// overwrite writes the new tail and brings it safely to disk.
func (s *signing) overwrite(h *signHead, tail func(io.Writer) error) error {
	w := &offsetWriter{f: s.f, off: h.pos}
	if err := tail(w); err != nil {
		return err
	}
	if w.off != h.pos+h.next {
		return fmt.Errorf("the new end has %d bytes in place of %d", w.off-h.pos, h.next)
	}
	return s.f.sync()
}

// restore puts the old tail back.
func (s *signing) restore(j file, h *signHead) error {
	w := &offsetWriter{f: s.f, off: h.pos}
	if _, err := io.Copy(w, io.NewSectionReader(j, signHeadLen, h.old)); err != nil {
		return err
	}
	if err := s.f.truncate(h.pos + h.old); err != nil {
		return err
	}
	return s.f.sync()
}

// forget removes the journal.
func (s *signing) forget() error {
	if err := s.fs.remove(s.journal()); err != nil {
		return fmt.Errorf("%s is no longer needed but cannot be removed: %w", s.journal(), err)
	}
	return s.fs.syncDir(s.path)
}

// recover ends what an interrupted call began: forward if the new tail is
// wholly there, back to the old one otherwise.
func (s *signing) recover() error {
	j, err := s.fs.open(s.journal(), false)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	h, next, err := readSignJournal(j)
	if err == nil && h != nil {
		err = s.finish(j, h, next)
	}
	if cerr := j.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return s.forget()
}

// finish brings the file to one of the two states that the journal knows.
func (s *signing) finish(j file, h *signHead, next []byte) error {
	size, _, err := s.f.size()
	if err != nil {
		return err
	}
	if size == h.pos+h.next {
		have := sha256.New()
		if _, err := io.Copy(have, io.NewSectionReader(s.f, h.pos, h.next)); err != nil {
			return err
		}
		if bytes.Equal(have.Sum(nil), next) {
			return s.f.sync()
		}
	}
	if s.whole(size) {
		return nil // untouched, or another file was put in its place since
	}
	src := newSourceAt(s.f, 0, size)
	var t tools
	var index []byte
	if err = readOCILayout(src, nil); err == nil {
		index, err = t.readUnsized(src, nameIndex, MaxIndexSize, size-src.off)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(rawDigest(index), h.index) || h.pos < src.off || h.pos > size {
		e := &Error{Class: ErrDamaged, Reason: fmt.Sprintf("and %s, which could repair a bundle, belongs to another one (index.json %s)", s.journal(), digest.NewDigestFromBytes(digest.SHA256, h.index))}
		return e
	}
	if err := s.restore(j, h); err != nil {
		return s.writeError(s.path, err)
	}
	return nil
}

// whole tells whether the file is a bundle with nothing wrong outside its
// blobs.
func (s *signing) whole(size int64) bool {
	r, err := NewReader(s.f, size)
	return err == nil && r.Load() == nil && r.VerifyFraming(context.Background()) == nil
}

// readSignJournal reads a journal; the head is nil if it was not finished.
func readSignJournal(j file) (h *signHead, next []byte, err error) {
	size, _, err := j.size()
	if err != nil {
		return nil, nil, err
	}
	if size < signHeadLen+signEndLen {
		return nil, nil, nil
	}
	all := sha256.New()
	if _, err := io.Copy(all, io.NewSectionReader(j, 0, size-32)); err != nil {
		return nil, nil, err
	}
	end := make([]byte, signEndLen)
	head := make([]byte, signHeadLen)
	if err := errors.Join(readFull(j, end, size-signEndLen), readFull(j, head, 0)); err != nil {
		return nil, nil, err
	}
	num := func(at int) int64 { return int64(binary.LittleEndian.Uint64(head[at:])) }
	h = &signHead{index: head[8:40], pos: num(40), old: num(48), next: num(56)}
	if !bytes.Equal(all.Sum(nil), end[32:]) || string(head[:8]) != signMagic ||
		h.pos < 0 || h.pos > maxFileSize || h.old != size-signHeadLen-signEndLen || h.next <= h.old || h.next > maxFileSize {
		return nil, nil, nil
	}
	return h, end[:32], nil
}
