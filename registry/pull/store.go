package pull

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// store gives the members of a local folder or archive by slash-separated
// name. It is safe for concurrent use.
type store interface {
	// open reads a regular file from offset and tells its whole size;
	// fs.ErrNotExist if there is none.
	open(name string, offset int64) (io.ReadCloser, int64, error)
	Close() error
}

// readMember reads a whole member of at most limit bytes.
func readMember(s store, name string, limit int64) ([]byte, error) {
	r, size, err := s.open(name, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > limit {
		return nil, reason(ErrInvalid, "%s has %d bytes, %d are allowed", name, size, limit)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("%s ends early: %w", name, err)
	}
	return raw, nil
}

// memberName gives the name under which a member is kept: relative, clean,
// and never above the root.
func memberName(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// dirStore is a folder. Links that lead out of it are not followed.
type dirStore struct{ root *os.Root }

func openDir(dir string) (*dirStore, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &dirStore{root: root}, nil
}

func (s *dirStore) open(name string, offset int64) (io.ReadCloser, int64, error) {
	// Not blocking, because a FIFO would otherwise wait for a writer.
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = reason(ErrInvalid, "%s is not a regular file", name)
	}
	if err == nil && offset > 0 {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (s *dirStore) Close() error { return s.root.Close() }

// notExist says which member is missing, for errors.Is with fs.ErrNotExist.
func notExist(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
