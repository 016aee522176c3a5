package forge

import (
	"bytes"
	"slices"
)

const typePatch = "application/vnd.bundle.patch.v1+json"

// makePatch makes the patch of a bundle, with the blob that is damaged in
// signature-over-damage.
func makePatch(of *Bundle, f func(p *Bundle, says object)) []byte {
	of.Make()
	p := &Bundle{Name: of.Name, Version: of.Version, Inventory: object{}, Bare: true}
	says := object{}
	put := func(content []byte) string {
		p.Blobs = append(p.Blobs, &Blob{Content: content})
		return digestOf(content)
	}
	says["index"] = put(of.Index)
	if of.Docker != nil {
		says["dockerManifest"] = put(of.Docker)
	}
	put(layoutOf(of))
	says["signatures"] = []string{put(sign(trusted, of.Index))}
	p.Blobs = append(p.Blobs, &Blob{Content: damagedContent(), Packed: true})
	p.OnSignatures = func([]byte, [][]byte) [][]byte { return nil }
	p.OnIndex = func(i *Index) {
		i.Annotations["vnd.bundle.format"], i.Annotations["vnd.bundle.min-reader"] = "2", "2"
	}
	if f != nil {
		f(p, says)
	}
	top := p.add(typePatch, encodePatch(says))
	top.Annotations = map[string]string{"vnd.bundle.kind": "patch"}
	p.Entries = append(p.Entries, top)
	return p.Make()
}

// encodePatch spells what a patch is for, in the order of the format.
func encodePatch(says object) []byte {
	if raw, ok := says["raw"].([]byte); ok {
		return raw
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, k := range []string{"index", "dockerManifest", "delta", "signatures", "more"} {
		if v, ok := says[k]; ok {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + k + `":`)
			b.Write(encode(v))
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

// damagedContent is the blob that signature-over-damage has wrong.
func damagedContent() []byte { return bytes.Repeat([]byte("p"), 3001) }

// layoutOf gives the layout blob of a bundle that was made.
func layoutOf(b *Bundle) []byte {
	var lines []byte
	for i, blob := range b.Blobs {
		if i > 0 {
			lines = append(lines, ',')
		}
		lines = append(lines, blob.listing()...)
	}
	return slices.Concat([]byte(`{"version":1,"blobs":[`), lines, []byte(`]}`))
}

func patchVectors() []Vector {
	// hurt is the bundle that the patches are for, with a blob damaged.
	hurt := func(name, rule string, exit int, patch string) Vector {
		return Vector{Name: name, Rule: rule, Exit: exit, With: []string{patch}, edit: at(packedLayer(), func(m *Member) { m.Packed[0].Data[10] ^= 1 })}
	}
	alone := func(name, rule string, exit int, of func() *Bundle, f func(*Bundle, object)) Vector {
		return Vector{Name: name, Rule: rule, Exit: exit, file: func() []byte { return makePatch(of(), f) }}
	}
	other := func() *Bundle { b := New(); small(b); return b }
	return []Vector{
		hurt("ok-patched", "nothing is broken: a patch beside a damaged bundle has what is damaged", 0, "patch"),
		alone("patch", "a patch alone is signed by nobody", untrusted, New, nil),
		hurt("patch-for-another-beside", "a patch for another bundle mends nothing", damaged, "patch-for-another"),
		alone("patch-for-another", "a patch alone is signed by nobody", untrusted, other, nil),
		hurt("patch-lacking-beside", "a patch without the blob mends nothing", damaged, "patch-lacking"),
		alone("patch-lacking", "a patch alone is signed by nobody", untrusted, New, func(p *Bundle, _ object) {
			p.Blobs = p.Blobs[:len(p.Blobs)-1]
		}),
		hurt("patch-damaged-beside", "blobs of a patch are known by their digests: the same one is damaged", damaged, "patch-damaged"),
		alone("patch-damaged", "a patch alone is signed by nobody", untrusted, New, func(p *Bundle, _ object) {
			p.OnMembers = func(list []*Member) []*Member {
				list[find(list, packedLayer())].Packed[0].Data[10] ^= 1
				return list
			}
		}),
		hurt("patch-behind-beside", "what a patch is for is one JSON document: a brace follows", damaged, "patch-behind"),
		alone("patch-behind", "a patch alone is signed by nobody", untrusted, New, func(_ *Bundle, says object) {
			says["raw"] = append(encodePatch(says), '}')
		}),
		hurt("patch-field-beside", "what a patch is for has four fields: one more", damaged, "patch-field"),
		alone("patch-field", "a patch alone is signed by nobody", untrusted, New, func(_ *Bundle, says object) { says["more"] = 1 }),
	}
}
