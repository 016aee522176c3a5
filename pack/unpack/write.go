package unpack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// writeFile writes data at p, whole or not at all.
func writeFile(p string, data []byte) error {
	return writeChecked(p, 0o644, bytes.NewReader(data), func() error { return nil })
}

// writeBlob writes r at p if it has the digest d.
func writeBlob(p string, d digest.Digest, r io.Reader) error {
	v := d.Verifier()
	return writeChecked(p, 0o644, io.TeeReader(r, v), func() error {
		if !v.Verified() {
			return &archive.Error{Class: archive.ErrDamaged, Member: "blobs/sha256/" + d.Encoded(), Digest: d, Reason: "its bytes do not have its digest"}
		}
		return nil
	})
}

// writeChecked writes r at p through a temporary file beside it, which gets
// its name only after check agreed and the bytes are on disk.
func writeChecked(p string, mode os.FileMode, r io.Reader, check func() error) (err error) {
	dir := filepath.Dir(p)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".bundle-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if err := check(); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), p); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
