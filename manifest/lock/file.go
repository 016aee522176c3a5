package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Read reads the lock file at path. A file that does not exist gives an error
// that wraps [os.ErrNotExist]; others are as for [Parse].
func Read(path string) (*Lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	defer f.Close()
	return Parse(path, f)
}

// Write puts l at path. The file is either the old one or the whole new one,
// whenever the machine stops.
func (l *Lock) Write(path string) (err error) {
	data, err := l.Encode()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing the lock %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the lock %s: %w", path, errors.Join(err, f.Close(), os.Remove(f.Name())))
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing the lock %s: %w", path, err)
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing the lock in %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("writing the lock in %s: %w", dir, err)
	}
	return nil
}
