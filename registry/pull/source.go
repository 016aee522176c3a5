package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"bundle/manifest"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest is the largest manifest or index that is read, in bytes.
const MaxManifest = 8 << 20

// Source is a place that may hold images. Its methods are safe for
// concurrent use. Errors are [*Error], or the cause of ctx's end.
type Source interface {
	// Name says where this is, for people: "oci:dir", "registries".
	Name() string
	// Resolve finds what ref points at; [ErrNotFound] if it is not here.
	// A reference with a digest means that digest, whatever its tag.
	Resolve(ctx context.Context, ref manifest.Reference) (ocispec.Descriptor, error)
	// Manifest reads a manifest or index whole. Its digest, and its size
	// where desc has one, are checked.
	Manifest(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor) ([]byte, error)
	// Blob reads desc from offset (bytes) to its end. It gives at most
	// desc.Size bytes in total; the caller checks the digest.
	Blob(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error)
	// Attached lists what refers to desc: signatures, attestations and
	// SBOMs under cosign's tags, and OCI referrers.
	Attached(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor) ([]Attachment, error)
}

// Attachment is a manifest that says something about another.
type Attachment struct {
	ocispec.Descriptor
	// Tag it is found by; empty for an OCI referrer, which is found by its
	// subject.
	Tag string
	// Subject is the manifest that it is about.
	Subject digest.Digest
}

// Classes of failures, for errors.Is.
var (
	ErrNotFound     = wire.ErrNotFound
	ErrUnauthorized = wire.ErrUnauthorized
	ErrUnavailable  = wire.ErrUnavailable
	// ErrPlatform says that an image exists, but not for a wanted platform.
	ErrPlatform = errors.New("no such platform")
	// ErrUnsupported is something that is understood and not carried, such
	// as a Docker schema 1 manifest.
	ErrUnsupported = errors.New("not supported")
	// ErrInvalid says that a manifest, an archive or a list is malformed or
	// beyond the limits.
	ErrInvalid = errors.New("malformed")
	// ErrDigest says that bytes are not those that their digest names.
	ErrDigest = errors.New("bytes do not match their digest")
)

// Error says which step failed for which image, and where.
type Error struct {
	// Ref is the image as it was asked for.
	Ref string
	// Source that was asked.
	Source string
	// Op completes "cannot …": "resolve", "read blob sha256:… of".
	Op string
	// Hint says what to try next; empty if nothing is known.
	Hint string
	// Err is why.
	Err error
}

// Message gives one sentence, without the hint.
func (e *Error) Message() string {
	return fmt.Sprintf("cannot %s %s: %s", e.Op, e.Ref, e.Err)
}

// Error gives the sentence and, after a semicolon, the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message()
	}
	return e.Message() + "; " + e.Hint
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// fail wraps err for one step. The end of ctx is no failure of a source and
// passes through, as does what is wrapped already.
func fail(ctx context.Context, source, op string, ref manifest.Reference, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Ref: ref.String(), Source: source, Op: op, Hint: wire.HintOf(err), Err: err}
}

// because is a reason in words, of a class for errors.Is.
type because struct {
	class error
	text  string
}

func (b *because) Error() string { return b.text }
func (b *because) Unwrap() error { return b.class }

func reason(class error, format string, args ...any) error {
	return &because{class: class, text: fmt.Sprintf(format, args...)}
}

// checkManifest compares bytes with the descriptor that promised them.
func checkManifest(desc ocispec.Descriptor, raw []byte) error {
	if desc.Size > 0 && int64(len(raw)) != desc.Size {
		return reason(ErrDigest, "manifest %s has %d bytes, %d were announced", desc.Digest, len(raw), desc.Size)
	}
	if got := digest.FromBytes(raw); got != desc.Digest {
		return reason(ErrDigest, "manifest %s came with other bytes (%s)", desc.Digest, got)
	}
	return nil
}

// checkDescriptor refuses what cannot be fetched or stored safely.
func checkDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return reason(ErrInvalid, "digest %q is malformed", clip(string(d.Digest)))
	}
	if d.Digest.Algorithm() != digest.SHA256 {
		return reason(ErrUnsupported, "digest %s is not SHA-256", clip(string(d.Digest)))
	}
	if d.Size < 0 {
		return reason(ErrInvalid, "%s has a negative size", d.Digest)
	}
	return nil
}

// clip shortens what others wrote to something that fits a message.
func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}

// section is a reader of bytes that are held whole.
func section(b []byte, offset int64) io.ReadCloser {
	offset = min(max(offset, 0), int64(len(b)))
	return io.NopCloser(bytes.NewReader(b[offset:]))
}
