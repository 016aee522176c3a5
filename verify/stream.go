package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/verify/walk"
)

// maxKeptBytes bounds what a stream keeps in memory of manifests and the
// inventory, in bytes.
const maxKeptBytes = 256 << 20

// streamBuffer is how much of a blob is read at once, in bytes.
const streamBuffer = 128 << 10

// ErrStream says that a bundle is too large to be verified in one pass and
// must be a file for that.
var ErrStream = errors.New("the bundle cannot be verified from a stream")

// Stream verifies a bundle in one pass, for instance from standard input, in
// bounded memory. Signatures lie at the end, so they are judged last; the
// report is that of [File] all the same, but for what one pass cannot know:
// which files of a damaged layer are hit, and what lies behind damage that
// breaks the file's framing. Bundles whose manifests and
// inventory take more than 256 MiB err with [ErrStream].
func Stream(ctx context.Context, r io.Reader, o Options) (*Report, error) {
	return stream(ctx, &counter{ctx: ctx, r: r}, nil, o)
}

// salvage verifies a file that could not be opened because of damage, from
// the front.
func salvage(ctx context.Context, r io.Reader, damage *archive.Error, o Options) (*Report, error) {
	return stream(ctx, &counter{ctx: ctx, r: r}, damage, o)
}

// counter counts what is read, and stops reading when its context ends.
type counter struct {
	ctx context.Context
	r   io.Reader
	n   int64
	end bool
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.end = err == io.EOF
	return n, err
}

// stream does the work of Stream. damage, if set, is what is known to be
// wrong with the file already.
func stream(ctx context.Context, r *counter, damage *archive.Error, o Options) (*Report, error) {
	rep := newReport(cmp.Or(o.Bundle, "-"), "")
	s := &survey{held: emptyHoldings{}}
	if damage != nil {
		s.problems.addError(damage, "")
	}
	var signatures [][]byte
	signed := false
	in, err := archive.NewStream(r)
	if err == nil {
		rep.IndexDigest = in.IndexDigest()
		signatures, signed, err = s.stream(ctx, in, r, rep, o)
	} else if damage != nil && errors.Is(err, archive.ErrFormat) {
		err = nil // one volume of some; what is wrong with it is known better
	} else if err = s.damage(ctx, err); err == nil {
		signed = false
	}
	if err != nil {
		return nil, err
	}
	var unread error
	switch evidence := embedded(signatures); {
	case signed:
		rep.Signature = o.judge(ctx, in.IndexBytes(), evidence)
		if rep.Signature.trusted() {
			unread = o.judgeContent(ctx, rep, s.held)
		}
		if !rep.Signature.trusted() {
			return rep.distrust()
		}
		s.checkSignatures(evidence)
	case o.SkipSignature:
	default:
		rep.Signature.Status = StatusUntrusted
		rep.Signature.Reasons = []string{"the file is damaged, and its signatures could not be read"}
	}
	rep.conclude(s)
	if unread != nil && rep.OK {
		return nil, unread
	}
	return rep, rep.Err()
}

// damage makes a problem of an error about the bundle and passes others on.
func (s *survey) damage(ctx context.Context, err error) error {
	var e *archive.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &e), errors.Is(err, archive.ErrVersion):
		return err
	}
	s.problems.addError(err, "")
	return nil
}

// stream reads everything. signed tells whether it came as far as the
// signatures; where it did not, the damage is a problem.
func (s *survey) stream(ctx context.Context, in *archive.Stream, r *counter, rep *Report, o Options) (signatures [][]byte, signed bool, err error) {
	if err := s.load(in.Load); err != nil || in.Index() == nil {
		return nil, false, cmp.Or(ctx.Err(), err)
	}
	lent, used := beside(o.Beside, in.Bases(), in.Absent())
	for _, r := range used {
		rep.With = append(rep.With, r.Path())
	}
	held := newStreamHoldings(in, lent, cmp.Or(o.keep, maxKeptBytes))
	s.held = held
	rep.describe(held)
	o.Progress.expect(rep.Content.Bytes)
	broken, err := s.streamBlobs(ctx, in, held, o)
	if err != nil {
		return nil, false, err
	}
	if broken == nil {
		signatures, broken = in.Finish()
		signed = broken == nil
	}
	if broken != nil {
		if err := s.damage(ctx, broken); err != nil {
			return nil, false, err
		}
		s.cutOff(in, r)
	}
	if err := s.conduct(ctx); err != nil {
		return nil, false, err
	}
	return signatures, signed, s.verifyBeside(ctx, used, o)
}

// streamBlobs reads all blobs. broken is what ended that early.
func (s *survey) streamBlobs(ctx context.Context, in *archive.Stream, held *streamHoldings, o Options) (broken, err error) {
	buf := make([]byte, streamBuffer)
	for {
		blob, content, err := in.Next()
		if err == io.EOF {
			return nil, nil
		}
		if err == nil {
			err = held.take(blob, content, buf, o.Progress)
		}
		var e *archive.Error
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, ErrStream), !errors.As(err, &e):
			return nil, err
		case e.Class == archive.ErrDigest:
			held.failed[blob.Digest] = err
			s.problems.addError(err, blob.Digest)
		default:
			return err, nil
		}
	}
}

// cutOff reports the blobs that lie behind the end of a file that is cut off.
func (s *survey) cutOff(in *archive.Stream, r *counter) {
	var one [1]byte
	if n, _ := r.Read(one[:]); n > 0 || !r.end {
		// There is more: what follows the damage is simply not known.
		return
	}
	for _, b := range in.Blobs() {
		offset, length := in.Extent(b.Digest)
		if offset+length > r.n {
			s.problems.addBlob(ProblemDamaged, b.Digest, min(offset, r.n), max(r.n-offset, 0), "the file is cut off before its end")
		}
	}
}

// streamHoldings is what a stream leaves behind: its lists, and the small
// blobs that a survey reads.
type streamHoldings struct {
	*archive.Stream
	blobs map[digest.Digest]archive.Blob
	// wanted are manifests and inventories that were named so far.
	wanted map[digest.Digest]bool
	kept   map[digest.Digest][]byte
	// guessed are kept because they may yet be wanted.
	guessed map[digest.Digest]bool
	bytes   int64
	// text are blobs that were read and are no JSON, failed those whose
	// bytes are wrong, dropped those for which there was no room.
	text, dropped map[digest.Digest]bool
	failed        map[digest.Digest]error
	// lent are blobs that the stream leaves out, and the files that have them.
	lent map[digest.Digest]*archive.Reader
	// limit on bytes.
	limit int64
}

func newStreamHoldings(in *archive.Stream, lent map[digest.Digest]*archive.Reader, limit int64) *streamHoldings {
	h := &streamHoldings{
		Stream: in, blobs: map[digest.Digest]archive.Blob{}, wanted: map[digest.Digest]bool{},
		kept: map[digest.Digest][]byte{}, guessed: map[digest.Digest]bool{},
		text: map[digest.Digest]bool{}, dropped: map[digest.Digest]bool{}, failed: map[digest.Digest]error{}, lent: lent, limit: limit,
	}
	for _, b := range h.Blobs() {
		h.blobs[b.Digest] = b
	}
	h.want(in.Index().Manifests)
	return h
}

// want marks what will be read. What was kept on a guess may name more.
func (h *streamHoldings) want(list []ocispec.Descriptor) {
	for len(list) > 0 {
		d := list[0]
		list = list[1:]
		if h.wanted[d.Digest] || !walk.IsManifest(d.MediaType) && d.MediaType != mediaTypeContents {
			continue
		}
		h.wanted[d.Digest] = true
		if h.guessed[d.Digest] {
			delete(h.guessed, d.Digest)
			list = append(list, walk.Children(h.kept[d.Digest])...)
		}
		if r := h.lent[d.Digest]; r != nil {
			if raw, err := r.ReadBlob(d.Digest, walk.MaxManifest); err == nil {
				list = append(list, walk.Children(raw)...)
			}
		}
	}
}

// Stat finds a blob of the layout.
func (h *streamHoldings) Stat(d digest.Digest) (archive.Blob, bool) {
	b, ok := h.blobs[d]
	return b, ok
}

// errNotJSON stands for the bytes of a blob that need not be kept.
var errNotJSON = errors.New("not JSON")

func (h *streamHoldings) read(_ context.Context, d digest.Digest, limit int64) ([]byte, error) {
	if r := h.lent[d]; r != nil {
		raw, err := r.ReadBlob(d, limit)
		return raw, inPart(r, err)
	}
	if raw, ok := h.kept[d]; ok {
		return raw, nil
	}
	switch {
	case h.failed[d] != nil:
		return nil, h.failed[d]
	case h.text[d]:
		return nil, errNotJSON
	case h.dropped[d]:
		return nil, tooLarge()
	}
	offset, length := h.Extent(d)
	return nil, &archive.Error{Class: archive.ErrDamaged, Digest: d, Offset: offset, Length: length, Reason: "the damage before it hides it"}
}

func tooLarge() error {
	return fmt.Errorf("%w: its manifests and inventory take more than %d bytes; store it in a file first", ErrStream, maxKeptBytes)
}

// take reads a blob to its end and keeps it if a survey will want it: because
// something named it, or, where that comes only later in the file, because it
// begins like JSON.
func (h *streamHoldings) take(b archive.Blob, content io.Reader, buf []byte, p *Progress) error {
	wanted := h.wanted[b.Digest]
	keep := b.Size <= walk.MaxManifest || wanted && b.Size <= maxContents
	var kept []byte
	for begun := false; ; {
		n, err := content.Read(buf)
		p.add(n)
		if front := bytes.TrimLeft(buf[:n], " \t\r\n"); !begun && len(front) > 0 {
			begun = true
			if keep && front[0] != '{' {
				keep = false
				h.text[b.Digest] = true
			}
			if keep && !h.room(b.Size, wanted) {
				if wanted {
					return tooLarge()
				}
				keep = false
				h.dropped[b.Digest] = true
			}
			if keep {
				// At once, for growing takes several times as much. What is
				// promised and does not come is never touched.
				kept = make([]byte, 0, b.Size)
			}
		}
		if keep {
			kept = append(kept, buf[:n]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !keep {
		return nil
	}
	h.kept[b.Digest] = kept
	h.bytes += int64(len(kept))
	if wanted {
		h.want(walk.Children(kept))
	} else {
		h.guessed[b.Digest] = true
	}
	return nil
}

// room makes room for n bytes, at the cost of guesses if it must.
func (h *streamHoldings) room(n int64, wanted bool) bool {
	if h.bytes+n > h.limit && wanted {
		for d := range h.guessed {
			h.bytes -= int64(len(h.kept[d]))
			h.dropped[d] = true
			delete(h.kept, d)
		}
		clear(h.guessed)
	}
	return h.bytes+n <= h.limit
}

// emptyHoldings is a bundle of which nothing could be read.
type emptyHoldings struct{}

func (emptyHoldings) Index() *ocispec.Index                       { return nil }
func (emptyHoldings) Bases() []archive.Base                       { return nil }
func (emptyHoldings) Absent() []archive.Blob                      { return nil }
func (emptyHoldings) Blobs() []archive.Blob                       { return nil }
func (emptyHoldings) Stat(digest.Digest) (archive.Blob, bool)     { return archive.Blob{}, false }
func (emptyHoldings) Extent(digest.Digest) (offset, length int64) { return 0, 0 }
func (emptyHoldings) read(context.Context, digest.Digest, int64) ([]byte, error) {
	return nil, archive.ErrMissing
}
