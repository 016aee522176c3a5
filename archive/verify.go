package archive

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// VerifyBlob reads a blob once and checks every byte of its member: framing,
// tar header, padding and digest. progress, if set, is told of every n bytes
// of content. Calls for different blobs may run in parallel. Errors are an
// [*Error], the context's, or what reading returned.
func (r *Reader) VerifyBlob(ctx context.Context, d digest.Digest, progress func(n int)) error {
	from, m, err := r.holder(d)
	if err != nil {
		return err
	}
	return r.in(from, from.tools.verifyMember(ctx, from.ra, m, progress))
}

func (t *tools) verifyMember(ctx context.Context, ra io.ReaderAt, m member, progress func(n int)) error {
	d := t.decoder(newSourceAt(ra, m.pos, m.encodedLen()), m)
	defer d.release()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		parts, err := d.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if progress != nil {
			n := 0
			for _, p := range parts {
				n += len(p)
			}
			progress(n)
		}
	}
}

// VerifyFraming checks every byte of the file that is not in the member of a
// blob in it: it writes them anew from what index.json and the layout say,
// and compares. Together with VerifyBlob of all Blobs that is the whole file.
// Errors are an [*Error], the context's, or what reading returned.
func (r *Reader) VerifyFraming(ctx context.Context) error {
	if r.geo == nil {
		return ErrNotLoaded
	}
	head := newComparer(newSourceAt(r.ra, 0, r.geo.layout.pos))
	if err := r.geo.writeHead(ctxWriter{ctx, head}, r.indexBytes, r.docker, nil, head.part); err != nil {
		return r.hint(err)
	}
	if err := r.tools.verifyMember(ctx, r.ra, r.geo.layout, nil); err != nil {
		return r.hint(err)
	}
	if r.geo.part != nil {
		d := newComparer(newSourceAt(r.ra, r.geo.delta.pos, r.geo.delta.encodedLen()))
		d.part(&r.geo.delta)
		if err := writeRaw(d, &r.geo.delta, r.geo.part.encode()); err != nil {
			return r.hint(err)
		}
	}
	if r.vols != nil {
		for _, v := range r.vols.list {
			if err := v.verify(ctx, r.geo); err != nil {
				return err
			}
		}
	}
	c := newComparer(newSourceAt(r.ra, r.geo.end, r.size-r.geo.end))
	if err := r.geo.writeTail(ctxWriter{ctx, c}, r.tail.signatures, c.part); err != nil {
		return r.hint(err)
	}
	if c.src.off != r.size {
		return c.m.damaged(c.src.off, r.size-c.src.off, "bytes follow the end of the bundle")
	}
	return nil
}

// ctxWriter stops writing when its context ends.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c ctxWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// ReadBlob reads a whole blob of at most limit bytes and checks its digest.
// Errors are an [*Error], or what reading returned; a blob beyond limit is
// refused before anything is read.
func (r *Reader) ReadBlob(d digest.Digest, limit int64) ([]byte, error) {
	from, m, err := r.holder(d)
	if err != nil {
		return nil, err
	}
	if m.size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes, more than the %d that are allowed here", d, m.size, limit)
	}
	data, err := from.tools.readMember(newSourceAt(from.ra, m.pos, m.encodedLen()), m)
	return data, r.in(from, err)
}
