package archive

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
)

// What goes in comes out, through every way of reading.
func TestRoundTrip(t *testing.T) {
	sizes := []int{0, 1, 511, 512, 513, rawBlock - tarBlock, rawBlock - tarBlock + 1, rawBlock, rawChunk - tarBlock, rawChunk, rawChunk + 1, 3*rawChunk + 77}
	var blobs [][]byte
	for _, n := range sizes {
		blobs = append(blobs, noise("raw", n))
		if n > 600 {
			blobs = append(blobs, text("packed", n))
		}
	}
	blobs = append(blobs, noise("frames", rawFrame-tarBlock), noise("more frames", 2*rawFrame+5))
	docker := []byte(`[{"Config":"c","RepoTags":["a:b"],"Layers":[]}]`)
	sigs := [][]byte{[]byte(`{"first":1}`), noise("a long one", MaxSignatureSize)}
	s := newSample(t, docker, blobs...)
	path := s.write(t, sigs...)

	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Path() != path {
		t.Errorf("Path is %q", r.Path())
	}
	if _, err := r.Open(s.plan.Blobs()[0].Digest); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("a blob was opened before Load: %v", err)
	}
	if !bytes.Equal(r.IndexBytes(), s.plan.IndexBytes()) || r.IndexDigest() != s.plan.IndexDigest() {
		t.Error("index.json is not the plan's")
	}
	if got := r.Signatures(); len(got) != 2 || !bytes.Equal(got[0], sigs[0]) || !bytes.Equal(got[1], sigs[1]) {
		t.Error("the signatures are not those that were given")
	}
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.DockerManifest(), docker) {
		t.Error("manifest.json is not the one that was given")
	}
	if len(r.Blobs()) != len(s.plan.Blobs()) {
		t.Fatalf("%d blobs, not %d", len(r.Blobs()), len(s.plan.Blobs()))
	}
	if err := r.VerifyFraming(t.Context()); err != nil {
		t.Error(err)
	}
	packed := 0
	for _, b := range r.Blobs() {
		want := s.content[b.Digest]
		if b.Frames != nil {
			packed++
		}
		n := 0
		if err := r.VerifyBlob(t.Context(), b.Digest, func(k int) { n += k }); err != nil {
			t.Error(err)
		}
		if n != len(want) {
			t.Errorf("progress told of %d bytes of %d", n, len(want))
		}
		got, err := r.ReadBlob(b.Digest, b.Size)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("ReadBlob of %d bytes: %v", b.Size, err)
		}
		br, err := r.Open(b.Digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err = io.ReadAll(br.Section(0, br.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("reading %d bytes through a section: %v", b.Size, err)
		}
	}
	if packed == 0 || packed == len(r.Blobs()) {
		t.Errorf("%d of %d blobs are packed; both kinds must be there", packed, len(r.Blobs()))
	}

	got, err := streamAll(bytes.NewReader(readFile(t, path)))
	if err != nil || len(got) != 2 || !bytes.Equal(got[1], sigs[1]) {
		t.Errorf("the stream gives %d signatures: %v", len(got), err)
	}
}

// Any range of a blob can be read, wherever it begins and ends.
func TestReadAtRanges(t *testing.T) {
	raw, packed := noise("ranges", rawFrame+3*rawChunk+1234), text("ranges", 3*packFrame+99)
	s := newSample(t, nil, raw, packed)
	r, err := Open(s.write(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{raw, packed} {
		b, err := r.Open(digest.FromBytes(want))
		if err != nil {
			t.Fatal(err)
		}
		edges := []int64{0, 1, rawBlock - tarBlock, rawBlock, rawChunk - tarBlock - 1, rawChunk, packFrame, 2 * packFrame, rawFrame - tarBlock, rawFrame - 1, b.Size() - 1, b.Size()}
		for _, off := range edges {
			for _, n := range []int64{0, 1, 3, 5000, rawBlock, rawChunk + 1, b.Size(), b.Size() + 9} {
				if off > b.Size() {
					continue
				}
				for d := int64(-2); d <= 2; d++ {
					at := off + d
					if at < 0 || at > b.Size() {
						continue
					}
					p := make([]byte, n)
					k, err := b.ReadAt(p, at)
					exp := want[at:min(at+n, b.Size())]
					if !bytes.Equal(p[:k], exp) {
						t.Fatalf("%d bytes at %d of %d are wrong (%d read, %v)", n, at, b.Size(), k, err)
					}
					if short := int64(k) < n; short != (err == io.EOF) || (err != nil && err != io.EOF) {
						t.Fatalf("%d bytes at %d of %d: %d read, %v", n, at, b.Size(), k, err)
					}
				}
			}
		}
		if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("a negative offset was read")
		}
	}
}
