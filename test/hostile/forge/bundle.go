package forge

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Blob is one blob and how it is stored.
type Blob struct {
	Content []byte
	Packed  bool

	// These replace what follows from Content, if they are set.
	Digest  string
	Size    int64
	Frames  []Frame // of a packed blob's content
	Listing string  // in the layout
}

func (b *Blob) digest() string {
	if b.Digest != "" {
		return b.Digest
	}
	return digestOf(b.Content)
}

func (b *Blob) size() int64 {
	if b.Size != 0 {
		return b.Size
	}
	return int64(len(b.Content))
}

func (b *Blob) frames() []Frame {
	if b.Frames != nil {
		return b.Frames
	}
	var list []Frame
	for at := 0; at < len(b.Content); at += packMax {
		list = append(list, packedFrame(b.Content[at:min(at+packMax, len(b.Content))]))
	}
	return list
}

// listing is the blob's entry in the layout.
func (b *Blob) listing() string {
	if b.Listing != "" {
		return b.Listing
	}
	s := fmt.Sprintf(`{"digest":"%s","size":%d`, b.digest(), b.size())
	if b.Packed {
		var lens []string
		var all []byte
		for _, f := range b.frames() {
			lens = append(lens, fmt.Sprint(len(f.Data)))
			all = append(all, f.Data...)
		}
		s += fmt.Sprintf(`,"frames":[%s],"packed":"%s"`, strings.Join(lens, ","), digestOf(all))
	}
	return s + "}"
}

// Member is one file of the tar, taken apart so that any part can be wrong.
type Member struct {
	Name     string
	Header   []byte
	Content  []byte
	Padding  []byte
	Checksum bool
	Packed   []Frame // nil for a raw member
	// Frames replaces the frames of the whole member.
	Frames []Frame
}

func member(name string, content []byte, checksum bool) *Member {
	return &Member{Name: name, Header: header(name, int64(len(content))), Content: content,
		Padding: make([]byte, padding(int64(len(content)))), Checksum: checksum}
}

// stream is the member's part of the tar.
func (m *Member) stream() []byte {
	return slices.Concat(m.Header, m.Content, m.Padding)
}

func (m *Member) frames() []Frame {
	switch {
	case m.Frames != nil:
		return m.Frames
	case m.Packed == nil:
		return rawFrames(m.stream(), m.Checksum)
	}
	list := append([]Frame{rawFrame(m.Header, false)}, m.Packed...)
	if len(m.Padding) > 0 {
		list = append(list, rawFrame(m.Padding, false))
	}
	return list
}

// Bundle is a bundle in the making. A vector changes it at one of its stages;
// what comes after follows from it.
type Bundle struct {
	Name, Version string
	// Content.
	Inventory object
	Files     []Descriptor // layers of the root file system
	Docker    []byte       // nil for none
	Blobs     []*Blob      // in the order of the file
	Entries   []Descriptor // of index.json, without the layout's
	// Bare leaves out the bundle's manifest and inventory, as a patch does.
	Bare bool
	// Delta, if set, gives delta.json, and Left the digests of blobs whose
	// members are not in the file.
	Delta func(digests []string) []byte
	Left  map[string]bool

	// Index, Body and Tail are what was made: index.json, where the first blob
	// begins and where the signatures do. Ends are where the blobs end.
	Index      []byte
	Body, Tail int64
	Ends       []int64

	// Stages: each may change, or replace, what it is given.
	OnLayout     func([]byte) []byte
	OnIndex      func(*Index)
	OnIndexBytes func([]byte) []byte
	OnSignatures func(index []byte, signatures [][]byte) [][]byte
	OnMembers    func([]*Member) []*Member
	OnFrames     func([]Frame) []Frame
	OnTable      func([]byte) []byte
	OnFile       func([]byte) []byte
}

// New makes a bundle that breaks no rule: an image with a raw and a packed
// layer, and a root file system.
func New() *Bundle {
	b := &Bundle{Name: "vectors", Version: "1.0.0"}
	files := layerTar()
	b.Files = []Descriptor{describe(typeLayer, files)}
	b.Blobs = append(b.Blobs, &Blob{Content: files, Packed: true})

	raw, packed := []byte("stands for a layer that is compressed already"), bytes.Repeat([]byte("p"), 3001)
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	manifest := encode(Manifest{SchemaVersion: 2, MediaType: typeManifest, Config: describe(typeConfig, config),
		Layers: []Descriptor{describe(typeLayerGzip, raw), describe(typeLayer, packed)}})
	b.Blobs = append(b.Blobs, &Blob{Content: manifest}, &Blob{Content: config}, &Blob{Content: raw}, &Blob{Content: packed, Packed: true})
	b.Docker = encode([]object{{"Config": "blobs/sha256/" + digestOf(config)[7:], "RepoTags": []string{imageName},
		"Layers": []string{"blobs/sha256/" + digestOf(raw)[7:], "blobs/sha256/" + digestOf(packed)[7:]}}})
	b.Inventory = object{"schemaVersion": 1, "name": b.Name, "version": b.Version, "platforms": []string{"linux/amd64"},
		"images": []object{{"name": imageName, "digest": digestOf(manifest), "mediaType": typeManifest, "platforms": []string{"linux/amd64"},
			"size": len(manifest) + len(config) + len(raw) + len(packed), "neededBy": []string{"imageList:1"}}},
		"files": []object{{"path": "etc/zeros", "type": "file", "mode": 0o644, "size": 1<<20 + 70<<10, "digest": digestOf(make([]byte, 1<<20+70<<10))}}}
	b.entry(describe(typeManifest, manifest), "image", imageName)
	return b
}

// imageName is the image that is in every vector.
const imageName = "registry.example/app:1"

// entry lists d in index.json.
func (b *Bundle) entry(d Descriptor, kind, ref string) {
	d.Annotations = map[string]string{"vnd.bundle.kind": kind, "vnd.bundle.ref": ref}
	if kind == "image" {
		d.Annotations["org.opencontainers.image.ref.name"] = ref
		d.Annotations["io.containerd.image.name"] = ref
	}
	b.Entries = append(b.Entries, d)
}

// add stores a blob and names it.
func (b *Bundle) add(mediaType string, content []byte) Descriptor {
	b.Blobs = append(b.Blobs, &Blob{Content: content})
	return describe(mediaType, content)
}

// image adds an image, in the inventory too.
func (b *Bundle) image(ref string, d Descriptor, platforms ...string) {
	b.entry(d, "image", ref)
	if platforms == nil {
		platforms = []string{}
	}
	b.Inventory["images"] = append(b.Inventory["images"].([]object), object{"name": ref, "digest": d.Digest, "mediaType": d.MediaType,
		"platforms": platforms, "size": d.Size, "neededBy": []string{"imageList:2"}})
}

// Make gives the file.
func (b *Bundle) Make() []byte {
	inventory := encode(b.Inventory)
	bundle := encode(Manifest{SchemaVersion: 2, MediaType: typeManifest, ArtifactType: "application/vnd.bundle.v1",
		Config: describe(typeInventory, inventory), Layers: b.Files})
	if !b.Bare {
		b.Blobs = append([]*Blob{{Content: bundle}, {Content: inventory}}, b.Blobs...)
		b.entry(describe(typeManifest, bundle), "bundle", "bundle/"+b.Name+":"+b.Version)
	}

	var lines, digests []string
	for _, blob := range b.Blobs {
		lines = append(lines, blob.listing())
		digests = append(digests, blob.digest())
	}
	layout := []byte(`{"version":1,"blobs":[` + strings.Join(lines, ",") + `]}`)
	if b.OnLayout != nil {
		layout = b.OnLayout(layout)
	}
	index := &Index{SchemaVersion: 2, MediaType: typeIndex, Annotations: map[string]string{
		"vnd.bundle.format": "1", "vnd.bundle.min-reader": "1", "vnd.bundle.name": b.Name, "vnd.bundle.version": b.Version}}
	first := describe(typeLayout, layout)
	first.Annotations = map[string]string{"vnd.bundle.kind": "layout"}
	index.Manifests = append([]Descriptor{first}, b.Entries...)
	if b.Docker != nil {
		index.Annotations["vnd.bundle.docker-manifest"] = digestOf(b.Docker)
	}
	var delta []byte
	if b.Delta != nil {
		delta = b.Delta(digests)
		index.Annotations["vnd.bundle.format"], index.Annotations["vnd.bundle.min-reader"] = "2", "2"
		index.Annotations["vnd.bundle.delta"] = digestOf(delta)
	}
	if b.OnIndex != nil {
		b.OnIndex(index)
	}
	indexBytes := encode(index)
	if b.OnIndexBytes != nil {
		indexBytes = b.OnIndexBytes(indexBytes)
	}
	b.Index = indexBytes
	signatures := [][]byte{sign(trusted, indexBytes)}
	if b.OnSignatures != nil {
		signatures = b.OnSignatures(indexBytes, signatures)
	}

	members := []*Member{member("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), true), member("index.json", indexBytes, true)}
	if b.Docker != nil {
		members = append(members, member("manifest.json", b.Docker, true))
	}
	members = append(members, member("blobs/sha256/"+digestOf(layout)[7:], layout, false))
	if delta != nil {
		members = append(members, member("delta.json", delta, true))
	}
	begin := len(members)
	for i, blob := range b.Blobs {
		if !b.Left[digests[i]] {
			members = append(members, blob.member())
		}
	}
	end := len(members)
	for i, s := range signatures {
		members = append(members, member(fmt.Sprintf("signatures/%d.sigstore.json", i+1), s, true))
	}
	members = append(members, &Member{Name: "end", Content: make([]byte, 1024), Checksum: true})
	if b.OnMembers != nil {
		members = b.OnMembers(members)
	}

	var frames []Frame
	pos := int64(0)
	for i, m := range members {
		if i == begin {
			b.Body = pos
		}
		for _, f := range m.frames() {
			frames = append(frames, f)
			pos += int64(len(f.Data))
		}
		if i >= begin && i < end {
			b.Ends = append(b.Ends, pos)
			b.Tail = pos
		}
	}
	if b.OnFrames != nil {
		frames = b.OnFrames(frames)
	}
	table := seekTable(frames)
	if b.OnTable != nil {
		table = b.OnTable(table)
	}
	var file []byte
	for _, f := range frames {
		file = append(file, f.Data...)
	}
	file = append(file, table...)
	if b.OnFile != nil {
		file = b.OnFile(file)
	}
	return file
}

func (b *Blob) member() *Member {
	name := "blobs/sha256/" + strings.TrimPrefix(b.digest(), "sha256:")
	m := &Member{Name: name, Header: header(name, b.size()), Content: b.Content, Padding: make([]byte, padding(b.size()))}
	if b.Packed {
		m.Packed = b.frames()
	}
	return m
}
