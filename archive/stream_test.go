package archive

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
)

// A stream tells what a Reader tells, from input that comes in single bytes
// and is read in small pieces.
func TestStreamTellsWhatTheReaderTells(t *testing.T) {
	s := small(t)
	p := readFile(t, s.write(t, []byte("signature")))
	r, err := NewReader(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	st, err := NewStream(iotest.OneByteReader(bytes.NewReader(p)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(st.IndexBytes(), r.IndexBytes()) || st.IndexDigest() != r.IndexDigest() {
		t.Error("another index.json")
	}
	first := r.Blobs()[0].Digest
	if off, n := st.Extent(first); st.Index() != nil || st.Blobs() != nil || st.DockerManifest() != nil || off != 0 || n != 0 {
		t.Error("the stream knows an inventory that was not loaded")
	}
	for range 2 {
		if err := st.Load(); err != nil {
			t.Fatal(err)
		}
	}
	if len(st.Index().Manifests) != len(r.Index().Manifests) || len(st.Blobs()) != len(r.Blobs()) || !bytes.Equal(st.DockerManifest(), r.DockerManifest()) {
		t.Error("another inventory")
	}
	if off, n := st.Extent(digest.FromString("none")); off != 0 || n != 0 {
		t.Errorf("a blob that is not there lies at %d", off)
	}
	for i := range r.Blobs() {
		b, in, err := st.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.Digest != r.Blobs()[i].Digest {
			t.Errorf("blob %d is %s", i, b.Digest)
		}
		off, n := st.Extent(b.Digest)
		if ro, rn := r.Extent(b.Digest); off != ro || n != rn {
			t.Errorf("blob %d lies at %d, %d bytes", i, off, n)
		}
		got, err := io.ReadAll(iotest.OneByteReader(in))
		if err != nil || !bytes.Equal(got, s.content[b.Digest]) {
			t.Errorf("blob %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, _, err := st.Next(); err != io.EOF {
		t.Errorf("behind the last blob: %v", err)
	}
	sigs, err := st.Finish()
	if err != nil || len(sigs) != 1 || string(sigs[0]) != "signature" {
		t.Errorf("signatures %q: %v", sigs, err)
	}
}

// The same lock must give the same bytes on any machine, so the compressor's
// output must not change unnoticed. If this test fails after an update of the
// zstd module, bundles stay readable, but a build of an old lock no longer
// gives the old bytes: say so in the release notes, then change the digest.
func TestPackerIsFrozen(t *testing.T) {
	b, err := Measure(bytes.NewReader(append(text("frozen", 2*packFrame+12345), noise("frozen", 100_000)...)))
	if err != nil {
		t.Fatal(err)
	}
	const want = "sha256:4c049e5a9fce4da6197a050cacab8559f885f24c32c7721cfa01e54610265857"
	if b.Packed != want || len(b.Frames) != 3 {
		t.Errorf("packed to %d frames with the digest %s", len(b.Frames), b.Packed)
	}
}
