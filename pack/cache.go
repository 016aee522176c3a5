package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// blobCache is a folder with blobs that earlier builds fetched, by digest. It
// is no part of a bundle and never trusted: what comes out of it is hashed
// like what comes from a registry.
type blobCache struct{ dir string }

func (c blobCache) path(d digest.Digest) string {
	return filepath.Join(c.dir, "sha256", d.Encoded())
}

// wrap asks the cache before the source. A cached blob that turned out to be
// bad is removed by [blobCache.drop], after which the source is asked.
func (c blobCache) wrap(d digest.Digest, size int64, open opener) opener {
	if c.dir == "" {
		return open
	}
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		f, err := os.Open(c.path(d))
		if err != nil {
			return open(ctx, offset)
		}
		if info, err := f.Stat(); err != nil || info.Size() != size {
			f.Close()
			return open(ctx, offset)
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			f.Close()
			return open(ctx, offset)
		}
		return f, nil
	}
}

// drop removes a cached blob and tells whether there was one.
func (c blobCache) drop(d digest.Digest) bool {
	return c.dir != "" && os.Remove(c.path(d)) == nil
}

// keep copies the fetched blobs of a finished bundle that the cache lacks.
func (c blobCache) keep(ctx context.Context, files []string, remote map[digest.Digest]remoteBlob) error {
	if c.dir == "" {
		return nil
	}
	readers, errs := archive.OpenAll(files)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r := readers[0]
	defer r.Close()
	if err := r.Load(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(c.dir, "sha256"), 0o755); err != nil {
		return fmt.Errorf("the cache %s cannot be used: %w", c.dir, err)
	}
	for d, blob := range remote {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, ok := r.Stat(d); !ok {
			continue // a delta leaves it out
		}
		if _, err := os.Stat(c.path(d)); !blob.fetched || !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := c.put(r, d); err != nil {
			return fmt.Errorf("blob %s cannot be kept in the cache %s: %w", d, c.dir, err)
		}
	}
	return nil
}

// put writes one blob under its name, whole or not at all.
func (c blobCache) put(r *archive.Reader, d digest.Digest) (err error) {
	b, err := r.Open(d)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path(d)), ".blob-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, b.Section(0, b.Size())); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path(d))
}
