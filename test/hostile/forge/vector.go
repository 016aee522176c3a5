package forge

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
)

// Vector is one file and what a reader has to say of it.
type Vector struct {
	// Name of the file, without .tar.zst.
	Name string `json:"name"`
	// File is its name in testdata/vectors. It is compressed with gzip, as most
	// of it is zeros, and has to be unpacked first.
	File string `json:"file"`
	// Section of docs/format.md, and the rule of it that the file breaks.
	Section string `json:"section"`
	Rule    string `json:"rule"`
	// Exit is the exit code of `bundle verify --key vectors.pub`.
	Exit int `json:"exit"`
	// StreamExit is that of the same on standard input, where it differs: with
	// the whole file at hand the signatures at its end are judged first, and in
	// one pass last.
	StreamExit int `json:"streamExit,omitempty"`
	// With are the names of vectors to be given behind this one: the other
	// volumes, a base, or a patch. Exit is then for all of them together.
	With []string `json:"with,omitempty"`
	// Size and Digest of the file, unpacked.
	Size   int    `json:"size"`
	Digest string `json:"digest"`

	edit func(*Bundle)
	// file replaces the whole making.
	file func() []byte
}

// Bytes makes the file.
func (v *Vector) Bytes() []byte {
	if v.file != nil {
		return v.file()
	}
	b := New()
	if v.edit != nil {
		v.edit(b)
	}
	return b.Make()
}

// Finish fills in what follows from the bytes, and gives what is to be kept.
func (v *Vector) Finish() ([]byte, error) {
	p := v.Bytes()
	v.Size, v.Digest, v.File = len(p), digestOf(p), v.Name+".tar.zst.gz"
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(p); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Vectors gives all vectors in the order of docs/format.md.
func Vectors() []*Vector {
	var all []*Vector
	for _, section := range []struct {
		name    string
		vectors []Vector
	}{
		{"", wholeVectors()}, {"Members", memberVectors()}, {"Tar headers", headerVectors()}, {"Raw frames", rawVectors()},
		{"Packed blobs", packedVectors()}, {"The seek table", tableVectors()}, {"The index", indexVectors()},
		{"The layout blob", layoutVectors()}, {"The index", contentVectors()}, {"Signatures", signatureVectors()}, {"Limits", limitVectors()}, {"Reading", readingVectors()},
		{"Deltas", deltaVectors()}, {"Volumes", volumeVectors()}, {"Patches", patchVectors()},
	} {
		for _, v := range section.vectors {
			v.Section = section.name
			all = append(all, &v)
		}
	}
	return all
}

// wholeVectors break nothing. A reader that refuses them is wrong.
func wholeVectors() []Vector {
	return []Vector{
		{Name: "ok", Rule: "nothing is broken"},
		{Name: "ok-no-docker-manifest", Rule: "nothing is broken: manifest.json is optional", edit: func(b *Bundle) { b.Docker = nil }},
		{Name: "ok-two-signatures", Rule: "nothing is broken: one of two signatures is of the trusted key", edit: func(b *Bundle) {
			b.OnSignatures = func(index []byte, list [][]byte) [][]byte { return [][]byte{sign(stranger, index), list[0]} }
		}},
		{Name: "ok-empty-blob", Rule: "nothing is broken: a blob may be empty", edit: func(b *Bundle) { b.Files = append(b.Files, b.add(typeLayer, nil)) }},
		{Name: "ok-large-raw-blob", Rule: "nothing is broken: a raw blob of two frames", edit: func(b *Bundle) {
			b.Files = append(b.Files, b.add(typeLayer, make([]byte, frameMax+1)))
		}},
		{Name: "ok-image-index", Rule: "nothing is broken: a platform of an image index was left out", edit: func(b *Bundle) {
			left := Descriptor{MediaType: typeManifest, Digest: digestOf([]byte("left out")), Size: 8, Platform: object2("s390x")}
			here := b.Entries[0]
			here.Annotations, here.Platform = nil, object2("amd64")
			b.image("registry.example/many:1", b.add(typeIndex, encode(Index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []Descriptor{here, left}})), "linux/amd64")
		}},
	}
}

func object2(arch string) map[string]string {
	return map[string]string{"architecture": arch, "os": "linux"}
}

// find gives the place of the first member whose name begins so.
func find(members []*Member, name string) int {
	i := slices.IndexFunc(members, func(m *Member) bool { return strings.HasPrefix(m.Name, name) })
	if i < 0 {
		panic("no member " + name)
	}
	return i
}

// members makes an edit of the list of members.
func members(f func([]*Member) []*Member) func(*Bundle) {
	return func(b *Bundle) { b.OnMembers = f }
}

// at makes an edit of one member, found by how its name begins.
func at(name string, f func(*Member)) func(*Bundle) {
	return members(func(list []*Member) []*Member { f(list[find(list, name)]); return list })
}

// insert makes an edit that puts m before the member whose name begins so.
func insert(before string, m *Member) func(*Bundle) {
	return members(func(list []*Member) []*Member { return slices.Insert(list, find(list, before), m) })
}

// These give names of members that every vector has.
func rawLayer() string {
	return "blobs/sha256/" + digestOf([]byte("stands for a layer that is compressed already"))[7:]
}
func packedLayer() string { return "blobs/sha256/" + digestOf(bytes.Repeat([]byte("p"), 3001))[7:] }
