package install

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/pack"
	"bundle/pack/unpack"
)

// Bundle is an opened bundle whose inventory was read. Whether it is trusted
// was its opener's to find out.
type Bundle struct {
	Path     string
	Reader   *archive.Reader
	Contents *manifest.Contents
	Manifest *ocispec.Manifest
	// ManifestDigest is the digest of Manifest, by which hosts pull the root
	// file system.
	ManifestDigest digest.Digest
	// IndexDigest is the digest of index.json: the bundle's identity.
	IndexDigest digest.Digest
	// Size of the file in bytes; of a delta and its base that of the one file
	// that they are together.
	Size int64
	// Whole is that one file; nil where the bundle is one file already.
	Whole io.ReaderAt
}

// OpenBundle reads the inventory of a loaded bundle.
func OpenBundle(r *archive.Reader) (*Bundle, error) {
	c, m, err := pack.ReadContents(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Path(), err)
	}
	b := &Bundle{Path: r.Path(), Reader: r, Contents: c, Manifest: m, Size: r.Size(), IndexDigest: r.IndexDigest()}
	if !r.Plain() {
		whole, err := r.Whole()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Path(), err)
		}
		b.Whole, b.Size = whole, whole.Size()
	}
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == archive.KindBundle {
			b.ManifestDigest = d.Digest
			break
		}
	}
	return b, nil
}

// Ref is the reference that the bundle's own manifest has in its registry.
func (b *Bundle) Ref() string {
	return "bundle/" + strings.ToLower(b.Contents.Name) + ":" + b.Contents.Version
}

// Bounds of what an install reads of a root file system: charts, manifests,
// templates and plugins are small, and binaries are only ever read by hosts.
const (
	maxRootFile  = 16 << 20
	maxRootFiles = 512 << 20
)

// rootSource gives the small files of a bundle's root file system. It reads
// the layers once, when the first file is asked for.
type rootSource struct {
	ctx context.Context
	b   *Bundle

	once  sync.Once
	files map[string][]byte
	sizes map[string]int64
	err   error
}

// List gives every entry of the root file system.
func (s *rootSource) List() []manifest.File { return s.b.Contents.Files }

// ReadFile gives the content of one file. It errs with fs.ErrNotExist.
func (s *rootSource) ReadFile(name string) ([]byte, error) {
	s.once.Do(s.load)
	if s.err != nil {
		return nil, s.err
	}
	name = path.Clean(name)
	size, known := s.sizes[name]
	data, ok := s.files[name]
	switch {
	case !known:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case ok:
		return data, nil
	case !wanted(name, size):
		return nil, fmt.Errorf("file %s of the bundle has %d bytes, more than an install reads", name, size)
	}
	return nil, fmt.Errorf("file %s is in the inventory of %s and not in its layers: %w", name, s.b.Path, archive.ErrMissing)
}

// load reads what an install may want to look into, in one pass.
func (s *rootSource) load() {
	s.sizes = map[string]int64{}
	for _, f := range s.b.Contents.Files {
		if f.Type == "file" {
			s.sizes[f.Path] = f.Size
		}
	}
	var sum int64
	take := func(p string, size int64) bool {
		if !wanted(p, size) {
			return false
		}
		sum += size
		return sum <= maxRootFiles
	}
	s.files, s.err = unpack.ReadAll(s.ctx, s.b.Reader, s.b.Manifest, take, maxRootFile)
	if s.err == nil && sum > maxRootFiles {
		s.err = fmt.Errorf("the root file system of %s holds more than %d MiB in files that an install might read", s.b.Path, maxRootFiles>>20)
	}
}

// wanted tells whether an install may want to look into a file: below the
// folders of programs, images and packages only small ones are of interest.
func wanted(p string, size int64) bool {
	top, _, _ := strings.Cut(p, "/")
	if slices.Contains([]string{"bin", "cri", "images", "lib", "registry", "rpm", "tgz"}, top) {
		return size <= 1<<20
	}
	return size <= maxRootFile
}
