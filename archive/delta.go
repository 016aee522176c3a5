package archive

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// A delta is a bundle whose file leaves out blobs that another bundle, its
// base, holds already (docs/format.md, "Deltas"). index.json and the layout
// describe the whole; the member delta.json, which index.json pins, says what
// is left out.

// Base is a bundle that a delta leans on.
type Base struct {
	// Index is the digest of its index.json.
	Index digest.Digest
	// Name and Version are what its index says.
	Name, Version string
}

// Delta says what a file leaves out.
type Delta struct {
	// Bases hold what is left out.
	Bases []Base
	// Absent are the blobs that are left out; each is one of the layout's.
	Absent []digest.Digest
}

// Limits of delta.json.
const (
	maxDeltaSize = 64 << 20
	maxBases     = 1024
	maxBaseName  = 255
)

// stretch is count blobs of the layout from number first on.
type stretch struct{ first, count int64 }

// deltaPart is what delta.json says, and how long it is.
type deltaPart struct {
	size   int64
	bases  []Base
	absent []stretch
}

// newDeltaPart checks d against the layout and gives delta.json.
func newDeltaPart(d *Delta, blobs []Blob) (*deltaPart, []byte, error) {
	if len(d.Bases) == 0 || len(d.Bases) > maxBases {
		return nil, nil, fmt.Errorf("a delta has 1 to %d bases, not %d", maxBases, len(d.Bases))
	}
	for _, b := range d.Bases {
		if err := b.check(); err != nil {
			return nil, nil, err
		}
	}
	out := make(map[digest.Digest]bool, len(d.Absent))
	for _, a := range d.Absent {
		out[a] = true
	}
	p := &deltaPart{bases: slices.Clone(d.Bases)}
	n := 0
	for i := range blobs {
		if !out[blobs[i].Digest] {
			continue
		}
		n++
		if last := len(p.absent) - 1; last >= 0 && p.absent[last].first+p.absent[last].count == int64(i) {
			p.absent[last].count++
			continue
		}
		p.absent = append(p.absent, stretch{int64(i), 1})
	}
	if n == 0 || n != len(out) {
		return nil, nil, fmt.Errorf("a delta leaves out blobs of its own, and %d of %d are", n, len(out))
	}
	data := p.encode()
	if len(data) > maxDeltaSize {
		return nil, nil, fmt.Errorf("%s may have at most %d bytes, not %d", nameDelta, maxDeltaSize, len(data))
	}
	p.size = int64(len(data))
	return p, data, nil
}

// check tells whether the base can be spelled.
func (b *Base) check() error {
	if !isSHA256(b.Index) {
		return fmt.Errorf("%q is not the digest of a base's index", string(b.Index))
	}
	if !plain(b.Name) || !plain(b.Version) {
		return fmt.Errorf("%.80q and %.80q cannot be the name and version of a base", b.Name, b.Version)
	}
	return nil
}

// plain tells whether s needs no escapes in JSON and is not too long.
func plain(s string) bool {
	if len(s) > maxBaseName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// encode gives delta.json. As with the layout there is one spelling.
func (p *deltaPart) encode() []byte {
	b := []byte(`{"version":1,"bases":[`)
	for i := range p.bases {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":"`...)
		b = append(b, p.bases[i].Index...)
		b = append(b, `","name":"`...)
		b = append(b, p.bases[i].Name...)
		b = append(b, `","version":"`...)
		b = append(b, p.bases[i].Version...)
		b = append(b, `"}`...)
	}
	b = append(b, `],"absent":[`...)
	for i, r := range p.absent {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = strconv.AppendInt(b, r.first, 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, r.count, 10)
		b = append(b, ']')
	}
	return append(b, `]}`...)
}

// parseDelta reads delta.json for a layout of so many blobs. Its errors wrap
// ErrVersion or have no class.
func parseDelta(data []byte, blobs int) (*deltaPart, error) {
	s := &layoutParser{s: string(data), what: nameDelta}
	s.expect(`{"version":`)
	if v := s.number(); s.err == nil && v != 1 {
		return nil, fmt.Errorf("%w: %s is of version %d, this tool reads version 1", ErrVersion, nameDelta, v)
	}
	p := &deltaPart{size: int64(len(data))}
	s.expect(`,"bases":[`)
	for s.err == nil && !s.accept(`]`) {
		if len(p.bases) == maxBases {
			s.fail("more than %d bases", maxBases)
			break
		}
		if len(p.bases) > 0 {
			s.expect(`,`)
		}
		var b Base
		s.expect(`{"index":"`)
		b.Index = s.digest()
		s.expect(`","name":"`)
		b.Name = s.plain()
		s.expect(`","version":"`)
		b.Version = s.plain()
		s.expect(`"}`)
		p.bases = append(p.bases, b)
	}
	s.expect(`,"absent":[`)
	next := int64(0)
	for s.err == nil && !s.accept(`]}`) {
		if len(p.absent) > 0 {
			s.expect(`,`)
		}
		var r stretch
		s.expect(`[`)
		r.first = s.number()
		s.expect(`,`)
		r.count = s.number()
		s.expect(`]`)
		if s.err == nil && (r.first < next || r.count < 1 || r.count > int64(blobs) || r.first > int64(blobs)-r.count) {
			s.fail("blobs %d to %d cannot be absent of %d", r.first, r.first+r.count-1, blobs)
		}
		next = r.first + r.count + 1 // two runs side by side would be one
		p.absent = append(p.absent, r)
	}
	if s.err == nil && s.at != len(s.s) {
		s.fail("something follows")
	}
	if s.err == nil && (len(p.bases) == 0 || len(p.absent) == 0) {
		s.fail("it has no bases, or nothing is absent")
	}
	if s.err != nil {
		return nil, s.err
	}
	return p, nil
}

// plain reads a string that has no escapes, up to its quote.
func (p *layoutParser) plain() string {
	if p.err != nil {
		return ""
	}
	s := p.s[p.at:]
	i := 0
	for i < len(s) && i <= maxBaseName && s[i] != '"' {
		i++
	}
	if !plain(s[:i]) {
		p.fail("expected a plain string")
		return ""
	}
	p.at += i
	return s[:i]
}

// beginsDelta tells which of two members begins with the header in p:
// delta.json, or a blob. A header with some bytes wrong is still told.
func beginsDelta(p []byte) bool {
	const front = frameHeader + blockHeader
	if len(p) < front+len(blobPrefix) {
		return false
	}
	name := make([]byte, len(blobPrefix))
	copy(name, nameDelta)
	have := p[front : front+len(blobPrefix)]
	return differing(have, name) < differing(have, []byte(blobPrefix))
}

// Bases are the bundles that the file leans on; none if it is whole.
func (r *Reader) Bases() []Base {
	if r.geo == nil || r.geo.part == nil {
		return nil
	}
	return r.geo.part.bases
}

// Absent lists the blobs of the bundle that are not at hand: neither in the
// file nor in what was given to [Reader.Attach].
func (r *Reader) Absent() []Blob {
	if r.geo == nil {
		return nil
	}
	var list []Blob
	for i := range r.geo.blobs {
		if r.lacks(i) && r.attached[r.geo.blobs[i].Digest] == nil {
			list = append(list, r.geo.blobs[i])
		}
	}
	return list
}

// lacks tells whether blob i of the layout is not in the file.
func (r *Reader) lacks(i int) bool {
	if r.geo.pos[i] < 0 || r.vols == nil {
		return r.geo.pos[i] < 0
	}
	m := r.geo.blob(i)
	return !r.vols.covers(m.pos, m.encodedLen())
}

// Attach takes blobs that the file lacks from others, which must be loaded
// and stay open as long as r is used. From then on r gives them like its own.
// It returns those of which something was taken. Every blob is still known by
// its digest, so that none of the others need be trusted.
func (r *Reader) Attach(others ...*Reader) (used []*Reader) {
	if r.attached == nil {
		r.attached = map[digest.Digest]*Reader{}
	}
	took := map[*Reader]bool{}
	for i := range r.geo.blobs {
		b := &r.geo.blobs[i]
		if !r.lacks(i) || r.attached[b.Digest] != nil {
			continue
		}
		for _, o := range others {
			m, err := o.own(b.Digest)
			if o == r || err != nil || m.size != b.Size {
				continue
			}
			// Better one that stores it as it is stored in the whole file.
			same := sameStorage(&m, &member{size: b.Size, packed: b.Packed, frames: b.Frames})
			if r.attached[b.Digest] == nil || same {
				r.attached[b.Digest] = o
			}
			if same {
				break
			}
		}
		if o := r.attached[b.Digest]; o != nil && !took[o] {
			took[o] = true
			used = append(used, o)
		}
	}
	r.parts = append(r.parts, used...)
	return used
}

// Uses tells whether r takes the blob from that file.
func (r *Reader) Uses(part *Reader, d digest.Digest) bool {
	return r.attached[d] == part || r.over[d] == part
}

// Parts are the readers that blobs are taken from, besides r itself.
func (r *Reader) Parts() []*Reader { return r.parts }

// holder finds who has a blob, and where it lies there.
func (r *Reader) holder(d digest.Digest) (*Reader, member, error) {
	if o := r.over[d]; o != nil {
		m, err := o.own(d)
		return o, m, err
	}
	m, err := r.own(d)
	if err == nil {
		return r, m, nil
	}
	if o := r.attached[d]; o != nil {
		m, err := o.own(d)
		return o, m, err
	}
	return nil, member{}, err
}

// in adds to an error about a part the file that it is about.
func (r *Reader) in(part *Reader, err error) error {
	var e *Error
	if part == r || part.path == "" || !errors.As(err, &e) || e.File != "" {
		return err
	}
	c := *e
	c.File = part.path
	return &c
}

// ErrAbsent says that a file cannot be made whole, since blobs are not at
// hand.
var ErrAbsent = errors.New("blobs are absent")

// extent is a piece of a file as it lies in another.
type extent struct {
	pos, length int64 // in the whole
	ra          io.ReaderAt
	off         int64
}

// spliced reads a file that is put together from pieces of others.
type spliced []extent

func (s spliced) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for i := sort.Search(len(s), func(i int) bool { return s[i].pos+s[i].length > off }); done < len(p) && i < len(s); i++ {
		at := off + int64(done) - s[i].pos
		n := min(int64(len(p)-done), s[i].length-at)
		k, err := s[i].ra.ReadAt(p[done:done+int(n)], s[i].off+at)
		done += k
		if int64(k) < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// Whole gives the bytes of the bundle as one file that leaves nothing out,
// with the same index.json and signatures. Nothing is checked on the way. It
// errs with [ErrAbsent] if something is not at hand, or is stored otherwise
// than index.json says.
func (r *Reader) Whole() (*io.SectionReader, error) {
	if r.geo == nil {
		return nil, ErrNotLoaded
	}
	if r.geo.part == nil && len(r.over)+len(r.attached) == 0 {
		if lost := r.MissingVolumes(); lost != "" {
			return nil, fmt.Errorf("%w: %s was not given", ErrAbsent, lost)
		}
		return io.NewSectionReader(r.ra, 0, r.size), nil
	}
	g, err := newGeometry(int64(len(r.indexBytes)), r.dockerSize(), r.geo.layout.digest, r.geo.layout.size, r.geo.blobs, nil)
	if err != nil {
		return nil, err
	}
	layout, err := r.ReadBlob(r.geo.layout.digest, MaxLayoutSize)
	if err != nil {
		return nil, err
	}
	return r.splice(g, r.indexBytes, r.docker, layout, r.tail.signatures, nil)
}

func (r *Reader) dockerSize() int64 {
	if r.docker == nil {
		return -1
	}
	return int64(len(r.docker))
}
