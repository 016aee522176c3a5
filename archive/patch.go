package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A patch is a file in the form of a bundle that holds some blobs of another,
// and all of that one's small members (docs/format.md, "Patches"). What it
// holds is the one right content of places that may be damaged there.

// MediaTypePatch is the media type of the blob that says what a patch is for.
const MediaTypePatch = "application/vnd.bundle.patch.v1+json"

// maxPatchJSON bounds that blob, in bytes.
const maxPatchJSON = 64 << 10

// ErrPatch says that a patch and a bundle do not fit each other.
var ErrPatch = errors.New("the patch does not fit")

// Patch says what a patch is for: the digests of the bundle's members, which
// are blobs of the patch.
type Patch struct {
	// Index is the index.json of the bundle, which is its identity.
	Index digest.Digest `json:"index"`
	// DockerManifest and Delta are empty where the bundle has none.
	DockerManifest digest.Digest   `json:"dockerManifest,omitempty"`
	Delta          digest.Digest   `json:"delta,omitempty"`
	Signatures     []digest.Digest `json:"signatures,omitempty"`
}

// Patch tells what a loaded file is a patch for; nil if it is none.
func (r *Reader) Patch() (*Patch, error) {
	if r.index == nil {
		return nil, ErrNotLoaded
	}
	if !IsPatch(r.index) {
		return nil, nil
	}
	d := r.index.Manifests[1].Digest
	data, err := r.ReadBlob(d, maxPatchJSON)
	if err != nil {
		return nil, err
	}
	p := new(Patch)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err = dec.Decode(p)
	if _, more := dec.Token(); err != nil || more != io.EOF || len(p.Signatures) > MaxSignatures {
		m, _ := r.own(d)
		return nil, m.damaged(m.pos, m.encodedLen(), "it does not say what the patch is for")
	}
	return p, nil
}

// IsPatch tells whether an index is that of a patch: it lists the layout and
// what the patch is for, and nothing that could be taken for a bundle's.
func IsPatch(index *ocispec.Index) bool {
	return len(index.Manifests) == 2 && index.Manifests[1].MediaType == MediaTypePatch
}

// WritePatch makes, at path, the patch of the loaded bundle r that holds the
// wanted blobs. The error wraps [ErrMissing] if r does not have one.
func WritePatch(ctx context.Context, r *Reader, wanted []digest.Digest, path string, add func(n int)) (size int64, err error) {
	in, err := newPatch(r, wanted)
	if err != nil {
		return 0, err
	}
	return writeChecked(ctx, osFS{}, in, path, add)
}

// newPatch gives the bytes of a patch.
func newPatch(r *Reader, wanted []digest.Digest) (*io.SectionReader, error) {
	return newPatchOf(r, wanted, nil)
}

// newPatchOf is newPatch with another description than the right one, unless
// that is nil.
func newPatchOf(r *Reader, wanted []digest.Digest, other []byte) (*io.SectionReader, error) {
	if r.geo == nil {
		return nil, ErrNotLoaded
	}
	small := map[digest.Digest][]byte{}
	var blobs []Blob
	put := func(data []byte) digest.Digest {
		d := digest.FromBytes(data)
		if small[d] == nil {
			small[d] = data
			blobs = append(blobs, Blob{Digest: d, Size: int64(len(data))})
		}
		return d
	}
	p := Patch{Index: put(r.indexBytes)}
	if r.docker != nil {
		p.DockerManifest = put(r.docker)
	}
	if r.geo.part != nil {
		p.Delta = put(r.geo.part.encode())
	}
	layout, err := r.ReadBlob(r.geo.layout.digest, MaxLayoutSize)
	if err != nil {
		return nil, err
	}
	put(layout)
	for _, s := range r.tail.signatures {
		p.Signatures = append(p.Signatures, put(s))
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	if other != nil {
		data = other
	}
	top := ocispec.Descriptor{MediaType: MediaTypePatch, Digest: put(data), Size: int64(len(data)), Annotations: map[string]string{AnnotationKind: KindPatch}}
	want := make(map[digest.Digest]bool, len(wanted))
	for _, d := range wanted {
		if _, _, err := r.holder(d); err != nil {
			return nil, err
		}
		want[d] = true
	}
	for i := range r.geo.blobs {
		// In the order of the bundle, each once.
		if b := r.geo.blobs[i]; want[b.Digest] && small[b.Digest] == nil {
			blobs = append(blobs, b)
		}
	}
	a := map[string]string{AnnotationName: r.index.Annotations[AnnotationName], AnnotationVersion: r.index.Annotations[AnnotationVersion]}
	plan, err := NewPlan(ocispec.Index{Manifests: []ocispec.Descriptor{top}, Annotations: a}, blobs, nil)
	if err != nil {
		return nil, err
	}
	return r.splice(plan.geo, plan.index, nil, plan.layout, nil, small)
}

// splice puts a file together whose blobs are those of r, but for small ones.
func (r *Reader) splice(g *geometry, index, docker, layout []byte, signatures [][]byte, small map[digest.Digest][]byte) (*io.SectionReader, error) {
	var head bytes.Buffer
	if err := g.writeHead(&head, index, docker, layout, func(*member) {}); err != nil {
		return nil, err
	}
	s := spliced{{0, int64(head.Len()), bytes.NewReader(head.Bytes()), 0}}
	for i := range g.blobs {
		if g.pos[i] < 0 {
			continue
		}
		m := g.blob(i)
		if data, ok := small[m.digest]; ok {
			var b bytes.Buffer
			if err := writeRaw(&b, &m, data); err != nil {
				return nil, err
			}
			s = append(s, extent{m.pos, int64(b.Len()), bytes.NewReader(b.Bytes()), 0})
			continue
		}
		from, have, err := r.holder(m.digest)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		if !sameStorage(&have, &m) {
			return nil, fmt.Errorf("%w: %s stores blob %s in another way", ErrAbsent, from.path, m.digest)
		}
		s = append(s, extent{m.pos, m.encodedLen(), from.ra, have.pos})
	}
	var tail bytes.Buffer
	if err := g.writeTail(&tail, signatures, func(*member) {}); err != nil {
		return nil, err
	}
	s = append(s, extent{g.end, int64(tail.Len()), bytes.NewReader(tail.Bytes()), 0})
	return io.NewSectionReader(s, 0, g.end+int64(tail.Len())), nil
}

// sameStorage tells whether the two are the same bytes.
func sameStorage(a, b *member) bool {
	return a.size == b.size && a.packed == b.packed && slices.Equal(a.frames, b.frames)
}

// Overlay has r give what a patch for it holds in place of its own. It is for
// bundles that cannot be written, such as on a disc.
func (r *Reader) Overlay(patch *Reader) {
	if r.over == nil {
		r.over = map[digest.Digest]*Reader{}
	}
	for i := range r.geo.blobs {
		if m, err := patch.own(r.geo.blobs[i].Digest); err == nil && m.size == r.geo.blobs[i].Size {
			r.over[m.digest] = patch
		}
	}
	r.parts = append(r.parts, patch)
}

// mended is a bundle as a patch says that it is.
type mended struct {
	geo           *geometry
	index, docker []byte
	layout        []byte
	signatures    [][]byte
}

// target reads from a patch what the bundle must be.
func (r *Reader) target() (*mended, error) {
	p, err := r.Patch()
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, fmt.Errorf("%w: %s is no patch", ErrPatch, r.path)
	}
	t := new(mended)
	if t.index, err = r.ReadBlob(p.Index, MaxIndexSize); err != nil {
		return nil, err
	}
	parsed, err := parseIndex(t.index)
	if err != nil {
		return nil, err
	}
	dockerSize := int64(-1)
	if parsed.docker != p.DockerManifest || p.Delta != "" && parsed.delta != p.Delta {
		return nil, fmt.Errorf("%w: it contradicts the index.json in it", ErrPatch)
	}
	if p.DockerManifest != "" {
		if t.docker, err = r.ReadBlob(p.DockerManifest, MaxDockerManifestSize); err != nil {
			return nil, err
		}
		dockerSize = int64(len(t.docker))
	}
	if t.layout, err = r.ReadBlob(parsed.layout.Digest, MaxLayoutSize); err != nil {
		return nil, err
	}
	blobs, err := parseLayout(t.layout)
	if err != nil {
		return nil, err
	}
	var part *deltaPart
	if p.Delta != "" {
		data, err := r.ReadBlob(p.Delta, maxDeltaSize)
		if err != nil {
			return nil, err
		}
		if part, err = parseDelta(data, len(blobs)); err != nil {
			return nil, err
		}
	}
	for _, d := range p.Signatures {
		s, err := r.ReadBlob(d, MaxSignatureSize)
		if err != nil {
			return nil, err
		}
		t.signatures = append(t.signatures, s)
	}
	t.geo, err = newGeometry(int64(len(t.index)), dockerSize, parsed.layout.Digest, int64(len(t.layout)), blobs, part)
	return t, err
}

// Mend writes what a loaded patch holds over the bundle at path. First it makes
// sure that the two are the whole bundle together: every blob that the patch
// does not hold must be good where it lies, else nothing is touched and the
// error wraps [ErrPatch]. As all that is written is the one right content of
// its place, an interrupted Mend harms nothing: the next one ends it.
// Signatures in the file stay, as long as its end can be read. progress, if
// not nil, is told of every n bytes checked.
func Mend(ctx context.Context, path string, patch *Reader, progress func(n int)) error {
	return mend(ctx, osFS{}, path, patch, progress)
}

func mend(ctx context.Context, fs fsys, path string, patch *Reader, progress func(n int)) (err error) {
	t, err := patch.target()
	if err != nil {
		return err
	}
	if err := recoverSigning(fs, path); err != nil {
		return err
	}
	f, err := fs.open(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.lock(); err != nil {
		return fmt.Errorf("%s cannot be mended: %w", path, err)
	}
	size, _, err := f.size()
	if err != nil {
		return err
	}
	if have, err := readIndex(f, size); err == nil && !bytes.Equal(have, t.index) {
		// A patch that holds everything would make any file its bundle.
		return fmt.Errorf("%w: it is for the bundle with the index %s, and %s is another one", ErrPatch, digest.FromBytes(t.index), path)
	}
	var own tools
	for i := range t.geo.blobs {
		if t.geo.pos[i] < 0 {
			continue
		}
		m := t.geo.blob(i)
		if have, err := patch.own(m.digest); err == nil {
			if !sameStorage(&have, &m) {
				return fmt.Errorf("%w: it stores blob %s in another way", ErrPatch, m.digest)
			}
			if err := patch.VerifyBlob(ctx, m.digest, progress); err != nil {
				return err
			}
			continue
		}
		err := own.verifyMember(ctx, f, m, progress)
		var e *Error
		if errors.As(err, &e) {
			return fmt.Errorf("%w: blob %s of %s is damaged and not in the patch, or the patch is for another bundle: %w", ErrPatch, m.digest, path, err)
		}
		if err != nil {
			return err
		}
	}
	signatures := t.signatures
	if tail, err := readTail(f, size); err == nil && tail.pos == t.geo.end {
		signatures = tail.signatures
	}
	want, err := patch.overwrite(t, signatures)
	if err != nil {
		return err
	}
	for _, e := range want {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.Copy(&offsetWriter{f: f, off: e.pos}, io.NewSectionReader(e.ra, e.off, e.length)); err != nil {
			return mendError(path, err)
		}
	}
	last := want[len(want)-1]
	if err := f.truncate(last.pos + last.length); err != nil {
		return mendError(path, err)
	}
	if err := f.sync(); err != nil {
		return mendError(path, err)
	}
	return nil
}

// readIndex reads index.json, whose frames have checksums: what it gives is what
// somebody wrote.
func readIndex(ra io.ReaderAt, size int64) ([]byte, error) {
	var t tools
	src := newSourceAt(ra, 0, size)
	if err := readOCILayout(src, nil); err != nil {
		return nil, err
	}
	return t.readUnsized(src, nameIndex, MaxIndexSize, size-src.off)
}

func mendError(path string, err error) error {
	if noSpace(err) {
		return fmt.Errorf("%w to mend %s: %w", ErrNoSpace, path, err)
	}
	return fmt.Errorf("%s cannot be written; run the same again: %w", path, err)
}

// overwrite gives all that has to be written: what is not a blob, and the
// blobs of the patch.
func (r *Reader) overwrite(t *mended, signatures [][]byte) ([]extent, error) {
	var head, tail bytes.Buffer
	if err := t.geo.writeHead(&head, t.index, t.docker, t.layout, func(*member) {}); err != nil {
		return nil, err
	}
	list := []extent{{0, int64(head.Len()), bytes.NewReader(head.Bytes()), 0}}
	for i := range t.geo.blobs {
		if t.geo.pos[i] < 0 {
			continue
		}
		m := t.geo.blob(i)
		if have, err := r.own(m.digest); err == nil {
			list = append(list, extent{m.pos, m.encodedLen(), r.ra, have.pos})
		}
	}
	if err := t.geo.writeTail(&tail, signatures, func(*member) {}); err != nil {
		return nil, err
	}
	return append(list, extent{t.geo.end, int64(tail.Len()), bytes.NewReader(tail.Bytes()), 0}), nil
}
