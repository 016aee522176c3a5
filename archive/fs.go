package archive

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// fsys is what writing needs of the operating system. Tests put one in that
// fails.
type fsys interface {
	// open opens a file for reading and writing.
	open(name string, create bool) (file, error)
	// same tells whether f is still the file that name leads to.
	same(f file, name string) bool
	rename(from, to string) error
	// remove removes a file; that there is none is no error.
	remove(name string) error
	// syncDir brings the names in the folder of a file safely to disk.
	syncDir(name string) error
	// free is the room in bytes for more data beside a file, -1 if unknown.
	free(name string) (int64, error)
}

// file is an open file of an fsys.
type file interface {
	io.ReaderAt
	io.WriterAt
	// truncate sets the length.
	truncate(size int64) error
	// allocate sets blocks aside for the first size bytes, so that writing
	// them cannot fail for want of room. It may do nothing.
	allocate(size int64) error
	// sync brings data and length safely to disk; datasync may leave out
	// what is not needed to read the data back.
	sync() error
	datasync() error
	// size is the length, allocated what the file takes on disk, in bytes.
	size() (size, allocated int64, err error)
	// lock keeps other processes from locking the file until it is closed.
	// It does not wait; the error is ErrBusy if another has the lock.
	lock() error
	close() error
}

type osFS struct{}

type osFile struct{ *os.File }

func (osFS) open(name string, create bool) (file, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) same(f file, name string) bool {
	a, err := f.(osFile).Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}

func (osFS) rename(from, to string) error { return os.Rename(from, to) }

func (osFS) remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (osFS) syncDir(name string) error       { return syncDir(filepath.Dir(name)) }
func (osFS) free(name string) (int64, error) { return freeBytes(filepath.Dir(name)) }
func (f osFile) truncate(size int64) error   { return f.Truncate(size) }
func (f osFile) sync() error                 { return f.Sync() }
func (f osFile) datasync() error             { return datasync(f.File) }
func (f osFile) allocate(size int64) error   { return allocate(f.File, size) }
func (f osFile) lock() error                 { return lockFile(f.File) }
func (f osFile) close() error                { return f.Close() }
func (f osFile) size() (int64, int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	return fi.Size(), allocatedBytes(fi), nil
}

// offsetWriter writes to a file one piece after the other.
type offsetWriter struct {
	f   io.WriterAt
	off int64
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// WriteFile replaces the file at path by one with the given content, in one
// step and safely.
func WriteFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}
