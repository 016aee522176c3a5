package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// forgery is a bundle made by somebody who writes what they like, but with
// correct checksums, digests and, if nothing else is said, a fitting table.
type forgery struct {
	index   func(*ocispec.Index)
	rawJSON string // in place of index.json
	layout  []byte // in place of the layout of blobs
	blobs   []Blob
	docker  []byte
	// between is put before the signatures, and signatures in place of them.
	between    []byte
	extra      []int64 // lengths of the frames of between, in the file and decoded
	signatures []byte
	sigFrames  []int64
}

// make gives the file. body are the encoded members of the blobs.
func (f *forgery) make(t *testing.T, body []byte, frames ...int64) []byte {
	t.Helper()
	layout := f.layout
	if layout == nil {
		layout = encodeLayout(f.blobs)
	}
	d := digest.FromBytes(layout)
	index := ocispec.Index{
		MediaType:   ocispec.MediaTypeImageIndex,
		Manifests:   []ocispec.Descriptor{{MediaType: MediaTypeLayout, Digest: d, Size: int64(len(layout)), Annotations: map[string]string{AnnotationKind: KindLayout}}},
		Annotations: map[string]string{AnnotationFormat: "1", AnnotationMinReader: "1"},
	}
	index.SchemaVersion = 2
	if f.docker != nil {
		index.Annotations[AnnotationDockerManifest] = digest.FromBytes(f.docker).String()
	}
	if f.index != nil {
		f.index(&index)
	}
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	if f.rawJSON != "" {
		data = []byte(f.rawJSON)
	}
	dockerSize := int64(-1)
	if f.docker != nil {
		dockerSize = int64(len(f.docker))
	}
	g, err := newGeometry(int64(len(data)), dockerSize, d, int64(len(layout)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := g.writeHead(&b, data, f.docker, layout, func(*member) {}); err != nil {
		t.Fatal(err)
	}
	b.Write(body)
	b.Write(f.between)
	b.Write(f.signatures)
	b.Write(encodeRaw(make([]byte, endContent), true))
	var all []int64
	g.eachFrame(nil, func(enc, dec int64) bool { all = append(all, enc, dec); return true })
	all = all[:len(all)-2]
	all = append(append(append(all, frames...), f.extra...), f.sigFrames...)
	all = append(all, endShape.encodedLen(), endContent)
	err = writeSeekTable(&b, int64(len(all)/2), func(yield func(enc, dec int64) bool) {
		for i := 0; i < len(all); i += 2 {
			if !yield(all[i], all[i+1]) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawMember encodes a member and gives the lengths of its one frame.
func rawMember(t *testing.T, m member, content []byte) ([]byte, []int64) {
	t.Helper()
	var b bytes.Buffer
	m.size = int64(len(content))
	if err := writeRaw(&b, &m, content); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), []int64{int64(b.Len()), m.raw().n}
}

// What a stranger may have made up is refused, with the right class and a
// reason that names the matter, by reader and stream alike.
func TestForgeriesAreRefused(t *testing.T) {
	content := []byte("content")
	d := digest.FromBytes(content)
	blob := Blob{Digest: d, Size: int64(len(content))}
	body, frames := rawMember(t, blobMember(blob, 0), content)
	other := []byte("not listed")
	od := digest.FromBytes(other)
	unlisted, unlistedFrames := rawMember(t, blobMember(Blob{Digest: od}, 0), other)
	signature := func(n int, content []byte) ([]byte, []int64) {
		return rawMember(t, member{name: signatureName(n), sum: true}, content)
	}
	sig2, sig2Frames := signature(2, []byte("x"))
	sig1, sig1Frames := signature(1, []byte("x"))
	sig0, sig0Frames := rawMember(t, member{name: "signatures/01.sigstore.json", sum: true}, []byte("x"))
	empty, emptyFrames := signature(1, nil)
	set := func(key, value string) func(*ocispec.Index) {
		return func(i *ocispec.Index) { i.Annotations[key] = value }
	}

	if err := verifyAll((&forgery{blobs: []Blob{blob}, docker: []byte("[]"), signatures: sig1, sigFrames: sig1Frames}).make(t, body, frames...)); err != nil {
		t.Fatalf("the honest forgery is refused: %v", err)
	}
	for _, c := range []struct {
		name  string
		f     forgery
		class error
		says  string
	}{
		{"reader newer than format", forgery{index: set(AnnotationMinReader, "2")}, ErrFormat, "vnd.bundle.min-reader"},
		{"newer format and reader", forgery{index: func(i *ocispec.Index) {
			i.Annotations[AnnotationFormat] = "4"
			i.Annotations[AnnotationMinReader] = "3"
		}}, ErrVersion, "format version 3"},
		{"no format", forgery{index: set(AnnotationFormat, "")}, ErrFormat, AnnotationFormat},
		{"no min-reader", forgery{index: func(i *ocispec.Index) { delete(i.Annotations, AnnotationMinReader) }}, ErrFormat, AnnotationMinReader},
		{"newer layout", forgery{layout: []byte(`{"version":2,"blobs":[]}`)}, ErrVersion, "version 2"},
		{"no json", forgery{rawJSON: "{"}, ErrDamaged, "not an OCI image index"},
		{"json of nothing", forgery{rawJSON: strings.Repeat("{}", 100)}, ErrDamaged, "more objects"},
		{"schema 1", forgery{index: func(i *ocispec.Index) { i.SchemaVersion = 1 }}, ErrDamaged, "schema version 2"},
		{"no layout", forgery{index: func(i *ocispec.Index) { i.Manifests = nil }}, ErrDamaged, "first descriptor"},
		{"two layouts", forgery{index: func(i *ocispec.Index) { i.Manifests = append(i.Manifests, i.Manifests[0]) }}, ErrDamaged, "second layout"},
		{"layout by sha512", forgery{index: func(i *ocispec.Index) { i.Manifests[0].Digest = "sha512:00" }}, ErrDamaged, "sha256"},
		{"layout of negative size", forgery{index: func(i *ocispec.Index) { i.Manifests[0].Size = -1 }}, ErrDamaged, "size -1"},
		{"layout beyond the limit", forgery{index: func(i *ocispec.Index) { i.Manifests[0].Size = MaxLayoutSize + 1 }}, ErrDamaged, "at most"},
		{"layout beyond the file", forgery{index: func(i *ocispec.Index) { i.Manifests[0].Size = MaxLayoutSize }}, ErrDamaged, ""},
		{"layout of another digest", forgery{index: func(i *ocispec.Index) { i.Manifests[0].Digest = d }}, ErrDamaged, "tar header"},
		{"docker manifest of another digest", forgery{docker: []byte("[]"), index: set(AnnotationDockerManifest, d.String())}, ErrDigest, "index.json"},
		{"docker manifest of no digest", forgery{docker: []byte("[]"), index: set(AnnotationDockerManifest, "x")}, ErrDamaged, AnnotationDockerManifest},
		{"docker manifest announced only", forgery{index: set(AnnotationDockerManifest, d.String())}, ErrUnexpected, "manifest.json"},
		{"docker manifest not announced", forgery{docker: []byte("[]"), index: func(i *ocispec.Index) { delete(i.Annotations, AnnotationDockerManifest) }}, ErrDamaged, ""},
		{"layout with a space", forgery{layout: []byte(`{"version":1, "blobs":[]}`)}, ErrDamaged, "at byte 12"},
		{"layout with more behind", forgery{layout: []byte(`{"version":1,"blobs":[]} `)}, ErrDamaged, "follows"},
		{"blob listed twice", forgery{blobs: []Blob{blob, blob}}, ErrDamaged, "twice"},
		{"blob larger than said", forgery{blobs: []Blob{{Digest: d, Size: 1}}}, ErrDamaged, ""},
		{"blob smaller than said", forgery{blobs: []Blob{{Digest: d, Size: 100_000}}}, ErrDamaged, ""},
		{"blob of another digest", forgery{blobs: []Blob{{Digest: od, Size: 7}}}, ErrDamaged, "tar header"},
		{"huge blob", forgery{blobs: []Blob{{Digest: d, Size: maxBlobSize}}}, ErrDamaged, ""},
		{"beyond huge", forgery{blobs: []Blob{{Digest: d, Size: maxBlobSize + 1}}}, ErrDamaged, "beyond"},
		{"blob not listed", forgery{blobs: []Blob{blob}, between: unlisted, extra: unlistedFrames}, ErrUnexpected, blobPrefix + od.Encoded()},
		{"signatures from 2", forgery{blobs: []Blob{blob}, signatures: sig2, sigFrames: sig2Frames}, nil, "signatures/2"},
		{"signature 1 twice", forgery{blobs: []Blob{blob}, signatures: append(bytes.Clone(sig1), sig1...), sigFrames: append(sig1Frames, sig1Frames...)}, ErrUnexpected, "signatures/1"},
		{"signature 01", forgery{blobs: []Blob{blob}, signatures: sig0, sigFrames: sig0Frames}, nil, "signatures"},
		{"empty signature", forgery{blobs: []Blob{blob}, signatures: empty, sigFrames: emptyFrames}, nil, "signatures/1"},
		{"frame not in the table", forgery{blobs: []Blob{blob}, signatures: sig1}, ErrUnexpected, "signatures/1"},
		{"frame in the table only", forgery{blobs: []Blob{blob}, sigFrames: sig1Frames}, ErrDamaged, ""},
		{"skippable frame inside", forgery{blobs: []Blob{blob}, between: []byte{0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0}}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.f.make(t, body, frames...)
			check := func(how string, err error) {
				if err := refused(err); err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if how == "reader" && c.class != nil && !errors.Is(err, c.class) {
					t.Errorf("%s: %v is not of the class %v", how, err, c.class)
				}
				if how == "reader" && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %q does not say %q", how, err, c.says)
				}
			}
			check("reader", verifyAll(p))
			_, err := streamAll(bytes.NewReader(p))
			check("stream", err)
		})
	}
}

// A footer may claim any number of frames; no memory is spent on the claim.
func TestFooterClaims(t *testing.T) {
	p := readFile(t, small(t).write(t))
	for _, n := range []uint32{0, 1, 2, 1000, 1 << 27, 1<<27 + 1, 1 << 31, 1<<32 - 1} {
		bad := bytes.Clone(p)
		binary.LittleEndian.PutUint32(bad[len(bad)-9:], n)
		var err error
		used := allocated(func() { _, err = NewReader(bytes.NewReader(bad), int64(len(bad))) })
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%d frames: %v", n, err)
		}
		if used > 1<<20 {
			t.Errorf("%d frames: %d bytes of memory for a file of %d", n, used, len(p))
		}
	}
}

// A size in a tar header may claim anything; no memory is spent on the claim.
func TestHeaderClaims(t *testing.T) {
	for _, size := range []int64{MaxIndexSize, MaxIndexSize + 1, maxUstarSize} {
		first := ociLayoutMember()
		var b bytes.Buffer
		if err := writeRaw(&b, &first, []byte(ociLayoutContent)); err != nil {
			t.Fatal(err)
		}
		m := indexMember(size)
		chunk := make([]byte, chunkBuffer)
		v := m.raw().view(0, chunk, true)
		copy(v.parts[0], m.head())
		b.Write(chunk[:2000])
		for how, open := range map[string]func() error{
			"reader": func() error { _, err := NewReader(bytes.NewReader(b.Bytes()), int64(b.Len())); return err },
			"stream": func() error { _, err := NewStream(bytes.NewReader(b.Bytes())); return err },
		} {
			var err error
			used := allocated(func() { err = open() })
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, index.json of %d bytes: %v", how, size, err)
			}
			if used > 4<<20 {
				t.Errorf("%s, index.json of %d bytes: %d bytes of memory for a file of %d", how, size, used, b.Len())
			}
		}
	}
}

// A compressed frame must be one frame of the allowed kind, even where the
// layout pins its bytes.
func TestPackedFramesAreStrict(t *testing.T) {
	content := text("packed", 3000)
	e, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	good := e.EncodeAll(content, nil)
	long := e.EncodeAll(append(bytes.Clone(content), 'x'), nil)
	skippable := []byte{0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0}
	for name, frame := range map[string][]byte{
		"good":               good,
		"two frames":         append(bytes.Clone(good), e.EncodeAll([]byte("x"), nil)...),
		"skippable behind":   append(bytes.Clone(good), skippable...),
		"skippable in front": append(bytes.Clone(skippable), good...),
		"byte behind":        append(bytes.Clone(good), 0),
		"raw frame":          encodeRaw(content, false),
		"checksum":           encodeRaw(content, true),
		"longer content":     long,
		"cut off":            good[:len(good)-1],
		"nothing of use":     make([]byte, 100),
		"reserved bit":       append(append(bytes.Clone(good[:4]), good[4]|8), good[5:]...),
	} {
		t.Run(name, func(t *testing.T) {
			packed := digest.FromBytes(frame)
			b := Blob{Digest: digest.FromBytes(content), Size: int64(len(content)), Frames: []int64{int64(len(frame))}, Packed: packed}
			m := blobMember(b, 0)
			body := encodeRaw(m.head(), false)
			body = append(body, frame...)
			body = append(body, encodeRaw(make([]byte, m.padLen()), false)...)
			var frames []int64
			m.eachFrame(func(enc, dec int64) bool { frames = append(frames, enc, dec); return true })
			p := (&forgery{blobs: []Blob{b}}).make(t, body, frames...)
			_, serr := streamAll(bytes.NewReader(p))
			rerr := verifyAll(p)
			if name == "good" {
				if rerr != nil || serr != nil {
					t.Fatalf("refused: %v, %v", rerr, serr)
				}
				return
			}
			if !errors.Is(rerr, ErrDamaged) || !errors.Is(serr, ErrDamaged) {
				t.Errorf("reader: %v, stream: %v", rerr, serr)
			}
			r, err := NewReader(bytes.NewReader(p), int64(len(p)))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Load(); err != nil {
				t.Fatal(err)
			}
			br, err := r.Open(b.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := br.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrDamaged) {
				t.Errorf("ReadAt: %v", err)
			}
		})
	}
}

// The digests of a packed blob are both checked.
func TestPackedDigestsAreChecked(t *testing.T) {
	content := text("packed", 3000)
	s := newSample(t, nil, content)
	b := s.plan.Blobs()[0]
	whole := readFile(t, s.write(t))
	g := s.plan.geo
	body := whole[g.pos[0]:g.end]
	m := g.blob(0)
	var frames []int64
	m.eachFrame(func(enc, dec int64) bool { frames = append(frames, enc, dec); return true })
	b.Packed = digest.FromString("other")
	p := (&forgery{blobs: []Blob{b}}).make(t, body, frames...)
	if err := verifyAll(p); !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("other compressed bytes: %v", err)
	}
}

// Reading has limits and says so; what is not there is missing.
func TestReadBlobLimits(t *testing.T) {
	s := small(t)
	p := readFile(t, s.write(t))
	r, err := NewReader(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	d := s.plan.Blobs()[0].Digest
	if err := r.VerifyFraming(t.Context()); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("VerifyFraming before Load: %v", err)
	}
	if _, err := r.ReadBlob(d, 100); !errors.Is(err, ErrNotLoaded) || r.Blobs() != nil {
		t.Errorf("ReadBlob before Load: %v", err)
	}
	if err := errors.Join(r.Load(), r.Load()); err != nil {
		t.Fatal(err)
	}
	if r.Index() == nil || r.Index().Annotations[AnnotationName] != "sample" || r.Size() != int64(len(p)) {
		t.Error("the index is not the bundle's")
	}
	if _, err := r.ReadBlob(d, 3); err == nil || !strings.Contains(err.Error(), "3") {
		t.Errorf("a blob beyond the limit: %v", err)
	}
	none := digest.FromString("none")
	_, e1 := r.ReadBlob(none, 10)
	_, e2 := r.Open(none)
	for _, err := range []error{e1, e2, r.VerifyBlob(t.Context(), none, nil)} {
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), none.String()) {
			t.Errorf("a blob that is not there: %v", err)
		}
	}
	if _, ok := r.Stat(none); ok {
		t.Error("a blob that is not there has a Stat")
	}
	if b, ok := r.Stat(d); !ok || b.Size != 9 {
		t.Errorf("Stat: %+v", b)
	}
	if off, n := r.Extent(none); off != 0 || n != 0 {
		t.Errorf("a blob that is not there lies at %d", off)
	}
	layout := r.Index().Manifests[0]
	if got, err := r.ReadBlob(layout.Digest, layout.Size); err != nil || digest.FromBytes(got) != layout.Digest {
		t.Errorf("the layout blob: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.VerifyBlob(ctx, d, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("VerifyBlob after the end of the context: %v", err)
	}
	if err := r.VerifyFraming(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("VerifyFraming after the end of the context: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// brokenDisk fails to read behind some byte.
type brokenDisk struct {
	*bytes.Reader
	from int64
}

var errDisk = errors.New("the disk is broken")

func (b brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		return 0, errDisk
	}
	return b.Reader.ReadAt(p, off)
}

// A disk that cannot be read is not a damaged bundle: the error is the disk's.
func TestReadErrorsAreNotDamage(t *testing.T) {
	p := readFile(t, small(t).write(t, []byte("signature")))
	for from := int64(0); from < int64(len(p)); from += 97 {
		r, err := NewReader(brokenDisk{bytes.NewReader(p), from}, int64(len(p)))
		if err == nil {
			err = errors.Join(r.Load())
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Fatalf("broken from byte %d, reader: %v", from, err)
		}
		_, err = streamAll(&failingReader{bytes.NewReader(p), from, errDisk})
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Fatalf("broken from byte %d, stream: %v", from, err)
		}
	}
}

// An error reads like a sentence that says where to look.
func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		e    Error
		want string
	}{
		{Error{Class: ErrFormat}, "not a bundle"},
		{Error{Class: ErrDamaged, Member: "index.json", Offset: 5, Length: 2, Reason: "why"}, "index.json: damaged: why (bytes 5 to 6 of the file)"},
	} {
		if got := c.e.Error(); got != c.want || !errors.Is(fmt.Errorf("x: %w", &c.e), c.e.Class) {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}
