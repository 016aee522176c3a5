package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const mergeSuffix = ".merge"

// Merge writes r, a bundle that lies in several files, as one file that leaves
// nothing out, with the same index.json and signatures. Every byte is checked
// as it is written, in path+".merge"; path itself appears when all are on
// disk. add, if not nil, is told of every n bytes. Errors wrap [ErrAbsent],
// [ErrBusy] or [ErrNoSpace] where that is the reason, or are an [*Error].
func Merge(ctx context.Context, r *Reader, path string, add func(n int)) (size int64, err error) {
	return merge(ctx, osFS{}, r, path, add)
}

func merge(ctx context.Context, fs fsys, r *Reader, path string, add func(n int)) (size int64, err error) {
	whole, err := r.Whole()
	if err != nil {
		return 0, err
	}
	return writeChecked(ctx, fs, whole, path, add)
}

// writeChecked writes a file that is in the form of a bundle, and gives it its
// name when every byte was checked and is on disk.
func writeChecked(ctx context.Context, fs fsys, whole *io.SectionReader, path string, add func(n int)) (size int64, err error) {
	name := path + mergeSuffix
	f, err := fs.open(name, true)
	if err != nil {
		return 0, err
	}
	open := true
	defer func() {
		if err == nil {
			return
		}
		if open {
			err = errors.Join(err, f.close())
		}
		err = errors.Join(err, fs.remove(name))
	}()
	if err := f.lock(); err != nil {
		return 0, fmt.Errorf("%s cannot be written: %w", name, err)
	}
	if err := f.truncate(0); err != nil {
		return 0, err
	}
	free, err := fs.free(name)
	if err != nil {
		return 0, fmt.Errorf("the free space for %s cannot be told: %w", name, err)
	}
	full := fmt.Errorf("%w for %s: %d bytes are needed, %d are available", ErrNoSpace, name, whole.Size(), free)
	if free >= 0 && free < whole.Size() {
		return 0, full
	}
	if err := checkedCopy(&counted{ctx: ctx, w: &offsetWriter{f: f}, add: add}, whole); err != nil {
		if noSpace(err) {
			return 0, full
		}
		return 0, err
	}
	if err := f.sync(); err != nil {
		return 0, fmt.Errorf("%s cannot be brought to disk: %w", name, err)
	}
	open = false
	if err := f.close(); err != nil {
		return 0, err
	}
	if err := fs.rename(name, path); err != nil {
		return 0, fmt.Errorf("%s cannot be moved to its name: %w", name, err)
	}
	return whole.Size(), fs.syncDir(path)
}

// checkedCopy copies a whole bundle, and reads it as a stream on the way.
func checkedCopy(w io.Writer, whole io.Reader) error {
	in, err := NewStream(io.TeeReader(whole, w))
	if err == nil {
		err = in.Load()
	}
	for err == nil {
		var content io.Reader
		if _, content, err = in.Next(); err == nil {
			_, err = io.Copy(io.Discard, content)
		}
	}
	if err == io.EOF {
		_, err = in.Finish()
	}
	return err
}

// counted tells of what is written, and stops when its context ends.
type counted struct {
	ctx context.Context
	w   io.Writer
	add func(n int)
}

func (c *counted) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	if c.add != nil {
		c.add(n)
	}
	return n, err
}
