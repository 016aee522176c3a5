package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// huge is a bundle of zeros that takes no room: its bytes are made when they
// are read. The blobs' digests are made up.
type huge struct {
	plan *Plan
	head []byte
	tail []byte
	size int64
	read int64 // bytes asked for
}

func newHuge(t testing.TB, total int64, blobs int) *huge {
	t.Helper()
	var list []Blob
	for i := range blobs {
		list = append(list, Blob{Digest: digest.FromString(fmt.Sprint("huge", i)), Size: total / int64(blobs)})
	}
	p, err := NewPlan(ocispec.Index{}, list, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &huge{plan: p}
	var head, tail bytes.Buffer
	part := func(*member) {}
	if err := p.geo.writeHead(&head, p.index, p.docker, p.layout, part); err != nil {
		t.Fatal(err)
	}
	if err := p.geo.writeTail(&tail, [][]byte{[]byte("signature")}, part); err != nil {
		t.Fatal(err)
	}
	h.head, h.tail, h.size = head.Bytes(), tail.Bytes(), p.geo.end+int64(tail.Len())
	return h
}

// ReadAt implements io.ReaderAt a byte range at a time.
func (h *huge) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		k := 0
		switch {
		case at >= h.size:
			return n, io.EOF
		case at < int64(len(h.head)):
			k = copy(p[n:], h.head[at:])
		case at >= h.plan.geo.end:
			k = copy(p[n:], h.tail[at-h.plan.geo.end:])
		default:
			k = h.chunk(p[n:], at)
		}
		n += k
	}
	h.read += int64(n)
	return n, nil
}

// chunk gives bytes from at of the blobs' members.
func (h *huge) chunk(p []byte, at int64) int {
	g := h.plan.geo
	i := 0
	for i+1 < len(g.pos) && g.pos[i+1] <= at {
		i++
	}
	m := g.blob(i)
	s := m.raw()
	lo, hi := int64(0), s.chunks()-1
	for lo < hi { // the last chunk that begins at or before at
		mid := (lo + hi + 1) / 2
		if m.pos+s.chunkOffset(mid) <= at {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	buf := make([]byte, s.chunkLen(lo))
	v := s.view(lo, buf, true)
	if lo == 0 {
		copy(v.parts[0], m.head())
	}
	return copy(p, buf[at-m.pos-s.chunkOffset(lo):])
}

// A terabyte opens by reading its two ends, and every byte of its framing is
// where it should be.
func TestHugeBundle(t *testing.T) {
	h := newHuge(t, 1<<40, 40) // blobs of more than 8 GiB each
	r, err := NewReader(h, h.size)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	if h.read > 64<<10 {
		t.Errorf("opening a terabyte read %d bytes", h.read)
	}
	if len(r.Signatures()) != 1 {
		t.Errorf("%d signatures", len(r.Signatures()))
	}
	if err := r.VerifyFraming(t.Context()); err != nil {
		t.Error(err)
	}
	if h.read > 4<<20 {
		t.Errorf("checking the framing of a terabyte read %d bytes", h.read)
	}
	for _, b := range []Blob{r.Blobs()[0], r.Blobs()[39]} {
		br, err := r.Open(b.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{0, 1 << 33, b.Size - 10} {
			p := []byte("0123456789")
			if n, err := br.ReadAt(p, off); n != 10 || (err != nil && err != io.EOF) || !bytes.Equal(p, make([]byte, 10)) {
				t.Errorf("%d bytes at %d: %x, %v", n, off, p, err)
			}
		}
	}
}

// Go's own zstd and tar readers find a file of more than 8 GiB behind the
// header that we write for it.
func TestHugeMemberIsStandard(t *testing.T) {
	h := newHuge(t, 9<<30, 1)
	d, err := zstd.NewReader(io.NewSectionReader(h, 0, h.size), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tr := tar.NewReader(d)
	for {
		hdr, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if hdr.Name == blobPrefix+h.plan.Blobs()[0].Digest.Encoded() {
			if hdr.Size != 9<<30 {
				t.Errorf("the size is read as %d", hdr.Size)
			}
			return
		}
	}
}
