package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// disk is what a journal needs of a file system; tests put faults in.
type disk interface {
	// read gives a whole file, of at most limit bytes.
	read(path string, limit int64) ([]byte, error)
	// open opens a file for appending, making it where it is missing.
	open(path string) (file, error)
	// keep writes a new file.
	keep(path string, data []byte) error
	syncDir(dir string) error
}

type file interface {
	io.Writer
	io.Closer
	Sync() error
	Truncate(size int64) error
}

type osDisk struct{}

func (osDisk) read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, err
}

func (osDisk) open(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osDisk) keep(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // kept by a run that was stopped before it cut the line off
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (osDisk) syncDir(dir string) error { return syncDir(dir) }
