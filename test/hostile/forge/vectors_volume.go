package forge

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const volumeIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"vnd.bundle.format":"2","vnd.bundle.min-reader":"2"}}`

// volume is one volume in the making.
type volume struct {
	number, count, from, length, end int64
	index                            string
	head, data, tail                 []byte
	front, back                      string

	onInfo, onEdges func([]byte) []byte
	onMembers       func([]*Member) []*Member
	onFrames        func([]Frame) []Frame
}

// cut makes volumes of a bundle, cut at some bytes of its body.
func cut(b *Bundle, at ...int64) []*volume {
	file := b.Make()
	size := b.Tail - b.Body
	var list []*volume
	from := b.Body
	for i := range len(at) + 1 {
		to := b.Tail
		if i < len(at) {
			to = b.Body + at[i]
		}
		v := &volume{number: int64(i + 1), count: int64(len(at) + 1), from: from, end: b.Tail, index: digestOf(b.Index),
			head: file[:b.Body], tail: file[b.Tail:]}
		v.stretch(b, file, to-from)
		list = append(list, v)
		from = to
	}
	if from <= b.Body || size < 1 {
		panic("nothing to cut")
	}
	return list
}

// stretch gives the volume so many bytes, and hashes what is cut at their ends.
func (v *volume) stretch(b *Bundle, file []byte, length int64) {
	v.length, v.data = length, file[v.from:v.from+length]
	to := v.from + length
	var front, back []byte
	begin := b.Body
	for _, end := range b.Ends {
		if begin < v.from && end > v.from {
			front = file[v.from:min(end, to)]
		} else if begin >= v.from && begin < to && end > to {
			back = file[begin:to]
		}
		begin = end
	}
	v.front, v.back = digestOf(front), digestOf(back)
}

func (v *volume) Make() []byte {
	info := fmt.Appendf(nil, `{"version":1,"number":%d,"count":%d,"from":%d,"length":%d,"end":%d,"index":"%s"}`, v.number, v.count, v.from, v.length, v.end, v.index)
	if v.onInfo != nil {
		info = v.onInfo(info)
	}
	edges := fmt.Appendf(nil, `{"front":"%s","back":"%s"}`, v.front, v.back)
	if v.onEdges != nil {
		edges = v.onEdges(edges)
	}
	list := []*Member{
		member("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), true), member("index.json", []byte(volumeIndex), true),
		member("volume.json", info, true), member("head", v.head, true), member("data", v.data, false),
		member("edges.json", edges, true), member("tail", v.tail, true), {Name: "end", Content: make([]byte, 1024), Checksum: true},
	}
	if v.onMembers != nil {
		list = v.onMembers(list)
	}
	var frames []Frame
	for _, m := range list {
		frames = append(frames, m.frames()...)
	}
	if v.onFrames != nil {
		frames = v.onFrames(frames)
	}
	var file []byte
	for _, f := range frames {
		file = append(file, f.Data...)
	}
	return append(file, seekTable(frames)...)
}

// cuts are where the vectors are cut: in a blob, and in the next but one.
func cuts() []int64 { return []int64{1500, 3900} }

func volumeVectors() []Vector {
	// nth makes one volume of the vector "ok".
	nth := func(n int, f func(*volume)) func() []byte {
		return func() []byte {
			v := cut(New(), cuts()...)[n-1]
			if f != nil {
				f(v)
			}
			return v.Make()
		}
	}
	rest := []string{"volume-2", "volume-3"}
	first := func(name, rule string, exit int, f func(*volume)) Vector {
		return Vector{Name: "volume-" + name, Rule: rule, Exit: exit, With: rest, file: nth(1, f)}
	}
	info := func(name, rule, old, new string) Vector {
		return first(name, rule, damaged, func(v *volume) {
			v.onInfo = func(p []byte) []byte {
				if !bytes.Contains(p, []byte(old)) {
					panic("volume.json has no " + old)
				}
				return bytes.Replace(p, []byte(old), []byte(new), 1)
			}
		})
	}
	change := func(name string, f func(*Member)) func(*volume) {
		return func(v *volume) {
			v.onMembers = func(list []*Member) []*Member { f(list[find(list, name)]); return list }
		}
	}
	// second makes the second volume with another stretch.
	second := func(from, to int64) func() []byte {
		return func() []byte {
			b := New()
			v := cut(b, cuts()...)[1]
			other := New()
			file := other.Make()
			v.from = b.Body + from
			v.stretch(b, file, to-from)
			return v.Make()
		}
	}
	outer := []string{"ok-volumes", "volume-3"}
	return []Vector{
		{Name: "ok-volumes", Rule: "nothing is broken: the first of three volumes, with the others", With: rest, file: nth(1, nil)},
		{Name: "ok-volumes-twice", Rule: "nothing is broken: a volume may be given twice", With: []string{"volume-3", "volume-2", "volume-3"}, file: nth(1, nil)},
		{Name: "volume-2", Rule: "a volume without the others is incomplete", Exit: incomplete, file: nth(2, nil)},
		{Name: "volume-3", Rule: "a volume without the others is incomplete", Exit: incomplete, file: nth(3, nil)},
		{Name: "volume-two-of-three", Rule: "volumes without one of them are incomplete", Exit: incomplete, With: rest[1:], file: nth(1, nil)},
		{Name: "volume-of-another", Rule: "a volume of another bundle is none of this one", Exit: incomplete, With: rest, file: func() []byte {
			b := New()
			b.add(typeConfig, []byte("{}"))
			b.Files = append(b.Files, b.add(typeLayer, nil))
			return cut(b, cuts()...)[0].Make()
		}},
		first("swapped", "volumes have their own stretch: the first says to be the second", damaged, func(v *volume) { v.number = 2 }),
		first("swapped-data", "blobs are right: bytes of another stretch", damaged, func(v *volume) {
			v.data = cut(New(), cuts()...)[1].data[:v.length]
		}),
		first("flipped", "the part of a blob at the end is what edges.json says: one bit differs", damaged, func(v *volume) {
			v.data = bytes.Clone(v.data)
			v.data[len(v.data)-1] ^= 1
		}),
		first("edges", "edges.json has the hashes of what is cut", damaged, func(v *volume) { v.back = digestOf([]byte("another")) }),
		first("edges-spelling", "edges.json has exactly one spelling: a space", damaged, func(v *volume) {
			v.onEdges = func(p []byte) []byte { return bytes.Replace(p, []byte(`","`), []byte(`", "`), 1) }
		}),
		{Name: "volume-gap", Rule: "the stretches are the body, without gaps: bytes between the first two are in none", Exit: damaged, With: outer, file: second(cuts()[0]+700, cuts()[1])},
		{Name: "volume-overlap", Rule: "the stretches are the body, each byte once: the first two overlap", Exit: damaged, With: outer, file: second(cuts()[0]-700, cuts()[1])},
		{Name: "volume-in-head", Rule: "a stretch is of the body: it begins in the head", Exit: damaged, With: outer, file: nth(2, func(v *volume) { v.from = 10 })},
		first("head-differs", "the head is the same in all volumes: one bit differs", damaged, func(v *volume) {
			v.head = bytes.Clone(v.head)
			v.head[len(v.head)-1] ^= 1
		}),
		first("head-longer", "the head ends where the body begins: a byte more", damaged, func(v *volume) { v.head = append(bytes.Clone(v.head), 0) }),
		first("tail-differs", "the tail is the same in all volumes: one bit differs", damaged, func(v *volume) {
			v.tail = bytes.Clone(v.tail)
			v.tail[100] ^= 1
		}),
		first("tail-other-signature", "the tail is the same in all volumes: one has another signature", damaged, func(v *volume) {
			b := New()
			b.OnSignatures = func(index []byte, _ [][]byte) [][]byte { return [][]byte{sign(stranger, index)} }
			v.tail = cut(b, cuts()...)[0].tail
		}),
		{Name: "volume-stranger", Rule: "the signature is of a trusted key, in volumes too", Exit: untrusted, file: func() []byte {
			b := New()
			b.OnSignatures = func(index []byte, _ [][]byte) [][]byte { return [][]byte{sign(stranger, index)} }
			return cut(b, cuts()...)[0].Make()
		}},
		{Name: "volume-other-index", Rule: "volume.json names the bundle's index: another", Exit: damaged, file: nth(1, func(v *volume) { v.index = digestOf([]byte("another")) })},
		{Name: "volume-version", Rule: "volume.json is of version 1", Exit: usage, With: rest, file: nth(1, func(v *volume) {
			v.onInfo = func(p []byte) []byte { return bytes.Replace(p, []byte(`"version":1,`), []byte(`"version":1000,`), 1) }
		})},
		info("space", "volume.json has exactly one spelling: a space", `,"count"`, `, "count"`),
		info("newline", "volume.json has exactly one spelling: a line end behind it", `"}`, "\"}\n"),
		info("number-zero", "number counts from 1", `"number":1`, `"number":0`),
		info("number-beyond", "number is at most count", `"number":1`, `"number":4`),
		info("count-beyond", "there are at most 999 volumes", `"count":3`, `"count":1000`),
		info("leading-zero", "volume.json has exactly one spelling: a leading zero", `"number":1`, `"number":01`),
		info("overflow", "from and length fit", `"from":`, `"from":9223372036854775807`),
		first("length-zero", "a stretch is not empty", damaged, func(v *volume) { v.length, v.data = 0, nil }),
		first("beyond-end", "a stretch ends with the body at the latest", damaged, func(v *volume) { v.end = v.from + 1 }),
		first("end-differs", "the body ends at the same byte in all volumes", damaged, func(v *volume) { v.end++ }),
		first("index-json", "index.json of a volume has exactly one content: a space", damaged, change("index.json", func(m *Member) {
			*m = *member("index.json", []byte(strings.Replace(volumeIndex, ",", ", ", 1)), true)
		})),
		first("extra-member", "nothing else: a file that nothing lists", damaged, func(v *volume) {
			v.onMembers = func(list []*Member) []*Member {
				return slices.Insert(list, find(list, "edges.json"), member("README", []byte("x"), true))
			}
		}),
		first("member-twice", "every member once: head twice", damaged, func(v *volume) {
			v.onMembers = func(list []*Member) []*Member {
				i := find(list, "head")
				return slices.Insert(list, i, list[i])
			}
		}),
		first("data-traversal", "members have their names: data is ../../tmp/bundle-vector-escaped", damaged, change("data", func(m *Member) {
			m.Header = header("../../tmp/bundle-vector-escaped", int64(len(m.Content)))
		})),
		first("data-size", "data has the length that volume.json says: its header says one more", damaged, change("data", func(m *Member) {
			m.Header = header("data", int64(len(m.Content))+1)
		})),
		first("data-padding", "padding is zero", damaged, change("data", func(m *Member) { m.Padding[0] = 1 })),
		first("data-checksum", "frames of data have no checksum", damaged, change("data", func(m *Member) { m.Checksum = true })),
		first("head-claim", "head is not larger than it can be: its header says 8 GiB", damaged, change("head", func(m *Member) { m.Header = ustar("head", ustarMax, '0') })),
		first("tail-claim", "tail is not larger than it can be: its header says 8 GiB", damaged, change("tail", func(m *Member) { m.Header = ustar("tail", ustarMax, '0') })),
		first("seek-table", "the seek table is right: the lengths of two frames are swapped", damaged, func(v *volume) {
			v.onFrames = func(list []Frame) []Frame {
				list[2].Encoded, list[3].Encoded = list[3].Encoded, list[2].Encoded
				return list
			}
		}),
	}
}
