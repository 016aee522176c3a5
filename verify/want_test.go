package verify

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// What is damaged is asked for, sent, and put in its place, wherever it is:
// after that the file is the one that was built, byte for byte.
func TestWantPatchMend(t *testing.T) {
	s := signer(t)
	source := standard(t).write(s)
	good, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Policy: Keys(s.Public())}
	at := func(text string) int { return bytes.Index(good, []byte(text)) }
	flip := func(places ...int) []byte {
		p := bytes.Clone(good)
		for _, i := range places {
			p[i] ^= 4
		}
		return p
	}
	for name, damaged := range map[string][]byte{
		"a layer":      flip(at("pause layer")),
		"three things": flip(at("nginx for amd64"), at("chart aecp"), at(`{"schemaVersion":1`)),
		"cut off":      good[:at("coredns layer")],
		"seek table":   flip(len(good) - 50),
		"signature":    flip(at("messageSignature")),
		"tail added":   append(bytes.Clone(good), 1, 2, 3),
		"the index":    flip(at("vnd.bundle.min-reader")),
		"the layout":   flip(at(`{"version":1,"blobs":[`)),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "b.tar.zst")
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			// Damage to the index hides other damage, so it may take two turns.
			for range 2 {
				rep, err := Path(t.Context(), path, Options{SkipSignature: true})
				if err == nil {
					break
				}
				want, err := rep.Want()
				if err != nil || want == nil {
					t.Fatalf("%v, %+v", err, want)
				}
				data, err := want.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if want, err = ParseWant(data); err != nil {
					t.Fatal(err)
				}
				r := opened(t, source)
				if err := r.Load(); err != nil {
					t.Fatal(err)
				}
				if err := want.Fits(r); err != nil {
					t.Fatal(err)
				}
				patch := filepath.Join(dir, "patch.tar.zst")
				size, err := archive.WritePatch(t.Context(), r, want.Blobs, patch, nil)
				if err != nil || size >= int64(len(good)) && name == "a layer" {
					t.Fatalf("%d of %d bytes: %v", size, len(good), err)
				}
				p := opened(t, patch)
				if err := p.Load(); err != nil {
					t.Fatal(err)
				}
				if err := archive.Mend(t.Context(), path, p, nil); err != nil {
					t.Fatal(err)
				}
			}
			mended, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mended, good) {
				t.Errorf("%d bytes are not the %d that were built", len(mended), len(good))
			}
			if _, err := Path(t.Context(), path, o); err != nil {
				t.Error(err)
			}
		})
	}
}

// A patch that is not enough, or is for another file, changes nothing.
func TestPatchThatDoesNotFit(t *testing.T) {
	source := standard(t).write()
	good, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	r := opened(t, source)
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	patch := filepath.Join(t.TempDir(), "patch.tar.zst")
	if _, err := archive.WritePatch(t.Context(), r, nil, patch, nil); err != nil {
		t.Fatal(err)
	}
	p := opened(t, patch)
	if err := p.Load(); err != nil {
		t.Fatal(err)
	}
	good[bytes.Index(good, []byte("pause layer"))] ^= 1
	damaged := filepath.Join(t.TempDir(), "b.tar.zst")
	for name, file := range map[string][]byte{"not enough": good, "another bundle": mustRead(t, newer(t).write()), "no bundle": []byte("text")} {
		if err := os.WriteFile(damaged, file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := archive.Mend(t.Context(), damaged, p, nil); !errors.Is(err, archive.ErrPatch) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(mustRead(t, damaged), file) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if err := archive.Mend(t.Context(), source, r, nil); !errors.Is(err, archive.ErrPatch) {
		t.Errorf("a bundle as a patch: %v", err)
	}
	if _, err := archive.WritePatch(context.Background(), r, []digest.Digest{digest.FromString("none")}, patch, nil); !errors.Is(err, archive.ErrMissing) {
		t.Errorf("a blob that is not there: %v", err)
	}
}

// Where the file cannot be written, patch and file are used together.
func TestPatchBesideTheFile(t *testing.T) {
	s := signer(t)
	source := standard(t).write(s)
	r := opened(t, source)
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	data := mustRead(t, source)
	data[bytes.Index(data, []byte("pause layer"))] ^= 1
	damaged := filepath.Join(t.TempDir(), "b.tar.zst")
	if err := os.WriteFile(damaged, data, 0o444); err != nil {
		t.Fatal(err)
	}
	o := Options{Policy: Keys(s.Public())}
	rep, err := Path(t.Context(), damaged, o)
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	want, err := rep.Want()
	if err != nil || len(want.Blobs) != 1 || want.Head {
		t.Fatalf("%v, %+v", err, want)
	}
	patch := filepath.Join(t.TempDir(), "patch.tar.zst")
	if _, err := archive.WritePatch(t.Context(), r, want.Blobs, patch, nil); err != nil {
		t.Fatal(err)
	}
	g := Gather([]*archive.Reader{opened(t, patch), opened(t, damaged)}, func(r *archive.Reader) error {
		_, err := Trust(t.Context(), r, o)
		return err
	})
	if err := g.Err(); err != nil || len(g.Bundles) != 1 || g.Bundles[0].Path() != damaged {
		t.Fatalf("%v, %d bundles", err, len(g.Bundles))
	}
	if rep, err := File(t.Context(), g.Bundles[0], o); err != nil || len(rep.With) != 1 || rep.With[0] != patch {
		t.Errorf("%v, %+v", err, rep)
	}
	// Beside no bundle that it is for, it is a file that nobody has signed.
	g = Gather([]*archive.Reader{opened(t, patch)}, func(r *archive.Reader) error {
		_, err := Trust(t.Context(), r, o)
		return err
	})
	if err := g.Err(); !errors.Is(err, ErrUnsigned) {
		t.Errorf("a patch alone, with a key: %v", err)
	}
	// A patch by itself is whole, and no bundle.
	if rep, err := Path(t.Context(), patch, Options{SkipSignature: true}); err != nil || !rep.OK {
		t.Errorf("a patch alone: %v, %+v", err, rep)
	}
}

// A list comes from a site: what it says is not printed as it stands, and nothing
// may follow it.
func TestWantIsHostile(t *testing.T) {
	path := standard(t).write(signer(t))
	r := opened(t, path)
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	other := digest.FromString("another index")
	doc := `{"schemaVersion":1,"name":"a\u001b[2Jb","version":"\u0007","indexDigest":"` + other.String() + `","head":false,"blobs":["` + other.String() + `"]}`
	w, err := ParseWant([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	err = w.Fits(r)
	if !errors.Is(err, ErrWant) || bytes.ContainsAny([]byte(err.Error()), "\x1b\x07") {
		t.Errorf("%q", err)
	}
	for _, behind := range []string{"}", "]", "{}", "x"} {
		if _, err := ParseWant([]byte(doc + behind)); !errors.Is(err, ErrWant) {
			t.Errorf("%s behind it: %v", behind, err)
		}
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzWant: what comes from a site is a list or is refused.
func FuzzWant(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":1,"name":"a","version":"1","indexDigest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","head":false,"blobs":["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]}`))
	f.Add([]byte(`{"schemaVersion":1,"head":true,"blobs":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ParseWant(data)
		if err != nil {
			if !errors.Is(err, ErrWant) {
				t.Errorf("an error without a class: %v", err)
			}
			return
		}
		again, err := w.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseWant(again); err != nil {
			t.Errorf("accepted once and not again: %v", err)
		}
	})
}
