package archive

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// classed makes sure that what was refused was refused with a class.
func classed(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("an error without a class: %v", err)
	}
}

func seeds(f *testing.F) [][]byte {
	s := small(f)
	whole := readFile(f, s.write(f, []byte("signature"), []byte("another")))
	plain := readFile(f, newSample(f, nil).write(f))
	return [][]byte{whole, plain, readFile(f, s.write(f)), whole[:len(whole)-1], whole[:2000], nil}
}

// FuzzOpen: no file makes a Reader panic, and a file that passes every check
// is one that the Writer would have made.
func FuzzOpen(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := NewReader(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			classed(t, err)
			return
		}
		if err := r.Load(); err != nil {
			classed(t, err)
			return
		}
		ok := true
		for _, b := range r.Blobs() {
			verr := r.VerifyBlob(t.Context(), b.Digest, nil)
			classed(t, verr)
			ok = ok && verr == nil
			br, err := r.Open(b.Digest)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.LimitReader(br.Section(0, br.Size()), 1<<22))
			classed(t, err)
			if verr == nil && b.Size < 1<<22 && (err != nil || digest.FromBytes(got) != b.Digest) {
				t.Errorf("blob %s passes, but reads differently: %v", b.Digest, err)
			}
		}
		err = r.VerifyFraming(t.Context())
		classed(t, err)
		if ok && err == nil {
			if sigs, err := streamAll(bytes.NewReader(p)); err != nil || len(sigs) != len(r.Signatures()) {
				t.Errorf("the reader accepts what the stream refuses: %v", err)
			}
		}
	})
}

// FuzzStream: no input makes a Stream panic, and it accepts nothing that a
// Reader refuses.
func FuzzStream(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		_, err := streamAll(bytes.NewReader(p))
		classed(t, err)
		if err == nil {
			if err := verifyAll(p); err != nil {
				t.Errorf("the stream accepts what the reader refuses: %v", err)
			}
		}
	})
}

// FuzzSeekTable: no tail makes readTail panic or read outside of the file.
func FuzzSeekTable(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
		f.Add(p[len(p)/2:])
	}
	f.Add(append(encodeRaw(make([]byte, endContent), true), seekFooter(1)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := readTail(bytes.NewReader(p), int64(len(p)))
		classed(t, err)
		if err == nil && (got.pos < 0 || got.pos >= got.table || got.frames < 0 || len(got.signatures) > MaxSignatures) {
			t.Errorf("impossible tail %+v", got)
		}
	})
}

// FuzzTarHeader: a header that is accepted is the one we would write.
func FuzzTarHeader(f *testing.F) {
	f.Add(tarHead(nameIndex, 5))
	f.Add(tarHead(signatureName(64), MaxSignatureSize))
	f.Add(tarHead("x", maxUstarSize))
	f.Add(make([]byte, tarBlock))
	f.Fuzz(func(t *testing.T, p []byte) {
		name, size, ok := parseTarHead(p)
		if ok && (!bytes.Equal(tarHead(name, size), p) || size < 0 || size > maxUstarSize || len(name) > 100) {
			t.Errorf("accepted a header that is not ours: %q, %d", name, size)
		}
	})
}

// FuzzLayout: a layout that is accepted is spelled as we would spell it.
func FuzzLayout(f *testing.F) {
	d := digest.FromString("x")
	f.Add(encodeLayout(nil))
	f.Add(encodeLayout([]Blob{{Digest: d, Size: 5}, {Digest: d, Size: packFrame + 1, Frames: []int64{100, 12}, Packed: d}}))
	f.Add([]byte(`{"version":2,"blobs":[]}`))
	f.Add([]byte(`{"version":1,"blobs":[{"digest":"` + d + `","size":01}]}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		blobs, err := parseLayout(p)
		if err == nil && !bytes.Equal(encodeLayout(blobs), p) {
			t.Errorf("accepted another spelling of %d blobs", len(blobs))
		}
	})
}

// FuzzIndex: no index.json makes the parser panic, and what it accepts has
// what the rest relies on.
func FuzzIndex(f *testing.F) {
	f.Add(small(f).plan.IndexBytes())
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{}]}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := parseIndex(p)
		classed(t, err)
		if err == nil && (!isSHA256(got.layout.Digest) || got.layout.Size < 0 || got.layout.Size > MaxLayoutSize) {
			t.Errorf("accepted the layout %+v", got.layout)
		}
	})
}

// FuzzJournal: no journal makes a build panic, and whatever it says the file
// comes out right.
func FuzzJournal(f *testing.F) {
	s := small(f)
	head := journalHead(s.plan.IndexDigest(), s.plan.Size())
	f.Add([]byte(head))
	f.Add([]byte(head + sealLine("done 0") + sealLine("done 3")))
	f.Add([]byte(head + sealLine("done 9") + sealLine("reset 1")))
	f.Add([]byte(head + sealLine("prefix 4 1 "+digest.FromString("x").Encoded()) + "prefix 4 1"))
	f.Add([]byte("bundle-part 1 "))
	fs := newMemFS()
	if err := s.build(fs); err != nil {
		f.Fatal(err)
	}
	want, _ := fs.content("b")
	f.Fuzz(func(t *testing.T, p []byte) {
		fs := newMemFS()
		fs.put("b.part", want[:s.plan.Size()])
		fs.put("b.part.journal", p)
		if err := s.build(fs); err != nil {
			t.Fatal(err)
		}
		if got, _ := fs.content("b"); !bytes.Equal(got, want) {
			t.Error("the journal changed the file")
		}
	})
}

// FuzzSignJournal: no journal spoils a whole bundle.
func FuzzSignJournal(f *testing.F) {
	s := small(f)
	fs := newMemFS()
	if err := s.build(fs); err != nil {
		f.Fatal(err)
	}
	before, _ := fs.content("b")
	fs = newMemFS()
	fs.put("b", before)
	sig := []byte("signature")
	if err := appendSignature(fs, "b", sig); err != nil {
		f.Fatal(err)
	}
	want, _ := fs.content("b")
	f.Add([]byte{})
	f.Add((&signHead{index: rawDigest(s.plan.IndexBytes()), pos: 5, old: 6, next: 7}).encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		fs := newMemFS()
		fs.put("b", before)
		fs.put("b"+signJournalSuffix, p)
		if err := appendSignature(fs, "b", sig); err != nil {
			t.Fatal(err)
		}
		if got, _ := fs.content("b"); !bytes.Equal(got, want) {
			t.Error("the journal changed the file")
		}
	})
}

// FuzzPacked: packing is the same each time, and comes back as it was.
func FuzzPacked(f *testing.F) {
	f.Add([]byte{})
	f.Add(text("x", 5000))
	f.Add(noise("x", 3000))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, err := Measure(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		b, err := Measure(io.MultiReader(bytes.NewReader(p[:len(p)/2]), bytes.NewReader(p[len(p)/2:])))
		if err != nil || !slices.Equal(a.Frames, b.Frames) || a.Packed != b.Packed || a.Digest != b.Digest {
			t.Errorf("measured twice, %+v and %+v: %v", a, b, err)
		}
		if len(p) > 0 && len(p) <= packFrame {
			e, err := newPacker()
			if err != nil {
				t.Fatal(err)
			}
			var u unpackers
			got, err := u.decode(e.EncodeAll(p, nil), make([]byte, len(p)), int64(len(p)))
			if err != nil || !bytes.Equal(got, p) {
				t.Errorf("%d bytes come back as %d: %v", len(p), len(got), err)
			}
		}
	})
}

// FuzzUnpack: no frame makes the decoder panic or exceed its room.
func FuzzUnpack(f *testing.F) {
	e, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.EncodeAll(text("x", 5000), nil), 5000)
	f.Add(encodeRaw(text("x", 5000), false), 5000)
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		if n < 1 || n > packFrame {
			return
		}
		var u unpackers
		got, err := u.decode(p, make([]byte, n), int64(n))
		if err == nil && len(got) != n {
			t.Errorf("%d bytes in place of %d", len(got), n)
		}
	})
}
