package archive

import (
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// geometry is where everything lies in a file, from the first byte to the
// end of the last blob. All of it follows from sizes.
type geometry struct {
	index  member
	docker member // name is empty where there is none
	layout member
	delta  member     // name is empty where there is none
	part   *deltaPart // nil for a whole file
	blobs  []Blob
	pos    []int64 // of the blobs' members, -1 for those that are absent
	end    int64   // where signatures begin
	frames int64   // zstd frames up to end
	find   map[digest.Digest]int32
}

// endContent is the length of the two zero blocks that end a tar.
const endContent = 2 * tarBlock

func endMember(pos int64) member { return member{name: nameEnd, pos: pos, sum: true} }

var (
	endShape       = rawShape{n: endContent, sum: true}
	ociLayoutShape = rawShape{n: 2 * tarBlock, sum: true}
)

func ociLayoutMember() member {
	return member{name: nameOCILayout, size: int64(len(ociLayoutContent)), sum: true}
}

// indexMember is where index.json lies, which the head alone tells.
func indexMember(size int64) member {
	return member{name: nameIndex, size: size, pos: ociLayoutShape.encodedLen(), sum: true}
}

// newGeometry lays the members out. dockerSize is -1 where there is no
// manifest.json, part nil where the file is whole. It checks the blobs one by
// one and together.
func newGeometry(indexSize, dockerSize int64, layoutDigest digest.Digest, layoutSize int64, blobs []Blob, part *deltaPart) (*geometry, error) {
	g := &geometry{index: indexMember(indexSize), blobs: blobs, part: part}
	first := ociLayoutMember()
	g.end = first.encodedLen()
	g.frames = first.frameCount()
	add := func(m *member) error {
		m.pos = g.end
		g.end += m.encodedLen()
		g.frames += m.frameCount()
		if g.end > maxFileSize || g.frames > maxTableFrames-MaxSignatures-1 {
			return fmt.Errorf("the bundle would be too large for the format")
		}
		return nil
	}
	if err := add(&g.index); err != nil {
		return nil, err
	}
	if dockerSize >= 0 {
		g.docker = member{name: nameDockerManifest, size: dockerSize, sum: true}
		if err := add(&g.docker); err != nil {
			return nil, err
		}
	}
	g.layout = blobMember(Blob{Digest: layoutDigest, Size: layoutSize}, 0)
	if err := add(&g.layout); err != nil {
		return nil, err
	}
	var absent []stretch
	if part != nil {
		g.delta = member{name: nameDelta, size: part.size, sum: true}
		if err := add(&g.delta); err != nil {
			return nil, err
		}
		absent = part.absent
	}
	g.pos = make([]int64, len(blobs))
	g.find = make(map[digest.Digest]int32, len(blobs))
	for i := range blobs {
		if err := blobs[i].Check(); err != nil {
			return nil, err
		}
		if _, ok := g.find[blobs[i].Digest]; ok || blobs[i].Digest == layoutDigest {
			return nil, fmt.Errorf("blob %s is listed twice", blobs[i].Digest)
		}
		g.find[blobs[i].Digest] = int32(i)
		for len(absent) > 0 && absent[0].first+absent[0].count <= int64(i) {
			absent = absent[1:]
		}
		if len(absent) > 0 && absent[0].first <= int64(i) {
			g.pos[i] = -1
			continue
		}
		m := blobMember(blobs[i], 0)
		if err := add(&m); err != nil {
			return nil, err
		}
		g.pos[i] = m.pos
	}
	return g, nil
}

// member finds a blob's member, that of the layout blob included.
func (g *geometry) member(d digest.Digest) (member, bool) {
	if d == g.layout.digest {
		return g.layout, true
	}
	i, ok := g.find[d]
	if !ok || g.pos[i] < 0 {
		return member{}, false
	}
	return g.blob(int(i)), true
}

// carried are the blobs that are in the file.
func (g *geometry) carried() []Blob {
	if g.part == nil {
		return g.blobs
	}
	var list []Blob
	for i := range g.blobs {
		if g.pos[i] >= 0 {
			list = append(list, g.blobs[i])
		}
	}
	return list
}

func (g *geometry) blob(i int) member { return blobMember(g.blobs[i], g.pos[i]) }

// eachFrame yields the lengths of all data frames of the file, with
// signatures of the given sizes and the end of the archive.
func (g *geometry) eachFrame(signatures []int64, yield func(encoded, decoded int64) bool) {
	first := ociLayoutMember()
	if !first.eachFrame(yield) || !g.index.eachFrame(yield) {
		return
	}
	if g.docker.name != "" && !g.docker.eachFrame(yield) {
		return
	}
	if !g.layout.eachFrame(yield) {
		return
	}
	if g.delta.name != "" && !g.delta.eachFrame(yield) {
		return
	}
	for i := range g.blobs {
		if g.pos[i] < 0 {
			continue
		}
		m := g.blob(i)
		if !m.eachFrame(yield) {
			return
		}
	}
	for i, size := range signatures {
		m := member{name: signatureName(i + 1), size: size, sum: true}
		if !m.eachFrame(yield) {
			return
		}
	}
	yield(endShape.frame(0))
}

// writeHead writes the members before the blobs. part is told of each before
// its first byte; the layout blob and what follows are left out if layout is
// nil.
func (g *geometry) writeHead(w io.Writer, index, docker, layout []byte, part func(m *member)) error {
	first := ociLayoutMember()
	write := func(m *member, content []byte) error {
		part(m)
		return writeRaw(w, m, content)
	}
	if err := write(&first, []byte(ociLayoutContent)); err != nil {
		return err
	}
	if err := write(&g.index, index); err != nil {
		return err
	}
	if g.docker.name != "" {
		if err := write(&g.docker, docker); err != nil {
			return err
		}
	}
	if layout == nil {
		return nil
	}
	if err := write(&g.layout, layout); err != nil || g.part == nil {
		return err
	}
	return write(&g.delta, g.part.encode())
}

// writeTail writes everything behind the blobs.
func (g *geometry) writeTail(w io.Writer, signatures [][]byte, part func(m *member)) error {
	pos := g.end
	sizes := make([]int64, len(signatures))
	for i, s := range signatures {
		m := signatureMember(i+1, int64(len(s)), pos)
		sizes[i] = m.size
		pos += m.encodedLen()
		part(&m)
		if err := writeRaw(w, &m, s); err != nil {
			return err
		}
	}
	end := endMember(pos)
	part(&end)
	if _, err := w.Write(encodeRaw(make([]byte, endContent), true)); err != nil {
		return err
	}
	table := member{name: nameSeekTable, pos: pos + endShape.encodedLen()}
	part(&table)
	n := g.frames + int64(len(sizes)) + 1
	return writeSeekTable(w, n, func(yield func(encoded, decoded int64) bool) { g.eachFrame(sizes, yield) })
}

func signatureMember(n int, size, pos int64) member {
	return member{name: signatureName(n), size: size, pos: pos, sum: true}
}

// tailLen is the length of what writeTail writes.
func (g *geometry) tailLen(signatures [][]byte) int64 {
	n := endShape.encodedLen() + seekTableLen(g.frames+int64(len(signatures))+1)
	for i, s := range signatures {
		m := signatureMember(i+1, int64(len(s)), 0)
		n += m.encodedLen()
	}
	return n
}
