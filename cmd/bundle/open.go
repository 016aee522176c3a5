package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
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

// unreadable names the file and says where to look further.
func unreadable(path string, err error) error {
	return hint(fmt.Errorf("%s: %w", path, err), "bundle verify %s says what is damaged", path)
}
