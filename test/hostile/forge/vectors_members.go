package forge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Exit codes of docs/cli.md.
const (
	usage      = 2
	damaged    = 3
	untrusted  = 4
	incomplete = 5
)

func link(name string, kind byte, target string) *Member {
	m := member(name, nil, true)
	m.Header[156] = kind
	copy(m.Header[157:], target)
	resum(m.Header)
	return m
}

func memberVectors() []Vector {
	swap := func(a, b string) func(*Bundle) {
		return members(func(list []*Member) []*Member {
			i, j := find(list, a), find(list, b)
			list[i], list[j] = list[j], list[i]
			return list
		})
	}
	twice := func(name string) func(*Bundle) {
		return members(func(list []*Member) []*Member {
			i := find(list, name)
			return slices.Insert(list, i, list[i])
		})
	}
	drop := func(name string) func(*Bundle) {
		return members(func(list []*Member) []*Member {
			i := find(list, name)
			return slices.Delete(list, i, i+1)
		})
	}
	extra := func(name string) func(*Bundle) { return insert("signatures/", member(name, []byte("x"), false)) }
	rename := func(to string) func(*Bundle) {
		return at(rawLayer(), func(m *Member) { m.Header = header(to, int64(len(m.Content))) })
	}
	renamedSignature := func(name string) func(*Bundle) {
		return at("signatures/1", func(m *Member) { m.Header = header(name, int64(len(m.Content))) })
	}
	return []Vector{
		{Name: "members-extra-file", Rule: "nothing else: a file that nothing lists", Exit: damaged, edit: extra("README")},
		{Name: "members-extra-traversal", Rule: "nothing else: a file that would be unpacked outside, ../../../tmp/escaped", Exit: damaged, edit: extra("../../../tmp/bundle-vector-escaped")},
		{Name: "members-extra-absolute", Rule: "nothing else: a file with an absolute name", Exit: damaged, edit: extra("/tmp/bundle-vector-escaped")},
		{Name: "members-extra-folder", Rule: "nothing else: members have no folders of their own", Exit: damaged, edit: insert("blobs/", link("blobs/", '5', ""))},
		{Name: "members-extra-symlink", Rule: "nothing else: a symbolic link to /etc", Exit: damaged, edit: insert("signatures/", link("etc", '2', "/etc"))},
		{Name: "members-symlink-then-file", Rule: "nothing else: blobs is a symbolic link, so that blobs would be unpacked elsewhere", Exit: damaged, edit: insert("blobs/", link("blobs", '2', "/tmp"))},
		{Name: "members-extra-hardlink", Rule: "nothing else: a hard link to /etc/passwd", Exit: damaged, edit: insert("signatures/", link("passwd", '1', "/etc/passwd"))},
		{Name: "members-extra-device", Rule: "nothing else: a device", Exit: damaged, edit: insert("signatures/", link("null", '3', ""))},
		{Name: "members-extra-gnu-longname", Rule: "nothing else: a long name in GNU's way, which would rename the blob behind it", Exit: damaged, edit: func(b *Bundle) {
			m := member("././@LongLink", []byte("../../../tmp/bundle-vector-escaped\x00"), false)
			m.Header[156] = 'L'
			resum(m.Header)
			insert(rawLayer(), m)(b)
		}},
		{Name: "members-extra-global-pax", Rule: "nothing else: a global pax header", Exit: damaged, edit: func(b *Bundle) {
			m := member("pax_global_header", []byte("27 path=../../tmp/escaped\n\n"), false)
			m.Header[156] = 'g'
			resum(m.Header)
			insert(rawLayer(), m)(b)
		}},
		{Name: "members-unlisted-blob", Rule: "only the blobs that the layout lists", Exit: damaged, edit: func(b *Bundle) {
			extra("blobs/sha256/" + digestOf([]byte("x"))[7:])(b)
		}},
		{Name: "members-blob-traversal", Rule: "a blob is named blobs/sha256/HEX", Exit: damaged, edit: rename("blobs/sha256/../../../../tmp/bundle-vector-escaped")},
		{Name: "members-blob-uppercase", Rule: "HEX is lower-case", Exit: damaged, edit: rename("blobs/sha256/" + strings.ToUpper(rawLayer()[len("blobs/sha256/"):]))},
		{Name: "members-blob-dot", Rule: "a member has one spelling of its name, without ./", Exit: damaged, edit: rename("./" + rawLayer())},
		{Name: "members-blob-sha512", Rule: "only sha256 is used", Exit: damaged, edit: rename(strings.Replace(rawLayer(), "sha256", "sha512", 1))},
		{Name: "members-blob-missing", Rule: "every blob that the layout lists is there", Exit: damaged, edit: drop(rawLayer())},
		{Name: "members-blob-twice", Rule: "every member once: a blob twice", Exit: damaged, edit: twice(rawLayer())},
		{Name: "members-index-twice", Rule: "every member once: index.json twice", Exit: damaged, edit: twice("index.json")},
		{Name: "members-index-hidden", Rule: "every member once: another index.json behind the blobs, which tar would unpack over the first", Exit: damaged,
			edit: insert("signatures/", member("index.json", []byte(`{"schemaVersion":2,"manifests":[]}`), true))},
		{Name: "members-oci-layout-twice", Rule: "every member once: oci-layout twice", Exit: damaged, edit: twice("oci-layout")},
		{Name: "members-oci-layout-missing", Rule: "oci-layout comes first", Exit: damaged, edit: drop("oci-layout")},
		{Name: "members-oci-layout-other", Rule: "oci-layout has one content", Exit: damaged, edit: at("oci-layout", func(m *Member) { m.Content = []byte(`{"imageLayoutVersion":"1.0.1"}`) })},
		{Name: "members-oci-layout-later", Rule: "in exactly this order: oci-layout behind index.json", Exit: damaged, edit: swap("oci-layout", "index.json")},
		{Name: "members-index-later", Rule: "in exactly this order: manifest.json before index.json", Exit: damaged, edit: swap("index.json", "manifest.json")},
		{Name: "members-layout-later", Rule: "in exactly this order: the layout blob behind a blob", Exit: damaged, edit: members(func(list []*Member) []*Member {
			i := find(list, "blobs/")
			list[i], list[i+1] = list[i+1], list[i]
			return list
		})},
		{Name: "members-docker-manifest-later", Rule: "in exactly this order: manifest.json behind the layout blob", Exit: damaged, edit: swap("manifest.json", "blobs/")},
		{Name: "members-blobs-swapped", Rule: "blobs are in the order of the layout", Exit: damaged, edit: swap(rawLayer(), packedLayer())},
		{Name: "members-signature-early", Rule: "in exactly this order: a signature before the blobs", Exit: untrusted, StreamExit: damaged, edit: members(func(list []*Member) []*Member {
			i := find(list, "signatures/")
			m := list[i]
			return slices.Insert(slices.Delete(list, i, i+1), find(list, "blobs/"), m)
		})},
		{Name: "members-docker-manifest-unannounced", Rule: "manifest.json is there exactly if index.json says so: it is, and the index does not", Exit: damaged,
			edit: func(b *Bundle) { b.OnIndex = func(i *Index) { delete(i.Annotations, "vnd.bundle.docker-manifest") } }},
		{Name: "members-docker-manifest-missing", Rule: "manifest.json is there exactly if index.json says so: the index does, and it is not", Exit: damaged, edit: drop("manifest.json")},
		{Name: "members-docker-manifest-other", Rule: "the annotation of index.json is the digest of manifest.json", Exit: damaged,
			edit: at("manifest.json", func(m *Member) { m.Content = bytes.Replace(m.Content, []byte("app:1"), []byte("app:2"), 1) })},
		{Name: "members-signature-from-2", Rule: "signatures are numbered from 1", Exit: damaged, edit: renamedSignature("signatures/2.sigstore.json")},
		{Name: "members-signature-zero", Rule: "signatures are numbered from 1", Exit: damaged, edit: renamedSignature("signatures/0.sigstore.json")},
		{Name: "members-signature-leading-zero", Rule: "a number has one spelling", Exit: damaged, edit: renamedSignature("signatures/01.sigstore.json")},
		{Name: "members-signature-traversal", Rule: "a signature is named signatures/N.sigstore.json", Exit: damaged, edit: renamedSignature("signatures/../1.sigstore.json")},
		{Name: "members-signature-gap", Rule: "signatures are numbered without gaps", Exit: damaged, edit: members(func(list []*Member) []*Member {
			return slices.Insert(list, len(list)-1, member("signatures/3.sigstore.json", list[find(list, "signatures/1")].Content, true))
		})},
		{Name: "members-signature-twice", Rule: "every member once: a signature twice", Exit: damaged, edit: twice("signatures/1")},
		{Name: "members-end-missing", Rule: "1024 zero bytes end the tar", Exit: damaged, edit: drop("end")},
		{Name: "members-end-short", Rule: "1024 zero bytes end the tar: 512", Exit: damaged, edit: at("end", func(m *Member) { m.Content = m.Content[:512] })},
		{Name: "members-end-long", Rule: "1024 zero bytes end the tar: 10240", Exit: damaged, edit: at("end", func(m *Member) { m.Content = make([]byte, 10240) })},
		{Name: "members-end-not-zero", Rule: "1024 zero bytes end the tar: one is not", Exit: damaged, edit: at("end", func(m *Member) { m.Content[600] = 1 })},
		{Name: "members-second-tar", Rule: "nothing else: another tar behind the end, which a tar that ignores zeros would unpack", Exit: damaged, edit: members(func(list []*Member) []*Member {
			end := list[len(list)-1]
			return append(list, member("index.json", []byte("{}"), true), end)
		})},
	}
}

func headerVectors() []Vector {
	// set changes the header of the raw layer.
	set := func(off int, p string) func(*Bundle) {
		return at(rawLayer(), func(m *Member) { copy(m.Header[off:], p); resum(m.Header) })
	}
	field := func(name, what string, off int, p string) Vector {
		return Vector{Name: "header-" + name, Rule: "every field has one value: " + what, Exit: damaged, edit: set(off, p)}
	}
	return []Vector{
		field("mode", "mode 0000755", 100, "0000755"),
		field("mode-setuid", "mode 0004644", 100, "0004644"),
		field("uid", "uid 1", 108, "0000001"),
		field("gid", "gid 1", 116, "0000001"),
		field("mtime", "mtime 1", 136, "00000000001"),
		field("mtime-spelling", "mtime 0 in GNU's binary spelling", 136, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		field("size-larger", "a size that is larger than the content", 124, "00000000756"),
		field("size-smaller", "a size that is smaller than the content", 124, "00000000001"),
		field("size-base256", "the size in binary", 124, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x2d"),
		field("size-space", "the size ended with a space", 124, "00000000055 "),
		field("size-short", "the size with fewer digits", 124, "0000000055\x00\x00"),
		field("type-old", "type NUL in place of 0", 156, "\x00"),
		field("type-symlink", "a blob that is a symbolic link", 156, "2"),
		field("type-contiguous", "type 7", 156, "7"),
		field("linkname", "a name of a link", 157, "/etc/passwd"),
		field("magic-gnu", "GNU's magic", 257, "ustar  \x00"),
		field("uname", "a name of a user", 265, "root"),
		field("gname", "a name of a group", 297, "root"),
		field("devmajor", "device 1", 329, "0000001"),
		field("prefix", "a prefix, which goes before the name", 345, ".."),
		field("reserved", "a byte in what is reserved", 511, "x"),
		field("name-tail", "bytes behind the name's NUL", 90, "x"),
		{Name: "header-checksum", Rule: "the checksum is the sum of the header", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Header[153] ^= 1 })},
		{Name: "header-checksum-spelling", Rule: "the checksum ends in NUL and space", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Header[154], m.Header[155] = ' ', 0 })},
		{Name: "header-index-mode", Rule: "every field has one value: mode of index.json", Exit: damaged, edit: at("index.json", func(m *Member) { copy(m.Header[100:], "0000600"); resum(m.Header) })},
		{Name: "header-signature-mtime", Rule: "every field has one value: mtime of a signature", Exit: damaged, edit: at("signatures/", func(m *Member) { copy(m.Header[136:], "00000000001"); resum(m.Header) })},
		{Name: "header-packed-uid", Rule: "every field has one value: uid of a packed blob", Exit: damaged, edit: at(packedLayer(), func(m *Member) { copy(m.Header[108:], "0000001"); resum(m.Header) })},
		{Name: "header-pax-needless", Rule: "a blob of less than 8 GiB has no pax header", Exit: damaged, edit: at(rawLayer(), func(m *Member) {
			m.Header = append(pax(m.Name, fmt.Sprintf("size=%d", len(m.Content))), m.Header...)
		})},
		{Name: "header-pax-path", Rule: "a pax header has one record, the size: one has a path", Exit: damaged, edit: at(rawLayer(), func(m *Member) {
			m.Header = append(pax(m.Name, "path=../../../tmp/bundle-vector-escaped"), m.Header...)
		})},
		{Name: "header-pax-missing", Rule: "a blob of 8 GiB has a pax header", Exit: damaged, edit: huge(func(m *Member) { m.Header = ustar(m.Name, 0, '0') })},
		{Name: "header-pax-size", Rule: "the record of a pax header is the size", Exit: damaged, edit: huge(func(m *Member) { m.Header = append(pax(m.Name, "size=8589934593"), ustar(m.Name, 0, '0')...) })},
		{Name: "header-pax-name", Rule: "a pax header has its own name", Exit: damaged, edit: huge(func(m *Member) {
			h := ustar("PaxHeaders.0/x", 19, 'x')
			copy(m.Header, h)
		})},
		{Name: "header-pax-ustar-size", Rule: "behind a pax header the size field is zero", Exit: damaged, edit: huge(func(m *Member) { copy(m.Header[1024:], ustar(m.Name, 1<<32, '0')) })},
		{Name: "header-padding", Rule: "padding is zero", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Padding[100] = 1 })},
		{Name: "header-padding-index", Rule: "padding is zero: of index.json", Exit: damaged, edit: at("index.json", func(m *Member) { m.Padding[0] = 1 })},
		{Name: "header-padding-signature", Rule: "padding is zero: of a signature", Exit: damaged, edit: at("signatures/", func(m *Member) { m.Padding[0] = 1 })},
		{Name: "header-padding-packed", Rule: "padding is zero: of a packed blob", Exit: damaged, edit: at(packedLayer(), func(m *Member) { m.Padding[0] = 1 })},
		{Name: "header-padding-missing", Rule: "padding goes to the next multiple of 512", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Padding = nil })},
		{Name: "header-padding-long", Rule: "padding goes to the next multiple of 512, no further", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Padding = append(m.Padding, make([]byte, 512)...) })},
	}
}

// hugeDigest is the SHA-256 of 8 GiB of zeros.
const hugeDigest = "sha256:ebfb4ef19ae410f190327b5ebd312711263bc7579970e87d9c1e2d84e06b3c25"

// huge makes an edit that adds a packed blob of 8 GiB of zeros and then changes
// its member.
func huge(f func(*Member)) func(*Bundle) {
	return func(b *Bundle) {
		const size = 8 << 30
		one := packedFrame(make([]byte, packMax))
		blob := &Blob{Packed: true, Digest: hugeDigest, Size: size}
		for range size / packMax {
			blob.Frames = append(blob.Frames, one)
		}
		b.Blobs = append(b.Blobs, blob)
		b.Files = append(b.Files, Descriptor{MediaType: typeLayer, Digest: hugeDigest, Size: size})
		at("blobs/sha256/"+hugeDigest[7:], f)(b)
	}
}

// refit makes an edit of the frames of one member, found by how its name begins.
func refit(name string, f func([]Frame) []Frame) func(*Bundle) {
	return at(name, func(m *Member) { m.Frames = f(m.frames()) })
}

// patch makes an edit of the first frame of a member.
func patch(name string, f func([]byte) []byte) func(*Bundle) {
	return refit(name, func(list []Frame) []Frame {
		list[0] = frame(f(bytes.Clone(list[0].Data)), int(list[0].Decoded))
		return list
	})
}

func rawVectors() []Vector {
	skippable := Frame{Data: []byte{0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 'x', 'x', 'x', 'x'}, Encoded: 12}
	hidden := skippable
	hidden.Hidden = true
	empty := rawFrame(nil, false)
	empty = frame(appendBlock(empty.Data, 0, 0, true), 0)
	large := func(f func(frames []Frame, stream []byte) []Frame) func(*Bundle) {
		return func(b *Bundle) {
			content := make([]byte, 300<<10)
			d := b.add(typeLayer, content)
			b.Files = append(b.Files, d)
			at("blobs/sha256/"+d.Digest[7:], func(m *Member) { m.Frames = f(m.frames(), m.stream()) })(b)
		}
	}
	return []Vector{
		{Name: "raw-checksum-on-blob", Rule: "frames of blobs carry no checksum", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Checksum = true })},
		{Name: "raw-no-checksum-on-index", Rule: "frames of index.json carry a checksum", Exit: damaged, edit: at("index.json", func(m *Member) { m.Checksum = false })},
		{Name: "raw-no-checksum-on-signature", Rule: "frames of signatures carry a checksum", Exit: untrusted, StreamExit: damaged, edit: at("signatures/", func(m *Member) { m.Checksum = false })},
		{Name: "raw-no-checksum-on-end", Rule: "the end carries a checksum", Exit: damaged, edit: at("end", func(m *Member) { m.Checksum = false })},
		{Name: "raw-checksum-wrong", Rule: "the checksum is that of the piece: of index.json", Exit: damaged, edit: patch("index.json", func(p []byte) []byte { p[len(p)-1] ^= 1; return p })},
		{Name: "raw-checksum-wrong-signature", Rule: "the checksum is that of the piece: of a signature", Exit: damaged, edit: patch("signatures/", func(p []byte) []byte { p[len(p)-1] ^= 1; return p })},
		{Name: "raw-window", Rule: "the window descriptor is 0x38", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[5] = 0x40; return p })},
		{Name: "raw-window-huge", Rule: "the window descriptor is 0x38: one asks for 3.75 TiB", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[5] = 0xFF; return p })},
		{Name: "raw-single-segment", Rule: "the descriptor is 0x80: single segment, without a window", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte {
			p[4] = 0xA0
			return slices.Delete(p, 5, 6)
		})},
		{Name: "raw-reserved-bit", Rule: "the descriptor is 0x80: the reserved bit is set", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[4] |= 8; return p })},
		{Name: "raw-unused-bit", Rule: "the descriptor is 0x80: the unused bit is set", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[4] |= 16; return p })},
		{Name: "raw-dictionary", Rule: "no dictionary: one of ID 0 is named", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte {
			p[4] |= 1
			return slices.Insert(p, 6, 0)
		})},
		{Name: "raw-content-size-wide", Rule: "the content size has 4 bytes: it has 8", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte {
			p[4] = 0xC0
			return slices.Insert(p, 10, 0, 0, 0, 0)
		})},
		{Name: "raw-content-size-none", Rule: "the content size is stated", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte {
			p[4] = 0
			return slices.Delete(p, 6, 10)
		})},
		{Name: "raw-content-size-lies", Rule: "the content size is the length of the piece: it says 4 GiB less one", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte {
			binary.LittleEndian.PutUint32(p[6:], 1<<32-1)
			return p
		})},
		{Name: "raw-block-rle", Rule: "blocks are raw: one is a run of zeros of the same content", Exit: damaged, edit: refit("end", func(list []Frame) []Frame {
			b := append([]byte{0x28, 0xB5, 0x2F, 0xFD, 0x84, 0x38}, 0, 4, 0, 0)
			b = append(appendBlock(b, 1, 1024, true), 0)
			sum := list[0].Data[len(list[0].Data)-4:]
			return []Frame{frame(append(b, sum...), 1024)}
		})},
		{Name: "raw-block-reserved", Rule: "blocks are raw: one has the reserved type", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[10] |= 6; return p })},
		{Name: "raw-block-size-lies", Rule: "a block header has the length of the block: it says 2 MiB", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[10], p[11], p[12] = 1, 0, 0xFF; return p })},
		{Name: "raw-block-not-last", Rule: "the last block of a frame has its bit set", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte { p[10] &^= 1; return p })},
		{Name: "raw-block-empty-last", Rule: "a frame has as many blocks as its content needs: an empty one ends it", Exit: damaged, edit: patch(rawLayer(), func(p []byte) []byte {
			p[10] &^= 1
			return append(p, 1, 0, 0)
		})},
		{Name: "raw-blocks-not-full", Rule: "all blocks but the last are full", Exit: damaged, edit: large(func(frames []Frame, stream []byte) []Frame {
			b := bytes.Clone(frames[0].Data[:10])
			for at := 0; at < len(stream); at += 64 << 10 {
				n := min(64<<10, len(stream)-at)
				b = append(appendBlock(b, 0, n, at+n == len(stream)), stream[at:at+n]...)
			}
			return []Frame{frame(b, len(stream))}
		})},
		{Name: "raw-frames-short", Rule: "pieces are of 16 MiB: a member is cut into more", Exit: damaged, edit: large(func(_ []Frame, stream []byte) []Frame {
			return []Frame{rawFrame(stream[:128<<10], false), rawFrame(stream[128<<10:], false)}
		})},
		{Name: "raw-header-apart", Rule: "the header is in the frame of its content", Exit: damaged, edit: at(rawLayer(), func(m *Member) {
			m.Frames = []Frame{rawFrame(m.Header, false), rawFrame(append(bytes.Clone(m.Content), m.Padding...), false)}
		})},
		{Name: "raw-members-joined", Rule: "a frame holds one member", Exit: damaged, edit: members(func(list []*Member) []*Member {
			i := find(list, rawLayer())
			list[i].Frames = []Frame{rawFrame(append(list[i-1].stream(), list[i].stream()...), false)}
			return slices.Delete(list, i-1, i)
		})},
		{Name: "raw-blob-compressed", Rule: "a blob without frames in the layout is raw", Exit: damaged, edit: at(rawLayer(), func(m *Member) { m.Frames = []Frame{packedFrame(m.stream())} })},
		{Name: "raw-skippable-frame", Rule: "no additional frames: a skippable one, which the seek table lists", Exit: damaged, edit: refit(rawLayer(), func(list []Frame) []Frame { return append([]Frame{skippable}, list...) })},
		{Name: "raw-skippable-frame-hidden", Rule: "no additional frames: a skippable one, which the seek table does not list", Exit: damaged, edit: refit(rawLayer(), func(list []Frame) []Frame { return append([]Frame{hidden}, list...) })},
		{Name: "raw-empty-frame", Rule: "no additional frames: an empty one", Exit: damaged, edit: refit(rawLayer(), func(list []Frame) []Frame { return append(list, empty) })},
		{Name: "raw-skippable-before-end", Rule: "no additional frames: a skippable one before the end", Exit: untrusted, StreamExit: damaged, edit: refit("end", func(list []Frame) []Frame { return append([]Frame{skippable}, list...) })},
	}
}
