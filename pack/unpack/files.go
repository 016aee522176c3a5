package unpack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// Chart writes the chart of that name as NAME-VERSION.tgz into dir and gives
// the path. version may be empty where the bundle has one version only. It
// errs with [ErrNotFound].
func Chart(r *archive.Reader, name, version, dir string) (string, error) {
	var found []ocispec.Descriptor
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] != archive.KindChart {
			continue
		}
		n, v, _ := strings.Cut(path.Base(d.Annotations[archive.AnnotationRef]), ":")
		if n == name && (version == "" || v == version) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("chart %s is %w", name, ErrNotFound)
	case 1:
	default:
		return "", fmt.Errorf("chart %s is there in %d versions; say NAME:VERSION", name, len(found))
	}
	raw, err := r.ReadBlob(found[0].Digest, maxManifestBytes)
	if err != nil {
		return "", err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || len(m.Layers) == 0 {
		return "", fmt.Errorf("%w: the manifest of chart %s has no layer", archive.ErrDamaged, name)
	}
	layer := m.Layers[0].Digest
	b, err := r.Open(layer)
	if err != nil {
		return "", err
	}
	base := strings.ReplaceAll(path.Base(found[0].Annotations[archive.AnnotationRef]), ":", "-") + ".tgz"
	if !filepath.IsLocal(base) {
		return "", fmt.Errorf("%w: chart name %q cannot be a file name", archive.ErrDamaged, base)
	}
	p := filepath.Join(dir, base)
	return p, writeBlob(p, layer, io.NewSectionReader(b, 0, b.Size()))
}

// Visit calls fn for each entry of the root file system's layers, base first;
// an entry of a later layer replaces one of the same name before it. A layer
// is checked against its digest before its first entry is looked at, so no
// decompressor ever sees bytes that nobody vouched for.
func Visit(ctx context.Context, r *archive.Reader, m *ocispec.Manifest, fn func(layer int, h *tar.Header, content io.Reader) error) error {
	for i, l := range m.Layers {
		if err := visitLayer(ctx, r, i, l, fn); err != nil {
			return err
		}
	}
	return nil
}

func visitLayer(ctx context.Context, r *archive.Reader, i int, l ocispec.Descriptor, fn func(int, *tar.Header, io.Reader) error) error {
	if err := r.VerifyBlob(ctx, l.Digest, nil); err != nil {
		return err
	}
	b, err := r.Open(l.Digest)
	if err != nil {
		return err
	}
	content, done, err := Decompress(io.NewSectionReader(b, 0, b.Size()), l.MediaType)
	if err != nil {
		return fmt.Errorf("%w: root file system layer %d: %v", archive.ErrDamaged, i+1, err)
	}
	defer done()
	tr := tar.NewReader(content)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: root file system layer %d: %v", archive.ErrDamaged, i+1, err)
		}
		if err := fn(i, h, tr); err != nil {
			return err
		}
	}
}

// maxWindow bounds what a zstd layer may ask of memory.
const maxWindow = 128 << 20

// Decompress gives the tar inside a layer by its media type, and what to call
// when it is done with. Memory is bounded whatever the layer says.
func Decompress(r io.Reader, mediaType string) (io.Reader, func(), error) {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		z, err := gzip.NewReader(bufio.NewReaderSize(r, 1<<16))
		return z, func() {}, err
	case strings.HasSuffix(mediaType, "+zstd"):
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// Files writes the file or folder at name of the root file system below dir,
// under its own path, and gives the number of files written. It errs with
// [ErrNotFound].
func Files(ctx context.Context, r *archive.Reader, m *ocispec.Manifest, name, dir string) (int, error) {
	name = strings.Trim(path.Clean("/"+name), "/")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	n := 0
	err = Visit(ctx, r, m, func(_ int, h *tar.Header, content io.Reader) error {
		p := strings.Trim(path.Clean("/"+h.Name), "/")
		if name != "" && p != name && !strings.HasPrefix(p, name+"/") {
			return nil
		}
		n++
		return place(root, p, h, content)
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("file %s is %w", name, ErrNotFound)
	}
	return n, err
}

// place writes one entry below root. os.Root keeps it there, whatever links
// an earlier entry made.
func place(root *os.Root, p string, h *tar.Header, content io.Reader) error {
	if dir := path.Dir(p); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(p, 0o755)
	case tar.TypeSymlink:
		if err := root.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(h.Linkname, p)
	case tar.TypeReg:
		if err := root.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := root.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode)&0o755)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, content); err != nil {
			f.Close()
			return err
		}
		return f.Close()
	}
	return nil // devices, sockets and hard links have no place in a bundle's files
}

// ReadAll gives the content of the wanted files of the root file system, each
// at most limit bytes, as the last layer that has them says.
func ReadAll(ctx context.Context, r *archive.Reader, m *ocispec.Manifest, want func(p string, size int64) bool, limit int64) (map[string][]byte, error) {
	got := map[string][]byte{}
	err := Visit(ctx, r, m, func(_ int, h *tar.Header, content io.Reader) error {
		p := strings.Trim(path.Clean("/"+h.Name), "/")
		if h.Typeflag != tar.TypeReg || !want(p, h.Size) {
			return nil
		}
		var buf bytes.Buffer
		if _, err := io.Copy(&buf, io.LimitReader(content, limit+1)); err != nil {
			return err
		}
		if int64(buf.Len()) > limit {
			return fmt.Errorf("file %s is larger than the %d bytes it may have", p, limit)
		}
		got[p] = buf.Bytes()
		return nil
	})
	return got, err
}
