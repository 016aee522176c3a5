package forge

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// baseIndex is the digest of index.json of the vector "ok", which deltas lean on.
func baseIndex() string {
	b := New()
	b.Make()
	return digestOf(b.Index)
}

// leaves gives the digests of all blobs of the vector "ok".
func leaves() map[string]bool {
	b := New()
	b.Make()
	left := map[string]bool{}
	for _, blob := range b.Blobs {
		left[blob.digest()] = true
	}
	return left
}

// deltaJSON spells delta.json.
func deltaJSON(bases []string, absent [][2]int) []byte {
	var b, a []string
	for _, index := range bases {
		b = append(b, fmt.Sprintf(`{"index":"%s","name":"vectors","version":"1.0.0"}`, index))
	}
	for _, r := range absent {
		a = append(a, fmt.Sprintf(`[%d,%d]`, r[0], r[1]))
	}
	return []byte(`{"version":1,"bases":[` + strings.Join(b, ",") + `],"absent":[` + strings.Join(a, ",") + `]}`)
}

// stretches gives the places of the blobs that are left out.
func stretches(digests []string, left map[string]bool) (list [][2]int) {
	for i, d := range digests {
		switch n := len(list) - 1; {
		case !left[d]:
		case n >= 0 && list[n][0]+list[n][1] == i:
			list[n][1]++
		default:
			list = append(list, [2]int{i, 1})
		}
	}
	return list
}

// delta makes a bundle a delta of the vector "ok": version 2.0.0, with a layer
// more. What "ok" has is left out.
func delta(b *Bundle) {
	b.Version = "2.0.0"
	b.Inventory["version"] = b.Version
	b.Files = append(b.Files, b.add(typeLayer, make([]byte, 2048)))
	b.Left = leaves()
	b.Delta = func(digests []string) []byte { return deltaJSON([]string{baseIndex()}, stretches(digests, b.Left)) }
}

func deltaVectors() []Vector {
	base := []string{"ok"}
	with := func(f func(*Bundle)) func(*Bundle) { return func(b *Bundle) { delta(b); f(b) } }
	// document changes delta.json, and index.json pins what comes out.
	document := func(f func([]byte) []byte) func(*Bundle) {
		return with(func(b *Bundle) {
			spell := b.Delta
			b.Delta = func(digests []string) []byte { return f(spell(digests)) }
		})
	}
	replace := func(old, new string) func(*Bundle) {
		return document(func(p []byte) []byte {
			if !bytes.Contains(p, []byte(old)) {
				panic("delta.json has no " + old)
			}
			return bytes.Replace(p, []byte(old), []byte(new), 1)
		})
	}
	// places lists blobs as absent that may be there, and the other way round.
	places := func(f func([][2]int) [][2]int) func(*Bundle) {
		return with(func(b *Bundle) {
			b.Delta = func(digests []string) []byte {
				return deltaJSON([]string{baseIndex()}, f(stretches(digests, b.Left)))
			}
		})
	}
	spelled := func(name, rule, old, new string) Vector {
		return Vector{Name: "delta-" + name, Rule: "delta.json has exactly one spelling: " + rule, Exit: damaged, With: base, edit: replace(old, new)}
	}
	one := `{"index":"` + baseIndex() + `","name":"vectors","version":"1.0.0"}`
	return []Vector{
		{Name: "ok-delta", Rule: "nothing is broken: a delta with its base", With: base, edit: delta},
		{Name: "ok-delta-whole", Rule: "nothing is broken: a file with the annotation and without delta.json is the whole", edit: with(func(b *Bundle) {
			b.Left = nil
			b.OnMembers = func(list []*Member) []*Member {
				i := find(list, "delta.json")
				return slices.Delete(list, i, i+1)
			}
			// The digest is that of the delta's delta.json.
			left := leaves()
			b.Delta = func(digests []string) []byte { return deltaJSON([]string{baseIndex()}, stretches(digests, left)) }
		})},
		{Name: "ok-small", Rule: "nothing is broken: a bundle that no other vector leans on", edit: small},
		{Name: "delta-alone", Rule: "a delta without its base is incomplete", Exit: incomplete, edit: delta},
		{Name: "delta-wrong-base", Rule: "a bundle that has none of the blobs is no base", Exit: incomplete, With: []string{"ok-small"}, edit: delta},
		{Name: "delta-base-damaged", Rule: "a blob of the base is damaged", Exit: damaged, With: []string{"signature-over-damage"}, edit: delta},
		{Name: "delta-base-says", Rule: "a base is known by its index: delta.json names another, and blobs go by their digests", With: base,
			edit: replace(baseIndex(), digestOf([]byte("another")))},
		{Name: "delta-other-json", Rule: "index.json pins delta.json: it is that of another delta", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnMembers = func(list []*Member) []*Member {
				list[find(list, "delta.json")] = member("delta.json", deltaJSON([]string{baseIndex()}, [][2]int{{0, 1}}), true)
				return list
			}
		})},
		{Name: "delta-json-unasked", Rule: "delta.json is there only with its annotation", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnIndex = func(i *Index) { delete(i.Annotations, "vnd.bundle.delta") }
		})},
		{Name: "delta-json-twice", Rule: "every member once: delta.json twice", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnMembers = func(list []*Member) []*Member {
				i := find(list, "delta.json")
				return slices.Insert(list, i, list[i])
			}
		})},
		{Name: "delta-json-before-layout", Rule: "delta.json comes behind the layout blob", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnMembers = func(list []*Member) []*Member {
				i := find(list, "delta.json")
				list[i-1], list[i] = list[i], list[i-1]
				return list
			}
		})},
		{Name: "delta-min-reader", Rule: "deltas need a reader of version 2: the index says 1", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Annotations["vnd.bundle.min-reader"] = "1" }
		})},
		{Name: "delta-annotation-no-digest", Rule: "the annotation is a digest", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Annotations["vnd.bundle.delta"] = "delta.json" }
		})},
		{Name: "delta-holds", Rule: "what delta.json leaves out is not in the file: a blob is", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			left := leaves()
			b.Delta = func(digests []string) []byte { return deltaJSON([]string{baseIndex()}, stretches(digests, left)) }
			delete(b.Left, digestOf(bytes.Repeat([]byte("p"), 3001)))
		})},
		{Name: "delta-lacks", Rule: "what delta.json does not leave out is in the file: a blob is not", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnMembers = func(list []*Member) []*Member {
				i := find(list, "blobs/sha256/"+digestOf(make([]byte, 2048))[7:])
				return slices.Delete(list, i, i+1)
			}
		})},
		{Name: "delta-version", Rule: "delta.json is of version 1", Exit: usage, With: base, edit: replace(`{"version":1,`, `{"version":1000,`)},
		{Name: "delta-beyond", Rule: "only blobs of the layout are left out: one behind its end", Exit: damaged, With: base, edit: places(func(l [][2]int) [][2]int { return append(l, [2]int{1000, 1}) })},
		{Name: "delta-beyond-overflow", Rule: "only blobs of the layout are left out: their number and count overflow", Exit: damaged, With: base, edit: places(func(l [][2]int) [][2]int { return append(l, [2]int{1<<63 - 1, 1<<63 - 1}) })},
		{Name: "delta-touching", Rule: "stretches do not touch each other", Exit: damaged, With: base, edit: places(func(l [][2]int) [][2]int {
			l[0][1]--
			return slices.Insert(l, 1, [2]int{l[0][0] + l[0][1], 1})
		})},
		{Name: "delta-descending", Rule: "stretches ascend", Exit: damaged, With: base, edit: places(func(l [][2]int) [][2]int { return append(l, [2]int{0, 1}) })},
		{Name: "delta-stretch-empty", Rule: "a stretch is not empty", Exit: damaged, With: base, edit: places(func(l [][2]int) [][2]int { return slices.Insert(l, 0, [2]int{0, 0}) })},
		{Name: "delta-nothing", Rule: "a delta leaves something out", Exit: damaged, edit: places(func([][2]int) [][2]int { return nil })},
		{Name: "delta-no-bases", Rule: "a delta has a base", Exit: damaged, With: base, edit: replace(one, "")},
		{Name: "delta-many-bases", Rule: "a delta has at most 1024 bases: one more", Exit: damaged, With: base, edit: replace(one, one+strings.Repeat(","+one, 1024))},
		spelled("space", "a space", `,"absent"`, `, "absent"`),
		spelled("newline", "a line end behind it", `]]}`, "]]}\n"),
		spelled("field-more", "one more field", `]]}`, `]],"x":1}`),
		spelled("number-zero", "a leading zero", `"absent":[[`, `"absent":[[0`),
		spelled("number-negative", "a negative number", `"absent":[[`, `"absent":[[-`),
		spelled("number-long", "a number of 100 digits", `"absent":[[`, `"absent":[[`+strings.Repeat("9", 100)),
		spelled("uppercase", "HEX in upper case", baseIndex(), "sha256:"+strings.ToUpper(baseIndex()[7:])),
		spelled("name-escape", "a name with an escape", `"name":"vectors"`, `"name":"vector\u0073"`),
		spelled("name-control", "a name with a control character", `"name":"vectors"`, "\"name\":\"\x1b[2J\""),
		spelled("name-long", "a name of 256 bytes", `"name":"vectors"`, `"name":"`+strings.Repeat("n", 256)+`"`),
		{Name: "delta-limit-claim", Rule: "delta.json has at most 64 MiB: its header says one byte more", Exit: damaged, With: base, edit: with(func(b *Bundle) {
			b.OnMembers = func(list []*Member) []*Member {
				m := list[find(list, "delta.json")]
				m.Header = ustar(m.Name, 64<<20+1, '0')
				return list
			}
		})},
	}
}

// small makes a bundle without images, whose only layer is in no other vector.
func small(b *Bundle) {
	b.Name, b.Docker, b.Blobs, b.Entries = "small", nil, nil, nil
	b.Inventory["name"], b.Inventory["images"], b.Inventory["files"] = b.Name, []object{}, []object{}
	b.Files = []Descriptor{b.add(typeLayer, make([]byte, 4096))}
}
