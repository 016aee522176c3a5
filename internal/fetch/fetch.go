package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/internal/safefile"
	"bundle/manifest"
	"bundle/registry/pull"
	"bundle/registry/push"
)

// maxFiles is the greatest number of volumes that a bundle has.
const maxFiles = 999

var (
	// ErrNoFile says that a name in a registry is no bundle pushed as a file.
	ErrNoFile = errors.New("is no bundle that was pushed as a file")
	// ErrExists says that a file of that name is there, and is another one.
	ErrExists = errors.New("is there already and is another file")
)

// Artifact is a bundle in a registry, in one file or in volumes.
type Artifact struct {
	Digest digest.Digest
	Files  []ocispec.Descriptor

	src pull.Source
	ref manifest.Reference
}

// Find reads what a name in a registry stands for. Errors are [ErrNoFile] or
// the source's.
func Find(ctx context.Context, src pull.Source, ref manifest.Reference) (*Artifact, error) {
	desc, err := src.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	raw, err := src.Manifest(ctx, ref, desc)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || m.ArtifactType != push.ArtifactTypeFile {
		return nil, fmt.Errorf("%s %w", ref, ErrNoFile)
	}
	if n := len(m.Layers); n < 1 || n > maxFiles {
		return nil, fmt.Errorf("%s %w: it has %d files", ref, ErrNoFile, n)
	}
	return &Artifact{Digest: desc.Digest, Files: m.Layers, src: src, ref: ref}, nil
}

// Size is the sum of all files, in bytes.
func (a *Artifact) Size() (n int64) {
	for _, f := range a.Files {
		n += f.Size
	}
	return n
}

// Names are those that the files had; nil where they cannot be names of files
// in one folder.
func (a *Artifact) Names() []string {
	var names []string
	seen := map[string]bool{}
	for _, f := range a.Files {
		name := f.Annotations[ocispec.AnnotationTitle]
		bad := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`/\:*?"<>|`, r) }
		if name == "" || len(name) > 240 || strings.HasPrefix(name, ".") || strings.ContainsFunc(name, bad) || seen[name] {
			return nil
		}
		seen[name] = true
		names = append(names, name)
	}
	return names
}

// Get writes one of the files to path, and goes on with what path.part has of
// it. It tells whether the file was there. got is told of every n bytes that
// are in place, and may be told a negative n.
func (a *Artifact) Get(ctx context.Context, f ocispec.Descriptor, path string, got func(n int64)) (present bool, err error) {
	present, err = same(ctx, f, path, got)
	if present || err != nil {
		return present, err
	}
	part := path + ".part"
	w, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer func() {
		if w != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	h := sha256.New()
	have, err := copyTo(ctx, h, io.LimitReader(w, f.Size+1), got)
	if err != nil {
		return false, err
	}
	for {
		if have > f.Size {
			if have, err = a.restart(w, h, have, got); err != nil {
				return false, err
			}
		}
		if err := a.fetch(ctx, f, w, h, have, got); err != nil {
			return false, fmt.Errorf("%s: %w", part, err)
		}
		sum := digest.NewDigest(digest.SHA256, h)
		if sum == f.Digest {
			break
		}
		// Either what lay here was something else, or the registry lies.
		if have == 0 {
			if err := w.Truncate(0); err != nil {
				return false, err
			}
			return false, fmt.Errorf("%s is %s, and the registry sent %s for it: %w", a.ref, f.Digest, sum, pull.ErrDigest)
		}
		if have, err = a.restart(w, h, f.Size, got); err != nil {
			return false, err
		}
	}
	// Windows renames no file that is open.
	err, w = errors.Join(w.Sync(), w.Close()), nil
	if err != nil {
		return false, err
	}
	return false, safefile.Rename(part, path)
}

// restart drops what is there.
func (a *Artifact) restart(w *os.File, h hash.Hash, have int64, got func(n int64)) (int64, error) {
	h.Reset()
	got(-have)
	return 0, w.Truncate(0)
}

// fetch appends the rest of a file.
func (a *Artifact) fetch(ctx context.Context, f ocispec.Descriptor, w *os.File, h hash.Hash, have int64, got func(n int64)) error {
	if have == f.Size {
		return nil
	}
	r, err := a.src.Blob(ctx, a.ref, f, have)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := w.Seek(have, io.SeekStart); err != nil {
		return err
	}
	n, err := copyTo(ctx, io.MultiWriter(w, h), r, got)
	if err == nil && have+n != f.Size {
		err = fmt.Errorf("%d of %d bytes came: %w", have+n, f.Size, io.ErrUnexpectedEOF)
	}
	return err
}

// same tells whether path has the bytes of f. A file with others is an error.
func same(ctx context.Context, f ocispec.Descriptor, path string, got func(n int64)) (bool, error) {
	r, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	st, err := r.Stat()
	if err != nil {
		return false, err
	}
	if !st.Mode().IsRegular() || st.Size() != f.Size {
		return false, fmt.Errorf("%s %w", path, ErrExists)
	}
	h := sha256.New()
	if _, err := copyTo(ctx, h, r, got); err != nil {
		return false, err
	}
	if digest.NewDigest(digest.SHA256, h) != f.Digest {
		return false, fmt.Errorf("%s %w", path, ErrExists)
	}
	return true, nil
}

// copyTo is io.Copy that can be interrupted, and tells how far it is.
func copyTo(ctx context.Context, w io.Writer, r io.Reader, got func(n int64)) (total int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return total, context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
			got(int64(n))
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
