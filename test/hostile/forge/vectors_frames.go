package forge

import (
	"bytes"
	"encoding/binary"
	"slices"
)

func packedVectors() []Vector {
	// one changes the only frame of the small packed blob; the layout goes with
	// it, so that only the frame is wrong.
	one := func(f func(content, frame []byte) []byte) func(*Bundle) {
		return func(b *Bundle) {
			blob := b.Blobs[len(b.Blobs)-1]
			blob.Frames = []Frame{frame(f(blob.Content, blob.frames()[0].Data), len(blob.Content))}
		}
	}
	head := func(desc byte, rest ...byte) []byte { return append([]byte{0x28, 0xB5, 0x2F, 0xFD, desc}, rest...) }
	broken := func(name, rule string, f func(content, frame []byte) []byte) Vector {
		return Vector{Name: "packed-" + name, Rule: rule, Exit: damaged, edit: one(f)}
	}
	return []Vector{
		broken("checksum", "a packed frame has no checksum", func(c, f []byte) []byte {
			raw := rawFrame(c, true).Data
			f[4] |= 4
			return append(f, raw[len(raw)-4:]...)
		}),
		broken("window", "a packed frame has Single_Segment set", func(c, f []byte) []byte {
			return packedBlocks(head(0x40, 0x38, byte(len(c)-256), byte((len(c)-256)>>8)), c)
		}),
		broken("dictionary", "a packed frame has no dictionary: one of ID 0 is named", func(c, f []byte) []byte {
			f[4] |= 1
			return slices.Insert(f, 5, 0)
		}),
		broken("reserved-bit", "no reserved bit is set", func(c, f []byte) []byte { f[4] |= 8; return f }),
		broken("unused-bit", "no unused bit is set", func(c, f []byte) []byte { f[4] |= 16; return f }),
		broken("content-size-wide", "no spelling of the content size with eight bytes", func(c, f []byte) []byte {
			return packedBlocks(head(0xE0, binary.LittleEndian.AppendUint64(nil, uint64(len(c)))...), c)
		}),
		broken("content-size-less", "the content size is right: it is one less", func(c, f []byte) []byte { f[5]--; return f }),
		broken("content-size-more", "the content size is right: it is one more", func(c, f []byte) []byte { f[5]++; return f }),
		broken("content-size-bomb", "the content size is right: it says 4 GiB", func(c, f []byte) []byte {
			return packedBlocks(head(0xA0, 0xFF, 0xFF, 0xFF, 0xFF), c)
		}),
		broken("content-size-max", "the content size is right: it says 2^64-1", func(c, f []byte) []byte {
			return packedBlocks(head(0xE0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF), c)
		}),
		broken("bomb", "a frame has the content that it says: its blocks hold 1 GiB in 32 KiB", func(c, f []byte) []byte {
			b := packedHead(uint64(len(c)))
			for range 8192 {
				b = append(appendBlock(b, 1, 128<<10, false), 'p')
			}
			return append(appendBlock(b, 1, len(c), true), 'p')
		}),
		broken("block-reserved", "blocks are Raw, RLE or Compressed", func(c, f []byte) []byte { f[7] |= 6; return f }),
		broken("block-garbage", "a compressed block can be decoded", func(c, f []byte) []byte {
			return append(appendBlock(packedHead(uint64(len(c))), 2, 20, true), bytes.Repeat([]byte{0xFF}, 20)...)
		}),
		broken("block-behind-end", "a block ends inside its frame", func(c, f []byte) []byte {
			return append(appendBlock(packedHead(uint64(len(c))), 0, 100<<10, true), make([]byte, 30)...)
		}),
		broken("not-last", "the last block of a frame has its bit set", func(c, f []byte) []byte { f[7] &^= 1; return f }),
		broken("bytes-behind", "a frame has exactly the length that frames gives", func(c, f []byte) []byte { return append(f, 0) }),
		broken("skippable-behind", "one frame, and no skippable one with it", func(c, f []byte) []byte { return append(f, 0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0) }),
		broken("two-frames", "one frame for each MiB: two for less", func(c, f []byte) []byte {
			return append(packedFrame(c[:1000]).Data, packedFrame(c[1000:]).Data...)
		}),
		broken("raw-frame", "a packed frame is none with a window: a raw frame", func(c, f []byte) []byte { return rawFrame(c, false).Data }),
		broken("short", "the content is as long as the layout says", func(c, f []byte) []byte { return packedFrame(c[1:]).Data }),
		broken("long", "the content is as long as the layout says", func(c, f []byte) []byte { return packedFrame(append([]byte("p"), c...)).Data }),
		broken("other-content", "the content has the blob's digest", func(c, f []byte) []byte { return packedFrame(bytes.Repeat([]byte("q"), len(c))).Data }),
		{Name: "packed-other-encoding", Rule: "packed pins how the content was compressed: two runs begin elsewhere", Exit: damaged, edit: func(b *Bundle) {
			runs := func(c []byte, first int) []Frame {
				f := append(appendBlock(packedHead(uint64(len(c))), 1, first, false), c[0])
				return []Frame{frame(append(appendBlock(f, 1, len(c)-first, true), c[0]), len(c))}
			}
			blob := b.Blobs[len(b.Blobs)-1]
			blob.Frames = runs(blob.Content, 1000)
			at(packedLayer(), func(m *Member) { m.Packed = runs(m.Content, 2000) })(b)
		}},
		{Name: "packed-small-frames", Rule: "frames have 1 MiB of content each: they have half", Exit: damaged, edit: func(b *Bundle) {
			blob := b.Blobs[0]
			for at := 0; at < len(blob.Content); at += packMax / 2 {
				blob.Frames = append(blob.Frames, packedFrame(blob.Content[at:min(at+packMax/2, len(blob.Content))]))
			}
		}},
		{Name: "packed-large-frame", Rule: "frames have 1 MiB of content each: one has more", Exit: damaged, edit: func(b *Bundle) {
			blob := b.Blobs[0]
			c := blob.Content
			blob.Frames = []Frame{packedFrame(c[:packMax+512]), packedFrame(c[packMax+512:])}
		}},
		{Name: "packed-frames-swapped", Rule: "the content has the blob's digest: its frames are in another order", Exit: damaged, edit: func(b *Bundle) {
			blob := b.Blobs[0]
			c := blob.Content
			blob.Frames = []Frame{packedFrame(append(bytes.Clone(c[512:packMax]), c[:512]...)), packedFrame(c[packMax:])}
		}},
		{Name: "packed-header-with-content", Rule: "the header of a packed blob is in a raw frame of its own", Exit: damaged, edit: at(packedLayer(), func(m *Member) {
			m.Frames = []Frame{packedFrame(append(bytes.Clone(m.Header), m.Content...)), rawFrame(m.Padding, false)}
		})},
		{Name: "packed-header-checksum", Rule: "the header's frame has no checksum", Exit: damaged, edit: at(packedLayer(), func(m *Member) {
			m.Frames = append([]Frame{rawFrame(m.Header, true)}, m.frames()[1:]...)
		})},
		{Name: "packed-padding-missing", Rule: "the padding is a raw frame", Exit: damaged, edit: at(packedLayer(), func(m *Member) { m.Padding = nil })},
		{Name: "packed-padding-compressed", Rule: "the padding is a raw frame: it is compressed", Exit: damaged, edit: at(packedLayer(), func(m *Member) {
			list := m.frames()
			list[len(list)-1] = packedFrame(m.Padding)
			m.Frames = list
		})},
		{Name: "packed-empty-blob", Rule: "an empty blob is never packed", Exit: damaged, edit: func(b *Bundle) {
			b.Files = append(b.Files, describe(typeLayer, nil))
			b.Blobs = append(b.Blobs, &Blob{Packed: true, Frames: []Frame{}})
		}},
	}
}

func tableVectors() []Vector {
	table := func(f func([]byte) []byte) func(*Bundle) { return func(b *Bundle) { b.OnTable = f } }
	frames := func(f func([]Frame) []Frame) func(*Bundle) { return func(b *Bundle) { b.OnFrames = f } }
	footer := func(n uint32) func(*Bundle) {
		return table(func(p []byte) []byte { binary.LittleEndian.PutUint32(p[len(p)-9:], n); return p })
	}
	count := func(p []byte) uint32 { return binary.LittleEndian.Uint32(p[len(p)-9:]) }
	return []Vector{
		{Name: "table-missing", Rule: "the file ends with a seek table", Exit: damaged, edit: table(func([]byte) []byte { return nil })},
		{Name: "table-twice", Rule: "there is one seek table", Exit: damaged, edit: table(func(p []byte) []byte { return append(bytes.Clone(p), p...) })},
		{Name: "table-magic", Rule: "the table's frame begins with 5E 2A 4D 18", Exit: damaged, edit: table(func(p []byte) []byte { p[0] = 0x50; return p })},
		{Name: "table-footer-magic", Rule: "the table ends with B1 EA 92 8F", Exit: damaged, edit: table(func(p []byte) []byte { p[len(p)-1] ^= 1; return p })},
		{Name: "table-checksums", Rule: "the descriptor is 0: it promises checksums", Exit: damaged, edit: table(func(p []byte) []byte { p[len(p)-5] = 0x80; return p })},
		{Name: "table-checksums-there", Rule: "the table has no checksums: it has", Exit: damaged, edit: table(func(p []byte) []byte {
			n := count(p)
			out := append(bytes.Clone(p[:4]), binary.LittleEndian.AppendUint32(nil, 12*n+9)...)
			for i := range n {
				out = append(append(out, p[8+8*i:16+8*i]...), 0, 0, 0, 0)
			}
			out = append(out, p[len(p)-9:]...)
			out[len(out)-5] = 0x80
			return out
		})},
		{Name: "table-reserved-bits", Rule: "the descriptor is 0: reserved bits are set", Exit: damaged, edit: table(func(p []byte) []byte { p[len(p)-5] = 0x04; return p })},
		{Name: "table-size-lies", Rule: "the table's frame is 8 bytes for each data frame and 9", Exit: damaged, edit: table(func(p []byte) []byte { p[4]++; return p })},
		{Name: "table-no-frames", Rule: "the number of frames is right: none", Exit: damaged, edit: footer(0)},
		{Name: "table-one-frame", Rule: "the number of frames is right: 1", Exit: damaged, edit: footer(1)},
		{Name: "table-frames-max", Rule: "the number of frames is right: 2^32-1", Exit: damaged, edit: footer(1<<32 - 1)},
		{Name: "table-frames-overflow", Rule: "the number of frames is right: 2^29, whose entries are 4 GiB", Exit: damaged, edit: footer(1 << 29)},
		{Name: "table-frames-more", Rule: "the number of frames is right: one more, header and entries too", Exit: damaged, edit: frames(func(f []Frame) []Frame {
			return slices.Insert(f, 3, Frame{})
		})},
		{Name: "table-entry-missing", Rule: "every frame is listed", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Hidden = true; return f })},
		{Name: "table-entry-larger", Rule: "an entry is the length of its frame: frames would overlap", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Encoded++; return f })},
		{Name: "table-entry-smaller", Rule: "an entry is the length of its frame: there would be a gap", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Encoded--; return f })},
		{Name: "table-entries-shifted", Rule: "an entry is the length of its frame: two lie, and their sum does not", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Encoded++; f[5].Encoded--; return f })},
		{Name: "table-entry-huge", Rule: "an entry is the length of its frame: 4 GiB less one", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Encoded = 1<<32 - 1; return f })},
		{Name: "table-decoded-lies", Rule: "an entry is the length of its content", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Decoded += 512; return f })},
		{Name: "table-decoded-zero", Rule: "an entry is the length of its content: 0", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[4].Decoded = 0; return f })},
		{Name: "table-decoded-bomb", Rule: "an entry is the length of its content: 4 GiB less one in each", Exit: damaged, edit: frames(func(f []Frame) []Frame {
			for i := range f {
				f[i].Decoded = 1<<32 - 1
			}
			return f
		})},
		{Name: "table-last-entry", Rule: "the last entry is the end of the tar", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[len(f)-1].Encoded++; return f })},
		{Name: "table-signature-huge", Rule: "an entry is the length of its frame: that of the signature is more than the file", Exit: damaged, edit: frames(func(f []Frame) []Frame { f[len(f)-2].Encoded = 1 << 31; return f })},
		{Name: "table-order", Rule: "frames are listed in order", Exit: damaged, edit: frames(func(f []Frame) []Frame {
			a, b := &f[4], &f[1]
			a.Encoded, a.Decoded, b.Encoded, b.Decoded = b.Encoded, b.Decoded, a.Encoded, a.Decoded
			return f
		})},
		{Name: "table-lists-itself", Rule: "the seek table does not list itself", Exit: damaged, edit: table(func(p []byte) []byte {
			n := count(p)
			entry := binary.LittleEndian.AppendUint32(nil, uint32(len(p)+8))
			p = slices.Insert(p, len(p)-9, append(entry, 0, 0, 0, 0)...)
			binary.LittleEndian.PutUint32(p[4:], 8*(n+1)+9)
			binary.LittleEndian.PutUint32(p[len(p)-9:], n+1)
			return p
		})},
		{Name: "table-cut", Rule: "the seek table is whole", Exit: damaged, edit: table(func(p []byte) []byte { return slices.Delete(p, 8, 16) })},
	}
}

func readingVectors() []Vector {
	file := func(f func([]byte) []byte) func(*Bundle) { return func(b *Bundle) { b.OnFile = f } }
	return []Vector{
		{Name: "file-empty", Rule: "what does not begin as a bundle is none: an empty file", Exit: damaged, file: func() []byte { return nil }},
		{Name: "file-text", Rule: "what does not begin as a bundle is none: text", Exit: damaged, file: func() []byte { return bytes.Repeat([]byte("no bundle\n"), 300) }},
		{Name: "file-zeros", Rule: "what does not begin as a bundle is none: zeros", Exit: damaged, file: func() []byte { return make([]byte, 8192) }},
		{Name: "file-byte-behind", Rule: "bytes behind the seek table are damage", Exit: damaged, edit: file(func(p []byte) []byte { return append(p, 0) })},
		{Name: "file-skippable-behind", Rule: "bytes behind the seek table are damage: a skippable frame", Exit: damaged, edit: file(func(p []byte) []byte { return append(p, 0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0) })},
		{Name: "file-zip-behind", Rule: "bytes behind the seek table are damage: a zip file, which would be both", Exit: damaged, edit: file(func(p []byte) []byte {
			return append(p, append([]byte("PK\x05\x06"), make([]byte, 18)...)...)
		})},
		{Name: "file-bundle-behind", Rule: "bytes behind the seek table are damage: the bundle once more", Exit: damaged, edit: file(func(p []byte) []byte { return append(bytes.Clone(p), p...) })},
		{Name: "file-skippable-before", Rule: "bytes before the first frame are damage", Exit: damaged, edit: file(func(p []byte) []byte { return append([]byte{0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0}, p...) })},
		{Name: "file-cut-front", Rule: "the file is whole: its first byte is missing", Exit: damaged, edit: file(func(p []byte) []byte { return p[1:] })},
		{Name: "file-cut-middle", Rule: "the file is whole: it ends in a blob", Exit: damaged, edit: file(func(p []byte) []byte { return p[:len(p)/2] })},
		{Name: "file-cut-hole", Rule: "the file is whole: 512 bytes are missing in its middle", Exit: damaged, edit: file(func(p []byte) []byte { return slices.Delete(p, len(p)/2, len(p)/2+512) })},
		{Name: "file-cut-end", Rule: "the file is whole: its last byte is missing", Exit: damaged, edit: file(func(p []byte) []byte { return p[:len(p)-1] })},
		{Name: "file-flip", Rule: "the content has the blob's digest: one bit of a layer differs", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Content[7] ^= 1 })},
	}
}
