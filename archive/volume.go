package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// A volume carries a stretch of the bytes of a bundle's file, and all of the
// bundle that is not a blob (docs/format.md, "Volumes"). The bundle is read
// through its volumes as they lie there.

// Members of a volume, besides oci-layout and index.json.
const (
	nameVolume = "volume.json"
	nameHead   = "head"
	nameData   = "data"
	nameEdges  = "edges.json"
	nameTail   = "tail"
)

// volumeIndex is the index.json of every volume. It lists nothing, and tells
// older readers which version they need.
const volumeIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"vnd.bundle.format":"2","vnd.bundle.min-reader":"2"}}`

const (
	// MaxVolumes bounds the volumes of a bundle.
	MaxVolumes = 999
	// maxVolumeJSON bounds volume.json and edges.json, so that each takes one
	// block of the tar.
	maxVolumeJSON = tarBlock
	// signatureRoom is what is kept free in every volume for signatures.
	signatureRoom = 64 << 10
	// maxHead bounds what a bundle has before its blobs.
	maxHead = MaxIndexSize + MaxDockerManifestSize + MaxLayoutSize + maxDeltaSize + 1<<20
	// maxTail bounds what it has behind them.
	maxTail = MaxSignatures*(MaxSignatureSize+4<<10) + seekHeaderLen + maxTableFrames*seekEntryLen + 64<<10
)

// volumeInfo is what volume.json says.
type volumeInfo struct {
	number, count int64
	// from and length are the stretch of the bundle's file, end is where its
	// blobs end.
	from, length, end int64
	index             digest.Digest
}

func (v *volumeInfo) to() int64 { return v.from + v.length }

func (v *volumeInfo) encode() []byte {
	return fmt.Appendf(nil, `{"version":1,"number":%d,"count":%d,"from":%d,"length":%d,"end":%d,"index":"%s"}`, v.number, v.count, v.from, v.length, v.end, v.index)
}

func parseVolume(data []byte) (*volumeInfo, error) {
	p := &layoutParser{s: string(data), what: nameVolume}
	p.expect(`{"version":`)
	if n := p.number(); p.err == nil && n != 1 {
		return nil, fmt.Errorf("%w: %s is of version %d, this tool reads version 1", ErrVersion, nameVolume, n)
	}
	v := new(volumeInfo)
	for _, f := range []struct {
		name string
		to   *int64
	}{{"number", &v.number}, {"count", &v.count}, {"from", &v.from}, {"length", &v.length}, {"end", &v.end}} {
		p.expect(`,"` + f.name + `":`)
		*f.to = p.number()
	}
	p.expect(`,"index":"`)
	v.index = p.digest()
	p.expect(`"}`)
	if p.err == nil && p.at != len(p.s) {
		p.fail("something follows")
	}
	if p.err == nil && (v.number < 1 || v.number > v.count || v.count > MaxVolumes || v.length < 1 || v.to() > v.end ||
		v.number == v.count && v.to() != v.end) {
		p.fail("there can be no such volume")
	}
	return v, p.err
}

// volumeShape is where everything lies in a volume.
type volumeShape struct {
	info       volumeInfo
	head, tail int64 // lengths
}

// members gives the members in order, with their places.
func (v *volumeShape) members() []member {
	list := []member{
		ociLayoutMember(),
		{name: nameIndex, size: int64(len(volumeIndex)), sum: true},
		{name: nameVolume, size: int64(len(v.info.encode())), sum: true},
		{name: nameHead, size: v.head, sum: true},
		{name: nameData, size: v.info.length},
		{name: nameEdges, size: edgesLen, sum: true},
		{name: nameTail, size: v.tail, sum: true},
	}
	pos := int64(0)
	for i := range list {
		list[i].pos = pos
		pos += list[i].encodedLen()
	}
	return list
}

// Numbers of members that are asked for.
const (
	atHead = 3
	atData = 4
	atTail = 6
)

// before tells whether w can be a later volume: the next one begins where v ends.
func (v *volumeShape) before(w *volume) bool {
	if w.info.number == v.info.number+1 {
		return v.info.to() == w.info.from
	}
	return v.info.number < w.info.number && v.info.to() < w.info.from
}

// size is the length of the volume's file.
func (v *volumeShape) size() int64 {
	frames := int64(1)
	list := v.members()
	for i := range list {
		frames += list[i].frameCount()
	}
	return list[atTail].end() + endShape.encodedLen() + seekTableLen(frames)
}

// writeEnd writes the end of the archive and the seek table.
func (v *volumeShape) writeEnd(w io.Writer, part func(*member)) error {
	list := v.members()
	pos := list[atTail].end()
	end := endMember(pos)
	part(&end)
	if _, err := w.Write(encodeRaw(make([]byte, endContent), true)); err != nil {
		return err
	}
	table := member{name: nameSeekTable, pos: pos + endShape.encodedLen()}
	part(&table)
	n := int64(1)
	for i := range list {
		n += list[i].frameCount()
	}
	return writeSeekTable(w, n, func(yield func(encoded, decoded int64) bool) {
		for i := range list {
			if !list[i].eachFrame(yield) {
				return
			}
		}
		yield(endShape.frame(0))
	})
}

// edges are the hashes of the parts of blobs at the two ends of a volume,
// which no digest of a blob can prove there.
type edges struct{ front, back digest.Digest }

const edgesLen = int64(len(`{"front":"","back":""}`) + 2*(len("sha256:")+64))

func (e *edges) encode() []byte {
	return fmt.Appendf(nil, `{"front":"%s","back":"%s"}`, e.front, e.back)
}

// cuts gives the lengths of the parts of blobs at the two ends of a stretch of
// the file.
func (g *geometry) cuts(from, to int64) (front, back int64) {
	first := true
	for i := range g.blobs {
		if g.pos[i] < 0 {
			continue
		}
		m := g.blob(i)
		if m.end() <= from {
			continue
		}
		if m.pos >= to {
			break
		}
		if first && m.pos < from {
			front = min(m.end(), to) - from
		} else if m.end() > to {
			back = to - m.pos
		}
		first = false
	}
	return front, back
}

// edgesOf hashes the ends of a volume's data.
func (g *geometry) edgesOf(ctx context.Context, info *volumeInfo, data io.ReaderAt) (*edges, error) {
	front, back := g.cuts(info.from, info.to())
	hash := func(off, n int64) (digest.Digest, error) {
		h := sha256.New()
		_, err := io.CopyBuffer(ctxWriter{ctx, h}, onlyReader{io.NewSectionReader(data, off, n)}, make([]byte, max(1, min(n, rawChunk))))
		return digest.NewDigest(digest.SHA256, h), err
	}
	var e edges
	var err error
	if e.front, err = hash(0, front); err == nil {
		e.back, err = hash(info.length-back, back)
	}
	return &e, err
}

type onlyReader struct{ io.Reader }

// framing is what stands in the file before byte pos of the content, where a
// block begins.
func (s rawShape) framing(pos int64) []byte {
	_, inFrame := s.frame(pos / rawFrame)
	in := pos % rawFrame
	var b []byte
	if in == 0 {
		b = append(b, 0x28, 0xB5, 0x2F, 0xFD, descriptor, windowByte,
			byte(inFrame), byte(inFrame>>8), byte(inFrame>>16), byte(inFrame>>24))
		if s.sum {
			b[4] |= checksumBit
		}
	}
	n := min(rawBlock, inFrame-in)
	h := uint32(n) << 3
	if in+n == inFrame {
		h |= 1
	}
	return append(b, byte(h), byte(h>>8), byte(h>>16))
}

// writeContentAt writes p, which is content from off on, into a raw member
// without checksums, with the framing of every block that begins in it.
func writeContentAt(w io.WriterAt, m *member, p []byte, off int64) error {
	s := m.raw()
	pos := m.headLen() + off
	at := m.pos + s.position(pos)
	buf := make([]byte, 0, len(p)+(len(p)/rawBlock+2)*(blockHeader+frameHeader))
	for len(p) > 0 {
		if pos%rawBlock == 0 {
			f := s.framing(pos)
			if len(buf) == 0 {
				at -= int64(len(f))
			}
			buf = append(buf, f...)
		}
		n := min(int64(len(p)), rawBlock-pos%rawBlock)
		buf = append(buf, p[:n]...)
		p, pos = p[n:], pos+n
	}
	_, err := w.WriteAt(buf, at)
	return err
}

// VolumeName is the name of volume number n of the bundle at path.
func VolumeName(path string, n int) string { return fmt.Sprintf("%s.%03d", path, n) }

// volume is one file of a bundle in volumes.
type volume struct {
	volumeShape
	path  string
	ra    io.ReaderAt
	size  int64
	edges []byte
	tail  []byte
	head  []byte
	data  *BlobReader
	close io.Closer
}

// newData gives access to the data of a volume.
func newData(ra io.ReaderAt, m member) *BlobReader {
	r := &Reader{ra: ra}
	return &BlobReader{r: r, asked: r, m: m, shape: m.raw()}
}

// isVolume tells whether an index.json is that of a volume.
func isVolume(index []byte) bool { return string(index) == volumeIndex }

// readVolume reads a volume's own members, of which index.json was read
// already.
func readVolume(ra io.ReaderAt, size int64, path string) (*volume, error) {
	var t tools
	src := newSourceAt(ra, 0, size)
	if err := readOCILayout(src, func() bool { return hasFooter(ra, size) }); err != nil {
		return nil, err
	}
	index, err := t.readUnsized(src, nameIndex, MaxIndexSize, size-src.off)
	if err != nil {
		return nil, err
	}
	if !isVolume(index) {
		return nil, nil
	}
	v := &volume{ra: ra, size: size, path: path}
	pos := src.off
	data, err := t.readUnsized(src, nameVolume, maxVolumeJSON, size-src.off)
	if err != nil {
		return nil, err
	}
	info, err := parseVolume(data)
	if err != nil {
		m := member{name: nameVolume, pos: pos, size: int64(len(data)), sum: true}
		return nil, m.malformed(err)
	}
	v.info = *info
	if v.head, err = t.readUnsized(src, nameHead, maxHead, size-src.off); err != nil {
		return nil, err
	}
	v.volumeShape.head = int64(len(v.head))
	m := v.members()[atData]
	if m.end() > size {
		return nil, m.damaged(size, m.end()-size, "the file is cut off")
	}
	v.data = newData(ra, m)
	src = newSourceAt(ra, m.end(), size-m.end())
	if v.edges, err = t.readUnsized(src, nameEdges, maxVolumeJSON, size-src.off); err != nil {
		return nil, err
	}
	if v.tail, err = t.readUnsized(src, nameTail, maxTail, size-src.off); err != nil {
		return nil, err
	}
	v.volumeShape.tail = int64(len(v.tail))
	if int64(len(v.edges)) != edgesLen || v.volumeShape.size() != size {
		table := member{name: nameSeekTable}
		return nil, table.damaged(src.off, size-src.off, "the file does not end as a volume does")
	}
	return v, nil
}

// verify checks every byte of the volume that is not in the member of a whole
// blob.
func (v *volume) verify(ctx context.Context, g *geometry) error {
	e, err := g.edgesOf(ctx, &v.info, v.data)
	if err != nil {
		return v.in(err)
	}
	list := v.members()
	if !bytes.Equal(e.encode(), v.edges) {
		m := list[atData]
		return v.in(&Error{Class: ErrDigest, Member: nameData, Offset: m.pos, Length: m.encodedLen(), Reason: "the part of a blob at one of its ends is not what edges.json says"})
	}
	c := newComparer(newSourceAt(v.ra, 0, v.size))
	w := ctxWriter{ctx, c}
	for i, content := range [][]byte{[]byte(ociLayoutContent), []byte(volumeIndex), v.info.encode(), v.head, nil, v.edges, v.tail} {
		if i == atData {
			if err := v.verifyEnds(list[i]); err != nil {
				return v.in(err)
			}
			c = newComparer(newSourceAt(v.ra, list[i].end(), v.size-list[i].end()))
			w = ctxWriter{ctx, c}
			continue
		}
		c.part(&list[i])
		if err := writeRaw(w, &list[i], content); err != nil {
			return v.in(err)
		}
	}
	return v.in(v.writeEnd(w, c.part))
}

// verifyEnds checks the tar header and the padding of the data.
func (v *volume) verifyEnds(m member) error {
	s := m.raw()
	compare := func(pos int64, want []byte) error {
		if len(want) == 0 {
			return nil
		}
		// The header and the padding lie in one block each.
		at := m.pos + s.position(pos)
		have := make([]byte, len(want))
		if pos%rawBlock == 0 {
			f := s.framing(pos)
			at -= int64(len(f))
			want = append(f, want...)
			have = make([]byte, len(want))
		}
		if err := readFull(v.ra, have, at); err != nil {
			return err
		}
		if i := differs(have, want); i >= 0 {
			return m.damaged(at+int64(i), 1, "it is not as the format wants it")
		}
		return nil
	}
	if err := compare(0, m.head()); err != nil {
		return err
	}
	pos := m.headLen() + m.size
	pad := make([]byte, m.padLen())
	// A block may begin inside the padding.
	if first := (pos + rawBlock - 1) / rawBlock * rawBlock; first > pos && first < pos+int64(len(pad)) {
		n := first - pos
		if err := compare(pos, pad[:n]); err != nil {
			return err
		}
		return compare(first, pad[n:])
	}
	return compare(pos, pad)
}

// in says in an error which volume it is about.
func (v *volume) in(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.File != "" {
		return err
	}
	c := *e
	c.File = v.path
	return &c
}

// volumes read the file of a bundle through those of its volumes that are at
// hand.
type volumes struct {
	list []*volume // by number
	head []byte
	tail []byte
	end  int64
}

// ReadAt implements [io.ReaderAt] on the bundle's file.
func (v *volumes) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		rest := p[done:]
		switch {
		case at < int64(len(v.head)):
			done += copy(rest, v.head[at:])
		case at >= v.end:
			n := 0
			if at-v.end < int64(len(v.tail)) {
				n = copy(rest, v.tail[at-v.end:])
			}
			done += n
			if n == 0 {
				return done, io.EOF
			}
		default:
			rest = rest[:min(int64(len(rest)), v.end-at)]
			vol := v.holds(at)
			if vol == nil {
				return done, &Error{Class: ErrMissing, Offset: at, Length: int64(len(rest)), Reason: v.lacking()}
			}
			n, err := vol.data.ReadAt(rest[:min(int64(len(rest)), vol.info.to()-at)], at-vol.info.from)
			done += n
			if err != nil && err != io.EOF {
				return done, vol.in(err)
			}
		}
	}
	return done, nil
}

// holds finds the volume that has a byte of the bundle's file.
func (v *volumes) holds(at int64) *volume {
	i, ok := slices.BinarySearchFunc(v.list, at, func(w *volume, at int64) int {
		switch {
		case w.info.to() <= at:
			return -1
		case w.info.from > at:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return v.list[i]
}

// covers tells whether a stretch of the bundle's file is at hand.
func (v *volumes) covers(from, length int64) bool {
	for to := from + length; from < to; {
		vol := v.holds(from)
		if vol == nil {
			return false
		}
		from = vol.info.to()
	}
	return true
}

// missing gives the numbers of the volumes that are not at hand, of how many.
func (v *volumes) missing() (numbers []int, count int) {
	have := map[int64]bool{}
	for _, w := range v.list {
		have[w.info.number] = true
	}
	count = int(v.list[0].info.count)
	for n := 1; n <= count; n++ {
		if !have[int64(n)] {
			numbers = append(numbers, n)
		}
	}
	return numbers, count
}

// lacking says which volumes are not at hand.
func (v *volumes) lacking() string {
	numbers, count := v.missing()
	const most = 10
	var names []string
	for i, n := range numbers {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(numbers)-i))
			break
		}
		names = append(names, strconv.Itoa(n))
	}
	word := "volume "
	if len(numbers) > 1 {
		word = "volumes "
	}
	return fmt.Sprintf("%s%s of %d", word, strings.Join(names, ", "), count)
}

// OpenAll opens files, in any order. Volumes of one bundle become one Reader,
// in the place of the first of them. errs has an error or nil for each path.
func OpenAll(paths []string) (readers []*Reader, errs []error) {
	type group struct {
		index digest.Digest
		count int64
	}
	errs = make([]error, len(paths))
	sets := map[group][]*volume{}
	at := map[group]int{} // into readers
	which := map[group]int{}
	for i, p := range paths {
		r, v, err := openFile(p)
		switch {
		case err != nil:
			errs[i] = err
		case r != nil:
			readers = append(readers, r)
		default:
			g := group{v.info.index, v.info.count}
			if sets[g] == nil {
				at[g], which[g] = len(readers), i
				readers = append(readers, nil)
			} else {
				v.share(sets[g][0])
			}
			sets[g] = append(sets[g], v)
		}
	}
	for g, list := range sets {
		r, err := joinVolumes(list)
		if err != nil {
			for _, v := range list {
				_ = v.close.Close()
			}
			errs[which[g]] = err
			continue
		}
		readers[at[g]] = r
	}
	return slices.DeleteFunc(readers, func(r *Reader) bool { return r == nil }), errs
}

// share lets go of a head and a tail that another volume has, too: up to 999
// would be held otherwise.
func (v *volume) share(w *volume) {
	if bytes.Equal(v.head, w.head) {
		v.head = w.head
	}
	if bytes.Equal(v.tail, w.tail) {
		v.tail = w.tail
	}
}

// openFile opens one file: a bundle or a volume.
func openFile(path string) (*Reader, *volume, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	v, err := readVolume(f, fi.Size(), path)
	if err == nil && v != nil {
		v.close = f
		return nil, v, nil
	}
	if err != nil {
		// Reading it as a bundle may have more to say.
		if _, rerr := newReader(f, fi.Size(), path); rerr != nil && !errors.Is(rerr, errVolume) {
			err = rerr
		}
		_ = f.Close()
		return nil, nil, err
	}
	r, err := newReader(f, fi.Size(), path)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	r.closers = []io.Closer{f}
	return r, nil, nil
}

// joinVolumes makes the Reader of a bundle of some or all of its volumes.
func joinVolumes(list []*volume) (*Reader, error) {
	slices.SortStableFunc(list, func(a, b *volume) int { return int(a.info.number - b.info.number) })
	set := &volumes{head: list[0].head, tail: list[0].tail, end: list[0].info.end}
	var closers []io.Closer
	var paths []string
	for _, v := range list {
		closers = append(closers, v.close)
		m := member{name: nameHead}
		switch {
		case !bytes.Equal(v.head, set.head):
		case !bytes.Equal(v.tail, set.tail):
			m.name = nameTail
		case v.info.end != set.end || v.info.from < int64(len(set.head)):
			m.name = nameVolume
		case len(set.list) > 0 && set.list[len(set.list)-1].info.number == v.info.number:
			// The same volume twice, or a copy of it.
			if set.list[len(set.list)-1].info == v.info {
				continue
			}
			m.name = nameVolume
		case len(set.list) > 0 && !set.list[len(set.list)-1].before(v), len(set.list) == 0 && v.info.number == 1 && v.info.from != int64(len(set.head)):
			m.name = nameVolume
		default:
			v.head, v.tail = set.head, set.tail
			set.list = append(set.list, v)
			paths = append(paths, v.path)
			continue
		}
		return nil, v.in(&Error{Class: ErrDamaged, Member: m.name, Reason: "it contradicts another volume of the same bundle"})
	}
	first := set.list[0].path
	name := first
	if base, ok := strings.CutSuffix(first, fmt.Sprintf(".%03d", set.list[0].info.number)); ok {
		name = base + ".*"
	}
	r, err := newReader(set, set.end+int64(len(set.tail)), name)
	if err != nil {
		return nil, err
	}
	if r.indexDigest != set.list[0].info.index {
		return nil, set.list[0].in(&Error{Class: ErrDigest, Member: nameHead, Reason: "its index.json is not the one that volume.json names"})
	}
	r.vols, r.files, r.closers = set, paths, closers
	return r, nil
}

// errVolume is for those who can only deal with a whole file.
var errVolume = &Error{Class: ErrFormat, Reason: "it is one volume of a bundle and no bundle by itself: name it together with the other volumes, as files"}

// MissingVolumes says which of the bundle's volumes are not at hand, as in
// "volume 2 of 5"; empty if none is missing.
func (r *Reader) MissingVolumes() string {
	if r.vols == nil {
		return ""
	}
	if numbers, _ := r.vols.missing(); len(numbers) == 0 {
		return ""
	}
	return r.vols.lacking()
}

// Files are the paths of the files that the bundle itself lies in: one, or
// those of its volumes.
func (r *Reader) Files() []string {
	if r.vols == nil {
		return []string{r.path}
	}
	return r.files
}

// Plain tells whether the bundle is one file that leaves nothing out.
func (r *Reader) Plain() bool {
	return r.vols == nil && (r.geo == nil || r.geo.part == nil) && len(r.parts) == 0
}
