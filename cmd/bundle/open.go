package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/pack"
)

// opened is a bundle with its inventory read.
type opened struct {
	*archive.Reader
	contents *manifest.Contents
	manifest *ocispec.Manifest
}

// openReader opens the file and reads nothing of its index yet.
func openReader(path string) (*archive.Reader, error) {
	r, err := archive.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	return r, nil
}

// openError says why a file could not be opened.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = usagef("bundle %s does not exist", path)
		if _, statErr := os.Stat(path + ".part"); statErr == nil {
			return hint(err, "%s.part is there: the build has not finished; run it again and it goes on", path)
		}
		if _, statErr := os.Stat(archive.VolumeName(path, 1)); statErr == nil {
			return hint(err, "it lies in volumes: name %s.*", path)
		}
	case errors.As(err, new(*archive.Error)):
		return unreadable(path, err)
	}
	return err
}

// openBundle opens a bundle for looking at: the signature is not checked, the
// inventory's bytes are.
func openBundle(path string) (*opened, error) { return openChecked(path, nil) }

// openChecked opens a bundle for looking at; check, where there is one, sees
// it before anything of its index is parsed.
func openChecked(path string, check func(*archive.Reader) error) (*opened, error) {
	r, err := openReader(path)
	if err != nil {
		return nil, err
	}
	if check != nil {
		if err := check(r); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	o := &opened{Reader: r}
	if err = r.Load(); err == nil {
		o.contents, o.manifest, err = pack.ReadContents(r)
	}
	if err != nil {
		r.Close()
		return nil, unreadable(path, err)
	}
	return o, nil
}

// unreadable names the file and says where to look further.
func unreadable(path string, err error) error {
	return hint(fmt.Errorf("%s: %w", path, err), "bundle verify %s says what is damaged", path)
}
