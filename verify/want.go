package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// Want says what has to be sent for a bundle to be whole (docs/json.md,
// "want").
type Want struct {
	SchemaVersion int `json:"schemaVersion"`
	// Name, Version and IndexDigest are those of the bundle, as far as they
	// can be read.
	Name        string        `json:"name"`
	Version     string        `json:"version"`
	IndexDigest digest.Digest `json:"indexDigest"`
	// Head: something is damaged that is no blob, so that even IndexDigest
	// may not be the bundle's.
	Head bool `json:"head"`
	// Blobs are damaged or missing, in the order of their digests.
	Blobs []digest.Digest `json:"blobs"`
}

const wantSchema = 1

// MaxWant bounds the file of a want-list, in bytes.
const MaxWant = 16 << 20

// ErrWant says that a want-list cannot be used.
var ErrWant = errors.New("the want-list cannot be used")

// Want lists what is damaged or missing; nil if nothing is. It errs with
// [ErrWant] if there is more than a list can say.
func (r *Report) Want() (*Want, error) {
	if r.wantAll {
		return nil, fmt.Errorf("%w: more is damaged than a list can say; send the whole file again", ErrWant)
	}
	if r.want == nil || len(r.want.Blobs) == 0 && !r.want.Head {
		return nil, nil
	}
	w := *r.want
	w.SchemaVersion, w.Name, w.Version, w.IndexDigest = wantSchema, r.Name, r.Version, r.IndexDigest
	return &w, nil
}

// noteWant keeps what the report's problems are about, however many they are.
func (r *Report) noteWant(l *problemList, layout digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &Want{Blobs: []digest.Digest{}}
	for _, p := range l.list {
		switch {
		case p.Kind != ProblemDamaged && p.Kind != ProblemMissing:
			// A fault of the tool that built it is in the source, too.
			w.Head = w.Head || p.Kind == ProblemUnexpected && p.Digest == ""
		case p.Digest == "" || p.Digest == layout:
			w.Head = w.Head || p.File == ""
		default:
			w.Blobs = append(w.Blobs, p.Digest)
		}
	}
	slices.Sort(w.Blobs)
	w.Blobs = slices.Compact(w.Blobs)
	r.want, r.wantAll = w, l.omitted > 0
}

// Encode gives the list as a file has it.
func (w *Want) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(w, "", "  ")
	return append(data, '\n'), err
}

// ParseWant reads a want-list and checks that it makes sense. It errs with
// [ErrWant].
func ParseWant(data []byte) (*Want, error) {
	if len(data) > MaxWant {
		return nil, fmt.Errorf("%w: it has %d bytes, more than the %d that it may have", ErrWant, len(data), MaxWant)
	}
	w := new(Want)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(w)
	if _, more := d.Token(); err != nil || more != io.EOF {
		return nil, fmt.Errorf("%w: it is not what bundle verify --want writes", ErrWant)
	}
	if w.SchemaVersion != wantSchema {
		return nil, fmt.Errorf("%w: it has schema version %d, and this tool reads %d", ErrWant, w.SchemaVersion, wantSchema)
	}
	for _, b := range append(slices.Clone(w.Blobs), w.IndexDigest) {
		if b == "" && w.Head {
			continue
		}
		if b.Validate() != nil || b.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("%w: %.80q is no sha256 digest", ErrWant, string(b))
		}
	}
	if len(w.Blobs) == 0 && !w.Head {
		return nil, fmt.Errorf("%w: it wants nothing", ErrWant)
	}
	return w, nil
}

// Fits makes sure that a list is about a loaded bundle. It errs with
// [ErrWant].
func (w *Want) Fits(r *archive.Reader) error {
	if !w.Head && w.IndexDigest != r.IndexDigest() {
		return fmt.Errorf("%w: it is for %s %s with the index %s, and %s has %s", ErrWant, printable(w.Name), printable(w.Version), w.IndexDigest, r.Path(), r.IndexDigest())
	}
	for _, d := range w.Blobs {
		if _, ok := r.Stat(d); !ok {
			return fmt.Errorf("%w: %s does not have blob %s, which it asks for", ErrWant, r.Path(), d)
		}
	}
	return nil
}
