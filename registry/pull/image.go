package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"bundle/manifest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is a reference resolved: everything that has to be stored for it.
type Image struct {
	// Ref as it was asked for, without the pinned digest.
	Ref manifest.Reference
	// Descriptor of the manifest or index that Ref points at.
	Descriptor ocispec.Descriptor
	// Platforms that are wholly listed, as "os/arch[/variant]"; empty for
	// what has none, such as a chart.
	Platforms []string
	// Manifests with their bytes: the index or manifest of Descriptor first,
	// then the chosen children, then what is attached.
	Manifests []Content
	// Blobs that the manifests name, each once.
	Blobs []BlobRef
	// Attached are the manifests among Manifests that refer to the image.
	Attached []Attachment
	// Source that answered, by its name.
	Source string
}

// Content is a manifest with its bytes, whose digest was checked.
type Content struct {
	Desc  ocispec.Descriptor
	Bytes []byte
}

// BlobRef is a blob and the place to read it from.
type BlobRef struct {
	Desc   ocispec.Descriptor
	Source Source
	Ref    manifest.Reference
	// Data is the content where it was read already (configs), checked.
	Data []byte
}

// Open reads the blob from offset. The caller checks the digest.
func (b BlobRef) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if b.Data != nil {
		return section(b.Data, offset), nil
	}
	return b.Source.Blob(ctx, b.Ref, b.Desc, offset)
}

// Size is the sum of all manifests and blobs of the image, in bytes.
func (i *Image) Size() int64 {
	var n int64
	for _, m := range i.Manifests {
		n += int64(len(m.Bytes))
	}
	for _, b := range i.Blobs {
		n += b.Desc.Size
	}
	return n
}

// Blobs lists the blobs of all images, each once, in the order of the
// images. Two images that disagree about the size of a blob are an error of
// class [ErrInvalid].
func Blobs(images []Image) ([]BlobRef, error) {
	sizes := map[digest.Digest]int64{}
	var all []BlobRef
	for _, img := range images {
		for _, b := range img.Blobs {
			size, seen := sizes[b.Desc.Digest]
			if seen && size != b.Desc.Size {
				return nil, &Error{Ref: img.Ref.String(), Source: img.Source, Op: "use", Err: reason(ErrInvalid,
					"it says that blob %s has %d bytes, another image says %d", b.Desc.Digest, b.Desc.Size, size)}
			}
			if !seen {
				sizes[b.Desc.Digest] = b.Desc.Size
				all = append(all, b)
			}
		}
	}
	return all, nil
}

// Failure is one reference that could not be resolved.
type Failure struct {
	// Name as the user wrote it.
	Name string
	// Asked are the sources that were asked, in order.
	Asked []string
	// Err is why; its tree says more to errors.Is.
	Err error
}

// reason is why, without the name, which stands in the same line already.
func (f Failure) reason() string {
	e, ok := errors.AsType[*Error](f.Err)
	switch {
	case !ok || e.Ref != f.Name:
		return f.Err.Error()
	case e.Hint == "":
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

// Failures is the error of a run in which some references failed. Its text
// is a table, one failure a line.
type Failures struct {
	// Total number of references in the run.
	Total int
	List  []Failure
}

// Error gives a heading and a line for each failure.
func (f *Failures) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d images could not be resolved:\n", len(f.List), f.Total)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  IMAGE\tASKED\tREASON\n")
	for _, x := range f.List {
		asked := "nobody"
		if len(x.Asked) > 0 {
			asked = strings.Join(x.Asked, ", ")
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", x.Name, asked, x.reason())
	}
	_ = w.Flush() // a strings.Builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// Unwrap gives every cause.
func (f *Failures) Unwrap() []error {
	errs := make([]error, len(f.List))
	for i, x := range f.List {
		errs[i] = x.Err
	}
	return errs
}
