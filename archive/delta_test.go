package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newDelta plans a delta of the given blobs that leaves out what base holds.
func newDelta(t testing.TB, base *sample, docker []byte, blobs ...[]byte) *sample {
	t.Helper()
	s := newSample(t, docker, blobs...)
	index := ocispec.Index{Annotations: map[string]string{AnnotationName: "sample", AnnotationVersion: "2.0"}}
	p, err := parseIndex(s.plan.IndexBytes())
	if err != nil {
		t.Fatal(err)
	}
	index.Manifests = p.index.Manifests[1:]
	d := Delta{Bases: []Base{{Index: base.plan.IndexDigest(), Name: "sample", Version: "1.0"}}}
	for _, b := range s.plan.Blobs() {
		if _, ok := base.content[b.Digest]; ok {
			d.Absent = append(d.Absent, b.Digest)
		}
	}
	if s.plan, err = NewDeltaPlan(index, s.plan.geo.blobs, docker, d); err != nil {
		t.Fatal(err)
	}
	return s
}

// smallDelta is a delta with every kind of member, and its base. What it
// leaves out is raw, packed and empty, at the front, in the middle and at the
// end.
func smallDelta(t testing.TB) (delta, base *sample) {
	base = small(t)
	delta = newDelta(t, base, []byte(`[{"Config":"y"}]`), []byte("tiny blob"), []byte("new and tiny"), []byte{}, text("packed", 1024),
		text("new and packed", 2000), text("packed with padding", 3000), noise("new and raw", 600), noise("raw", 700))
	return delta, base
}

func loaded(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDeltaAndBaseAreTheWhole(t *testing.T) {
	d, b := smallDelta(t)
	base := loaded(t, b.write(t))
	path := d.write(t, []byte("signature of the delta"))
	r := loaded(t, path)
	if got := r.Bases(); len(got) != 1 || got[0].Index != base.IndexDigest() || got[0].Version != "1.0" {
		t.Errorf("bases %+v", got)
	}
	if len(r.Absent()) != 5 || len(r.Blobs()) != 3 {
		t.Fatalf("%d blobs are absent and %d there", len(r.Absent()), len(r.Blobs()))
	}
	lost := r.Absent()[0].Digest
	if _, err := r.Open(lost); !errors.Is(err, ErrMissing) {
		t.Errorf("a blob of the base, without it: %v", err)
	}
	if _, ok := r.Stat(lost); ok {
		t.Error("a blob that is not there was found")
	}
	if _, err := r.Whole(); !errors.Is(err, ErrAbsent) {
		t.Errorf("whole without its base: %v", err)
	}
	if used := r.Attach(r, base); len(used) != 1 || used[0] != base {
		t.Fatalf("%d files were of use", len(used))
	}
	if len(r.Absent()) != 0 || len(r.Blobs()) != 8 {
		t.Fatalf("with the base, %d blobs are absent and %d there", len(r.Absent()), len(r.Blobs()))
	}
	for _, blob := range r.Blobs() {
		if err := r.VerifyBlob(t.Context(), blob.Digest, nil); err != nil {
			t.Error(err)
		}
		got, err := r.ReadBlob(blob.Digest, 1<<20)
		if err != nil || digest.FromBytes(got) != blob.Digest {
			t.Errorf("blob %s: %v", blob.Digest, err)
		}
		br, err := r.Open(blob.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(br.Section(0, br.Size())); err != nil || digest.FromBytes(got) != blob.Digest {
			t.Errorf("blob %s, read: %v", blob.Digest, err)
		}
	}
	// The whole has the index and the signature of the delta, and is itself a
	// bundle that every reader accepts.
	in, err := r.Whole()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(in)
	if err != nil || int64(len(whole)) != in.Size() {
		t.Fatalf("%d of %d bytes: %v", len(whole), in.Size(), err)
	}
	if err := verifyAll(whole); err != nil {
		t.Error(err)
	}
	sigs, err := streamAll(bytes.NewReader(whole))
	if err != nil || len(sigs) != 1 || string(sigs[0]) != "signature of the delta" {
		t.Errorf("signatures %q, %v", sigs, err)
	}
	wr, err := NewReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	if err := wr.Load(); err != nil {
		t.Fatal(err)
	}
	if wr.IndexDigest() != r.IndexDigest() || wr.Bases() != nil || len(wr.Absent()) > 0 || len(wr.Blobs()) != 8 {
		t.Errorf("the whole is not what the delta was: bases %v, %d blobs", wr.Bases(), len(wr.Blobs()))
	}
	again, err := wr.Whole()
	if err != nil {
		t.Fatal(err)
	}
	if twice, err := io.ReadAll(again); err != nil || !bytes.Equal(twice, whole) {
		t.Errorf("the whole of the whole differs: %v", err)
	}
	// Reading it in odd pieces gives the same.
	var pieces []byte
	for off := int64(0); off < in.Size(); off += 777 {
		p := make([]byte, 777)
		n, err := in.ReadAt(p, off)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		pieces = append(pieces, p[:n]...)
	}
	if !bytes.Equal(pieces, whole) {
		t.Error("read in pieces, the whole differs")
	}
}

// A chain: what the last delta leaves out lies partly in the first file and
// partly in the one between.
func TestDeltaOfADelta(t *testing.T) {
	d1, b := smallDelta(t)
	var blobs [][]byte
	for _, blob := range d1.plan.geo.blobs {
		content := d1.content[blob.Digest]
		blobs = append(blobs, content)
	}
	d2 := newDelta(t, d1, nil, append(blobs, []byte("the newest"))...)
	files := []*Reader{loaded(t, d1.write(t)), loaded(t, b.write(t))}
	r := loaded(t, d2.write(t))
	if len(r.Blobs()) != 1 {
		t.Fatalf("the second delta holds %d blobs", len(r.Blobs()))
	}
	if used := r.Attach(files[0]); len(used) != 1 || len(r.Absent()) != 5 {
		t.Fatalf("with the first delta alone, %d are absent", len(r.Absent()))
	}
	if used := r.Attach(files...); len(used) != 1 || used[0] != files[1] || len(r.Absent()) != 0 {
		t.Fatalf("with all, %d are absent", len(r.Absent()))
	}
	in, err := r.Whole()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAll(whole); err != nil {
		t.Error(err)
	}
}

// Damage in the base is said to be in the base.
func TestDamageOfTheBaseIsNamed(t *testing.T) {
	d, b := smallDelta(t)
	path := b.write(t)
	base := loaded(t, path)
	r := loaded(t, d.write(t))
	r.Attach(base)
	lost := digest.FromBytes(noise("raw", 700))
	pos, length := base.Extent(lost)
	p := readFile(t, path)
	p[pos+length/2] ^= 1
	base.ra = bytes.NewReader(p)
	var e *Error
	if err := r.VerifyBlob(t.Context(), lost, nil); !errors.As(err, &e) || e.File != path || e.Digest != lost || !strings.Contains(err.Error(), "of "+path) {
		t.Errorf("%v", err)
	}
	if pos, length := r.Extent(lost); pos != 0 || length != 0 {
		t.Errorf("a blob of the base lies at %d in the delta", pos)
	}
}

// Neither a delta nor the whole that comes of it can change unseen.
func TestEveryFlipOfADeltaIsRefused(t *testing.T) {
	d, b := smallDelta(t)
	r := loaded(t, d.write(t, []byte("signature")))
	delta := readFile(t, r.Path())
	r.Attach(loaded(t, b.write(t)))
	in, err := r.Whole()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	masks := []byte{0x01, 0xFF}
	if testing.Short() {
		masks = masks[:1]
	}
	for name, p := range map[string][]byte{"delta": delta, "whole": whole} {
		t.Run(name, func(t *testing.T) {
			if err := verifyAll(p); err != nil {
				t.Fatal(err)
			}
			if _, err := streamAll(bytes.NewReader(p)); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes, %d masks", len(p), len(masks))
			eachVariant(t, p, len(p)*len(masks), func(p []byte, i int) error {
				at, mask := i/len(masks), masks[i%len(masks)]
				p[at] ^= mask
				defer func() { p[at] ^= mask }()
				if err := refused(verifyAll(p)); err != nil {
					return fmt.Errorf("byte %d xor %#x, reader: %w", at, mask, err)
				}
				_, err := streamAll(bytes.NewReader(p))
				if err := refused(err); err != nil {
					return fmt.Errorf("byte %d xor %#x, stream: %w", at, mask, err)
				}
				return nil
			})
			eachVariant(t, p, len(p), func(p []byte, n int) error {
				if err := verifyAll(p[:n]); !errors.Is(err, ErrDamaged) {
					return fmt.Errorf("first %d bytes, reader: %w", n, err)
				}
				if _, err := streamAll(bytes.NewReader(p[:n])); !errors.Is(err, ErrDamaged) {
					return fmt.Errorf("first %d bytes, stream: %w", n, err)
				}
				return nil
			})
		})
	}
}

// A reader of version 1 looks at vnd.bundle.min-reader before anything else
// of the index, and that says 2 of a delta and 1 of everything else.
func TestDeltasAskForANewReader(t *testing.T) {
	d, b := smallDelta(t)
	for name, c := range map[string]struct {
		s    *sample
		want string
	}{"delta": {d, "2"}, "plain": {b, "1"}} {
		p, err := parseIndex(c.s.plan.IndexBytes())
		if err != nil {
			t.Fatal(err)
		}
		if a := p.index.Annotations; a[AnnotationMinReader] != c.want || a[AnnotationFormat] != c.want {
			t.Errorf("%s: %v", name, a)
		}
	}
}

func TestDeltaPlanRefusesNonsense(t *testing.T) {
	blobs := []Blob{{Digest: digest.FromString("a"), Size: 1}}
	base := Base{Index: digest.FromString("index"), Name: "n", Version: "1"}
	for name, d := range map[string]Delta{
		"no base":         {Absent: []digest.Digest{blobs[0].Digest}},
		"nothing absent":  {Bases: []Base{base}},
		"foreign blob":    {Bases: []Base{base}, Absent: []digest.Digest{digest.FromString("b")}},
		"quote in a name": {Bases: []Base{{Index: base.Index, Name: `"`}}, Absent: []digest.Digest{blobs[0].Digest}},
		"no digest":       {Bases: []Base{{Index: "sha256:x"}}, Absent: []digest.Digest{blobs[0].Digest}},
	} {
		if _, err := NewDeltaPlan(ocispec.Index{}, blobs, nil, d); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// FuzzDelta: what is accepted is what the Writer would have spelled.
func FuzzDelta(f *testing.F) {
	d, _ := smallDelta(f)
	f.Add(d.plan.geo.part.encode(), 8)
	f.Add([]byte(`{"version":1,"bases":[{"index":"sha256:`+strings.Repeat("0", 64)+`","name":"","version":""}],"absent":[[0,1],[2,3]]}`), 5)
	f.Add([]byte(`{"version":2`), 1)
	f.Fuzz(func(t *testing.T, data []byte, blobs int) {
		blobs = min(max(blobs, 0), MaxBlobs)
		p, err := parseDelta(data, blobs)
		if err != nil {
			return
		}
		if !bytes.Equal(p.encode(), data) {
			t.Errorf("accepted %q, spelled %q", data, p.encode())
		}
		if !slices.IsSortedFunc(p.absent, func(a, b stretch) int { return int(a.first - b.first) }) || p.absent[len(p.absent)-1].first >= int64(blobs) {
			t.Errorf("absent %v of %d", p.absent, blobs)
		}
	})
}

// Merging gives the one right file, or none: at every operation that fails and
// at every moment the power may go.
func TestMerge(t *testing.T) {
	d, b := smallDelta(t)
	base := loaded(t, b.write(t))
	r := loaded(t, d.write(t, []byte("signature")))
	ctx := t.Context()
	if _, err := Merge(ctx, r, t.TempDir()+"/out", nil); !errors.Is(err, ErrAbsent) {
		t.Errorf("without the base: %v", err)
	}
	r.Attach(base)
	in, err := r.Whole()
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/out.tar.zst"
	told := 0
	size, err := Merge(ctx, r, path, func(n int) { told += n })
	if err != nil || size != int64(len(want)) || told != len(want) || !bytes.Equal(readFile(t, path), want) {
		t.Fatalf("%d of %d bytes, %d told: %v", size, len(want), told, err)
	}
	fs := newMemFS()
	if _, err := merge(ctx, fs, r, "out", nil); err != nil {
		t.Fatal(err)
	}
	for n := range fs.ops {
		fs := newMemFS()
		fs.failAt = n + 1
		if _, err := merge(ctx, fs, r, "out", nil); err == nil {
			t.Errorf("operation %d failed unseen: %s", n+1, fs.log[len(fs.log)-1])
		}
		fs = newMemFS()
		fs.downAt = n + 1
		_, err := merge(ctx, fs, r, "out", nil)
		if i := fs.durable["out"]; i != nil && !bytes.Equal(i.durable, want) || err == nil {
			t.Errorf("the power went at operation %d, and a part of the file has its name", n+1)
		}
	}
	fs = newMemFS()
	fs.space = 10
	if _, err := merge(ctx, fs, r, "out", nil); !errors.Is(err, ErrNoSpace) {
		t.Errorf("no room: %v", err)
	}
	// Damage in the base stops it.
	p := readFile(t, base.path)
	p[len(p)/2] ^= 1
	base.ra = bytes.NewReader(p)
	out := t.TempDir() + "/out.tar.zst"
	if _, err := Merge(ctx, r, out, nil); refused(err) != nil {
		t.Errorf("a damaged base: %v", err)
	}
	if _, err := Open(out); err == nil {
		t.Error("a damaged bundle got its name")
	}
}
