package verify

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// Bounds on looking into a damaged layer. It runs after the verdict is known,
// so it may give up.
const (
	maxNamedFiles = 20
	maxLayerRead  = 64 << 30
	maxWindow     = 128 << 20
)

// nameFiles finds out which files are hit where a layer of the root file
// system is damaged: those whose content is not what the inventory says.
func (s *survey) nameFiles(ctx context.Context, r *archive.Reader) {
	if s.contents == nil || len(s.bundles) != 1 {
		return
	}
	layers := s.bundles[0].layers
	damaged := s.problems.damagedBlobs()
	want := make(map[string]digest.Digest, len(s.contents.Files))
	for _, f := range s.contents.Files {
		if f.Digest != "" {
			want[path.Clean(f.Path)] = f.Digest
		}
	}
	for i, layer := range layers {
		if !damaged[layer.Digest] {
			continue
		}
		// A later layer may bring another version of the same file, and only
		// that one is in the inventory.
		later := map[string]bool{}
		for _, l := range layers[i+1:] {
			_ = eachFile(ctx, r, l.Digest, l.MediaType, func(name string, _ io.Reader) error {
				later[name] = true
				return nil
			})
		}
		var hit []string
		err := eachFile(ctx, r, layer.Digest, layer.MediaType, func(name string, content io.Reader) error {
			d, known := want[name]
			if !known || later[name] {
				return nil
			}
			h := sha256.New()
			if _, err := io.Copy(h, content); err != nil || digest.NewDigest(digest.SHA256, h) != d {
				hit = append(hit, name)
				var broken *archive.Error
				if err != nil && !errors.As(err, &broken) {
					// A compressed layer cannot be read beyond its damage.
					return err
				}
			}
			return nil
		})
		if name := fileList(hit, err != nil); name != "" {
			s.files[layer.Digest] = name
		}
	}
}

// eachFile reads the regular files of a layer as far as that goes.
func eachFile(ctx context.Context, r *archive.Reader, d digest.Digest, mediaType string, visit func(name string, content io.Reader) error) error {
	blob, err := r.Open(d)
	if err != nil {
		return err
	}
	var in io.Reader = blob.Section(0, blob.Size())
	switch {
	case strings.HasSuffix(mediaType, "+gzip"):
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = io.LimitReader(z, maxLayerRead)
	case strings.HasSuffix(mediaType, "+zstd"):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		defer z.Close()
		in = io.LimitReader(z, maxLayerRead)
	}
	t := tar.NewReader(in)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(path.Clean(strings.TrimPrefix(h.Name, "./")), t); err != nil {
			return err
		}
	}
}

// fileList writes the names of files for a problem. rest says that what
// follows them could not be read.
func fileList(hit []string, rest bool) string {
	if len(hit) == 0 {
		return ""
	}
	word, more := "file", ""
	if len(hit) > 1 {
		word = "files"
	}
	if n := len(hit) - maxNamedFiles; n > 0 {
		hit, more = hit[:maxNamedFiles], fmt.Sprintf(" and %d more", n)
	}
	if rest {
		more += " and what follows"
	}
	names := make([]string, len(hit))
	for i, name := range hit {
		names[i] = printable(name)
	}
	return word + " " + strings.Join(names, ", ") + more
}
