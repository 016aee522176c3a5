package unpack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// ErrNotFound says that the bundle has nothing of that name.
var ErrNotFound = errors.New("not in the bundle")

const maxManifestBytes = 8 << 20

// Layout writes the whole bundle as an OCI image layout into dir, with its
// signatures under signatures/. Blobs that are there already, whole, are kept.
// add is called with the bytes of each blob that is done; it may be nil.
func Layout(ctx context.Context, r *archive.Reader, dir string, add func(n int64)) error {
	blobs := make([]digest.Digest, 0, len(r.Blobs()))
	for _, b := range r.Blobs() {
		blobs = append(blobs, b.Digest)
	}
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == archive.KindLayout {
			blobs = append(blobs, d.Digest)
		}
	}
	if err := writeBlobs(ctx, r, dir, blobs, add); err != nil {
		return err
	}
	for i, sig := range r.Signatures() {
		if err := writeFile(filepath.Join(dir, "signatures", fmt.Sprintf("%d.sigstore.json", i+1)), sig); err != nil {
			return err
		}
	}
	if m := r.DockerManifest(); m != nil {
		if err := writeFile(filepath.Join(dir, "manifest.json"), m); err != nil {
			return err
		}
	}
	return writeIndex(dir, r.IndexBytes())
}

// Image writes one image, with what is attached to nothing else, as an OCI
// image layout into dir. ref is the whole name, as [archive.AnnotationRef]
// has it. It errs with [ErrNotFound].
func Image(ctx context.Context, r *archive.Reader, ref, dir string, add func(n int64)) error {
	desc, err := find(r, archive.KindImage, ref)
	if err != nil {
		return err
	}
	var blobs []digest.Digest
	if err := children(r, desc, 0, &blobs); err != nil {
		return err
	}
	if err := writeBlobs(ctx, r, dir, blobs, add); err != nil {
		return err
	}
	index, err := json.Marshal(ocispec.Index{
		Versioned: r.Index().Versioned,
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{desc},
	})
	if err != nil {
		return err
	}
	return writeIndex(dir, index)
}

// find gives the index entry of a kind and name.
func find(r *archive.Reader, kind, ref string) (ocispec.Descriptor, error) {
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == kind && d.Annotations[archive.AnnotationRef] == ref {
			return d, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s %s is %w", kind, ref, ErrNotFound)
}

// children appends desc and all that is below it and in the bundle.
func children(r *archive.Reader, desc ocispec.Descriptor, depth int, out *[]digest.Digest) error {
	const maxDepth = 8
	if _, ok := r.Stat(desc.Digest); !ok && depth > 0 {
		return nil // a platform that was not asked for
	}
	*out = append(*out, desc.Digest)
	if depth > maxDepth {
		return fmt.Errorf("%w: manifests are nested deeper than %d", archive.ErrDamaged, maxDepth)
	}
	raw, err := r.ReadBlob(desc.Digest, maxManifestBytes)
	if err != nil {
		return err
	}
	var m struct {
		Manifests []ocispec.Descriptor
		Config    *ocispec.Descriptor
		Layers    []ocispec.Descriptor
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%w: manifest %s is not JSON", archive.ErrDamaged, desc.Digest)
	}
	for _, c := range m.Manifests {
		if err := children(r, c, depth+1, out); err != nil {
			return err
		}
	}
	if m.Config != nil {
		*out = append(*out, m.Config.Digest)
	}
	for _, l := range m.Layers {
		*out = append(*out, l.Digest)
	}
	return nil
}

func writeBlobs(ctx context.Context, r *archive.Reader, dir string, list []digest.Digest, add func(n int64)) error {
	for _, d := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.Open(d)
		if err != nil {
			return err
		}
		p := filepath.Join(dir, "blobs", "sha256", d.Encoded())
		if !wholeBlob(p, d, b.Size()) {
			if err := writeBlob(p, d, io.NewSectionReader(b, 0, b.Size())); err != nil {
				return err
			}
		}
		if add != nil {
			add(b.Size())
		}
	}
	return nil
}

// wholeBlob tells whether the file at p already holds the blob.
func wholeBlob(p string, d digest.Digest, size int64) bool {
	f, err := os.Open(p)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return false
	}
	v := d.Verifier()
	_, err = io.Copy(v, f)
	return err == nil && v.Verified()
}

func writeIndex(dir string, index []byte) error {
	if err := writeFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, ocispec.ImageIndexFile), index)
}
