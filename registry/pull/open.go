package pull

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kinds of local sources, as they are written before the colon.
const (
	// KindOCI is a folder that holds an OCI image layout.
	KindOCI = "oci"
	// KindOCIArchive is an OCI image layout in a tar archive.
	KindOCIArchive = "oci-archive"
	// KindDockerArchive is what "docker save" writes.
	KindDockerArchive = "docker-archive"
	// KindBundle is a bundle of this tool.
	KindBundle = "bundle"
)

// Spec is a local source as users write it: "oci:DIR".
type Spec struct {
	Kind, Path string
}

// String gives the form that [ParseSource] reads.
func (s Spec) String() string { return s.Kind + ":" + s.Path }

// ParseSource reads "oci:DIR", "oci-archive:FILE", "docker-archive:FILE" or
// "bundle:FILE". It opens nothing; the error names s and the known kinds.
func ParseSource(s string) (Spec, error) {
	kind, path, ok := strings.Cut(s, ":")
	if !ok || path == "" || strings.IndexByte(path, 0) >= 0 {
		return Spec{}, fmt.Errorf("source %q is not KIND:PATH with KIND oci, oci-archive, docker-archive or bundle", s)
	}
	switch kind {
	case KindOCI, KindOCIArchive, KindDockerArchive, KindBundle:
		return Spec{Kind: kind, Path: path}, nil
	}
	return Spec{}, fmt.Errorf("source %q has the unknown kind %q; known are oci, oci-archive, docker-archive and bundle", s, clip(kind))
}

// Open opens the source. Archives may be compressed by gzip or zstd; blobs
// of those are read by decompressing from the start of the archive each
// time, while plain archives and bundles are read in place. Nothing is
// unpacked to disk.
func (s Spec) Open() (LocalSource, error) {
	c, err := s.content()
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == ocispec.ImageIndexFile && errors.Is(err, fs.ErrNotExist) {
			err = reason(ErrInvalid, "it is no OCI layout: it has no index.json")
		}
		return nil, fmt.Errorf("cannot use %s: %w", s, err)
	}
	return &local{name: s.String(), content: c}, nil
}

func (s Spec) content() (content, error) {
	var st store
	var err error
	switch s.Kind {
	case KindBundle:
		return openBundle(s.Path)
	case KindOCI:
		st, err = openDir(s.Path)
	default:
		st, err = openTar(s.Path)
	}
	if err != nil {
		return nil, err
	}
	var c content
	if s.Kind == KindDockerArchive {
		c, err = newBoth(st)
	} else {
		c, err = newLayout(st)
	}
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return c, nil
}
