package pull

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Limits of one archive.
const (
	maxMembers = 1_000_000
	// Small members of a compressed archive are kept when it is first read:
	// they are the manifests, which would otherwise cost a pass each.
	maxKept      = 256 << 10
	maxKeptTotal = 64 << 20
	maxLinks     = 16
	// zstd windows that "zstd --long=27" makes are still read.
	maxWindow = 128 << 20
)

// tarMember is where a regular file lies: at offset in a plain archive, or
// as the member number ordinal of a compressed one.
type tarMember struct {
	offset, size int64
	ordinal      int
	kept         []byte
}

// tarIndex maps the names of an archive to its members.
type tarIndex struct {
	members map[string]tarMember
	links   map[string]string
}

// find follows links within the archive, as old docker archives have them.
func (x *tarIndex) find(name string) (tarMember, error) {
	for at, n := memberName(name), 0; n < maxLinks; n++ {
		if m, ok := x.members[at]; ok {
			return m, nil
		}
		next, ok := x.links[at]
		if !ok {
			return tarMember{}, notExist(name)
		}
		at = next
	}
	return tarMember{}, reason(ErrInvalid, "%s is a link without end", name)
}

// scan reads the headers of a tar stream. here tells the position in the
// stream, or is nil where it cannot be used.
func scan(r io.Reader, here func() (int64, error), keep bool) (*tarIndex, error) {
	x := &tarIndex{members: map[string]tarMember{}, links: map[string]string{}}
	tr := tar.NewReader(r)
	kept := 0
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return x, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is not a whole tar archive: %w", err)
		}
		if n >= maxMembers {
			return nil, reason(ErrInvalid, "it has more than %d members", maxMembers)
		}
		name := memberName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			if isSparse(h) {
				return nil, reason(ErrUnsupported, "its member %q is sparse", clip(h.Name))
			}
			m := tarMember{size: h.Size, ordinal: n}
			if here != nil {
				if m.offset, err = here(); err != nil {
					return nil, err
				}
			}
			if keep && h.Size <= maxKept && kept+int(h.Size) <= maxKeptTotal {
				m.kept = make([]byte, h.Size)
				if _, err := io.ReadFull(tr, m.kept); err != nil {
					return nil, fmt.Errorf("its member %q ends early: %w", clip(h.Name), err)
				}
				kept += len(m.kept)
			}
			x.members[name] = m
			delete(x.links, name)
		case tar.TypeSymlink:
			x.links[name] = memberName(path.Join(path.Dir("/"+name), h.Linkname))
			delete(x.members, name)
		case tar.TypeLink:
			x.links[name] = memberName(h.Linkname)
			delete(x.members, name)
		}
	}
}

// isSparse tells whether the bytes in the archive are not those of the file.
func isSparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// openTar opens an archive, plain or compressed by gzip or zstd, as its
// first bytes tell. Every header is read once here.
func openTar(file string) (store, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	s, err := newTarStore(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func newTarStore(f *os.File) (store, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, reason(ErrInvalid, "it is not a regular file")
	}
	head := make([]byte, 4)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	kind := sniff(head[:n])
	if kind == "" {
		return newPlainTar(f, info.Size())
	}
	return newStreamTar(f, info.Size(), kind)
}

// sniff names the compression that content begins with, "" for none.
func sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}):
		return "zstd"
	}
	return ""
}

// plainTar reads members where they lie.
type plainTar struct {
	*tarIndex
	ra     io.ReaderAt
	closer io.Closer
}

func newPlainTar(f interface {
	io.ReaderAt
	io.Closer
}, size int64) (*plainTar, error) {
	// archive/tar reads no further than the header and skips by seeking, so
	// the position after Next is where the content begins.
	sr := io.NewSectionReader(f, 0, size)
	x, err := scan(sr, func() (int64, error) { return sr.Seek(0, io.SeekCurrent) }, false)
	if err != nil {
		return nil, err
	}
	for name, m := range x.members {
		if m.offset+m.size > size {
			return nil, reason(ErrInvalid, "its member %q lies beyond its end", clip(name))
		}
	}
	return &plainTar{tarIndex: x, ra: f, closer: f}, nil
}

func (s *plainTar) open(name string, offset int64) (io.ReadCloser, int64, error) {
	m, err := s.find(name)
	if err != nil {
		return nil, 0, err
	}
	offset = min(max(offset, 0), m.size)
	return io.NopCloser(io.NewSectionReader(s.ra, m.offset+offset, m.size-offset)), m.size, nil
}

func (s *plainTar) Close() error { return s.closer.Close() }

// streamTar is a compressed archive. Nothing of it is unpacked to disk:
// opening a member reads the archive again from its start up to there, so a
// blob near the end costs the time to decompress all before it. Small
// members are kept in memory.
type streamTar struct {
	*tarIndex
	f    *os.File
	size int64
	kind string
}

func newStreamTar(f *os.File, size int64, kind string) (*streamTar, error) {
	s := &streamTar{f: f, size: size, kind: kind}
	r, err := s.decompress()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s.tarIndex, err = scan(r, nil, true)
	return s, err
}

func (s *streamTar) decompress() (io.ReadCloser, error) {
	raw := bufio.NewReaderSize(io.NewSectionReader(s.f, 0, s.size), 1<<20)
	if s.kind == "gzip" {
		return gzip.NewReader(raw)
	}
	d, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func (s *streamTar) open(name string, offset int64) (io.ReadCloser, int64, error) {
	m, err := s.find(name)
	if err != nil {
		return nil, 0, err
	}
	if m.kept != nil {
		return section(m.kept, offset), m.size, nil
	}
	r, err := s.decompress()
	if err != nil {
		return nil, 0, err
	}
	tr := tar.NewReader(r)
	for range m.ordinal + 1 {
		if _, err = tr.Next(); err != nil {
			break
		}
	}
	if err == nil && offset > 0 {
		_, err = io.CopyN(io.Discard, tr, min(offset, m.size))
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", name, err), r.Close())
	}
	return &member{Reader: tr, Closer: r}, m.size, nil
}

func (s *streamTar) Close() error { return s.f.Close() }

type member struct {
	io.Reader
	io.Closer
}
