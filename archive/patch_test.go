package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
)

// patchOf gives the loaded patch of the bundle in p that has the given blobs.
func patchOf(t testing.TB, p []byte, wanted ...digest.Digest) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	in, err := newPatch(r, wanted)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAll(data); err != nil {
		t.Fatal(err)
	}
	if _, err := streamAll(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	patch, err := NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := patch.Load(); err != nil {
		t.Fatal(err)
	}
	return patch
}

// The power may go at any moment of mending: doing it again ends it, and a
// signature that was added at the site stays.
func TestPowerLossWhileMending(t *testing.T) {
	s := small(t)
	sent := s.built(t, []byte("signature"))
	fs := newMemFS()
	fs.put("b", sent)
	if err := appendSignature(fs, "b", []byte("of the site")); err != nil {
		t.Fatal(err)
	}
	want, _ := fs.content("b")
	damaged := bytes.Clone(want)
	var wanted []digest.Digest
	for i := range s.plan.geo.blobs {
		if i%2 == 1 {
			continue
		}
		m := s.plan.geo.blob(i)
		wanted = append(wanted, m.digest)
		damaged[m.pos+m.encodedLen()/2] ^= 1
	}
	damaged[s.plan.geo.layout.pos+700] ^= 1
	patch := patchOf(t, sent, wanted...)
	for seed := range uint64(3) {
		for at := 1; ; at++ {
			fs := newMemFS()
			fs.put("b", damaged)
			fs.downAt = at
			if err := mend(t.Context(), fs, "b", patch, nil); err == nil {
				break
			}
			fs.reboot(rand.New(rand.NewPCG(seed, uint64(at))))
			if err := mend(t.Context(), fs, "b", patch, nil); err != nil {
				t.Fatalf("after the power went at operation %d: %v", at, err)
			}
			if got, _ := fs.content("b"); !bytes.Equal(got, want) {
				t.Fatalf("after the power went at operation %d another file comes out", at)
			}
		}
	}
}

// Mending ends with the right file from any one flipped byte.
func TestEveryFlipIsMended(t *testing.T) {
	s := small(t)
	good := s.built(t, []byte("signature"))
	var all []digest.Digest
	for _, b := range s.plan.Blobs() {
		all = append(all, b.Digest)
	}
	patch := patchOf(t, good, all...)
	eachVariant(t, good, len(good), func(p []byte, at int) error {
		p[at] ^= 0x20
		defer func() { p[at] ^= 0x20 }()
		fs := newMemFS()
		fs.put("b", bytes.Clone(p))
		if err := mend(t.Context(), fs, "b", patch, nil); err != nil {
			return fmt.Errorf("byte %d: %w", at, err)
		}
		if got, _ := fs.content("b"); !bytes.Equal(got, good) {
			return fmt.Errorf("byte %d: another file comes out", at)
		}
		return nil
	})
}

// A patch of another bundle that holds all of it must not make a good bundle
// that one.
func TestPatchOfAnotherBundleChangesNothing(t *testing.T) {
	other := newSample(t, nil, []byte("another blob"))
	patch := patchOf(t, other.built(t, []byte("signature")), other.plan.Blobs()[0].Digest)
	s, volumes := smallVolumes(t)
	for name, good := range map[string][]byte{"bundle": s.built(t, []byte("signature")), "volume": volumes[0]} {
		cut := bytes.Clone(good)
		cut[len(cut)-1] ^= 1 // its end cannot be read
		for _, p := range [][]byte{good, cut} {
			fs := newMemFS()
			fs.put("b", bytes.Clone(p))
			if err := mend(t.Context(), fs, "b", patch, nil); !errors.Is(err, ErrPatch) {
				t.Errorf("%s: %v, want ErrPatch", name, err)
			}
			if got, _ := fs.content("b"); !bytes.Equal(got, p) {
				t.Errorf("%s: the file was changed", name)
			}
		}
	}
}

// What a patch says ends with its JSON.
func TestPatchWithSomethingBehind(t *testing.T) {
	s := small(t)
	r, err := NewReader(bytes.NewReader(s.built(t)), int64(len(s.built(t))))
	if err != nil || r.Load() != nil {
		t.Fatal(err)
	}
	doc := `{"index":"` + s.plan.IndexDigest().String() + `"}`
	for _, behind := range []string{"}", "]", "x", "{}"} {
		in, err := newPatchOf(r, nil, []byte(doc+behind))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := NewReader(in, in.Size())
		if err != nil || patch.Load() != nil {
			t.Fatal(err)
		}
		if _, err := patch.Patch(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s behind it: %v", behind, err)
		}
	}
}

// FuzzPatch: nothing that calls itself a patch can make a bundle anything but
// whole.
func FuzzPatch(f *testing.F) {
	s := small(f)
	path := s.write(f, []byte("signature"))
	good := readFile(f, path)
	f.Add([]byte(`{"index":"`+s.plan.IndexDigest()+`"}`), 3000)
	f.Add([]byte(`{"index":"`+s.plan.IndexDigest()+`","dockerManifest":"x","signatures":["y"]}`), 1)
	f.Fuzz(func(t *testing.T, doc []byte, at int) {
		r, err := NewReader(bytes.NewReader(good), int64(len(good)))
		if err != nil || r.Load() != nil {
			t.Fatal(err)
		}
		in, err := newPatchOf(r, []digest.Digest{s.plan.Blobs()[0].Digest}, doc)
		if err != nil {
			return
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		patch, err := NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil || patch.Load() != nil {
			t.Fatal(err)
		}
		fs := newMemFS()
		damaged := bytes.Clone(good)
		damaged[min(max(at, 0), len(good)-1)] ^= 1
		fs.put("b", damaged)
		if mend(t.Context(), fs, "b", patch, nil) == nil {
			if got, _ := fs.content("b"); verifyAll(got) != nil {
				t.Error("what was mended is not whole")
			}
		}
	})
}
