package forge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

func indexVectors() []Vector {
	index := func(f func(*Index)) func(*Bundle) { return func(b *Bundle) { b.OnIndex = f } }
	text := func(f func([]byte) []byte) func(*Bundle) { return func(b *Bundle) { b.OnIndexBytes = f } }
	replace := func(old, new string) func(*Bundle) {
		return text(func(p []byte) []byte {
			if !bytes.Contains(p, []byte(old)) {
				panic("index.json has no " + old)
			}
			return bytes.Replace(p, []byte(old), []byte(new), 1)
		})
	}
	set := func(key, value string) func(*Bundle) {
		return index(func(i *Index) { i.Annotations[key] = value })
	}
	drop := func(key string) func(*Bundle) { return index(func(i *Index) { delete(i.Annotations, key) }) }
	return []Vector{
		{Name: "index-empty-object", Rule: "index.json is an OCI image index", Exit: damaged, edit: text(func([]byte) []byte { return []byte("{}") })},
		{Name: "index-empty", Rule: "index.json is an OCI image index: it has no bytes", Exit: damaged, edit: text(func([]byte) []byte { return []byte{} })},
		{Name: "index-not-json", Rule: "index.json is JSON", Exit: damaged, edit: text(func(p []byte) []byte { return p[:len(p)-1] })},
		{Name: "index-array", Rule: "index.json is a JSON object", Exit: damaged, edit: text(func(p []byte) []byte { return append(append([]byte("["), p...), ']') })},
		{Name: "index-two-documents", Rule: "index.json is one JSON document", Exit: damaged, edit: text(func(p []byte) []byte { return append(p, "{}"...) })},
		{Name: "index-deep", Rule: "index.json is an OCI image index: JSON that nests deep", Exit: damaged, edit: text(func(p []byte) []byte {
			deep := strings.Repeat("[", 40000) + strings.Repeat("]", 40000)
			return append(append(p[:len(p)-1], `,"deep":`+deep...), '}')
		})},
		{Name: "index-objects", Rule: "index.json is an OCI image index: descriptors of three bytes", Exit: damaged, edit: text(func(p []byte) []byte {
			return bytes.Replace(p, []byte(`"manifests":[`), []byte(`"manifests":[`+strings.Repeat("{},", 300000)), 1)
		})},
		{Name: "index-spaces", Rule: "index.json is compact JSON", Exit: damaged, edit: replace(`,"mediaType"`, `, "mediaType"`)},
		{Name: "index-newline", Rule: "index.json is compact JSON: a line end behind it", Exit: damaged, edit: text(func(p []byte) []byte { return append(p, '\n') })},
		{Name: "index-schema-version", Rule: "schemaVersion is 2", Exit: damaged, edit: index(func(i *Index) { i.SchemaVersion = 1 })},
		{Name: "index-media-type", Rule: "mediaType is that of an OCI index: Docker's", Exit: damaged, edit: index(func(i *Index) { i.MediaType = "application/vnd.docker.distribution.manifest.list.v2+json" })},
		{Name: "index-media-type-none", Rule: "mediaType is there", Exit: damaged, edit: index(func(i *Index) { i.MediaType = "" })},
		{Name: "index-format-none", Rule: "the format's version is there", Exit: damaged, edit: drop("vnd.bundle.format")},
		{Name: "index-format-no-number", Rule: "the format's version is a number", Exit: damaged, edit: set("vnd.bundle.format", "one")},
		{Name: "index-format-zero", Rule: "the format's version is 1 or more", Exit: damaged, edit: set("vnd.bundle.format", "0")},
		{Name: "index-min-reader-none", Rule: "the least reader is there", Exit: damaged, edit: drop("vnd.bundle.min-reader")},
		{Name: "index-min-reader-newer", Rule: "a reader refuses what needs a newer one", Exit: usage, edit: index(func(i *Index) {
			i.Annotations["vnd.bundle.format"], i.Annotations["vnd.bundle.min-reader"] = "1000", "1000"
		})},
		{Name: "index-min-reader-huge", Rule: "a version is a number that fits: 2^64", Exit: damaged, edit: index(func(i *Index) {
			i.Annotations["vnd.bundle.format"], i.Annotations["vnd.bundle.min-reader"] = "18446744073709551616", "18446744073709551616"
		})},
		{Name: "index-min-reader-above-format", Rule: "the least reader is not newer than the format", Exit: damaged, edit: set("vnd.bundle.min-reader", "2")},
		{Name: "index-min-reader-negative", Rule: "the least reader is 1 or more", Exit: damaged, edit: set("vnd.bundle.min-reader", "-1")},
		{Name: "index-docker-manifest-no-digest", Rule: "the annotation of manifest.json is a digest", Exit: damaged, edit: set("vnd.bundle.docker-manifest", "manifest.json")},
		{Name: "index-docker-manifest-uppercase", Rule: "HEX is lower-case", Exit: damaged, edit: index(func(i *Index) {
			d := i.Annotations["vnd.bundle.docker-manifest"]
			i.Annotations["vnd.bundle.docker-manifest"] = "sha256:" + strings.ToUpper(d[7:])
		})},
		{Name: "index-name-differs", Rule: "index.json and inventory give one name", Exit: damaged, edit: set("vnd.bundle.name", "other")},
		{Name: "index-version-differs", Rule: "index.json and inventory give one version", Exit: damaged, edit: set("vnd.bundle.version", "2.0.0")},
		{Name: "index-no-entries", Rule: "the first entry is the layout blob: there are none", Exit: damaged, edit: index(func(i *Index) { i.Manifests = nil })},
		{Name: "index-layout-not-first", Rule: "the first entry is the layout blob: it is the second", Exit: damaged, edit: index(func(i *Index) { i.Manifests[0], i.Manifests[1] = i.Manifests[1], i.Manifests[0] })},
		{Name: "index-layout-twice", Rule: "no other entry is a layout", Exit: damaged, edit: index(func(i *Index) { i.Manifests = append(i.Manifests, i.Manifests[0]) })},
		{Name: "index-layout-media-type", Rule: "the layout has its media type", Exit: damaged, edit: index(func(i *Index) { i.Manifests[0].MediaType = "application/json" })},
		{Name: "index-layout-kind", Rule: "the layout's entry is of kind layout", Exit: damaged, edit: index(func(i *Index) { i.Manifests[0].Annotations["vnd.bundle.kind"] = "image" })},
		{Name: "index-layout-digest", Rule: "the layout has the digest that index.json gives", Exit: damaged, edit: index(func(i *Index) { i.Manifests[0].Digest = digestOf([]byte("another")) })},
		{Name: "index-layout-size-less", Rule: "the layout has the size that index.json gives: one more", Exit: damaged, edit: index(func(i *Index) { i.Manifests[0].Size-- })},
		{Name: "index-layout-size-negative", Rule: "sizes are not negative", Exit: damaged, edit: index(func(i *Index) { i.Manifests[0].Size = -1 })},
		{Name: "index-entry-sha512", Rule: "all digests are sha256", Exit: damaged, edit: index(func(i *Index) { i.Manifests[1].Digest = "sha512:" + strings.Repeat("0", 128) })},
		{Name: "index-entry-uppercase", Rule: "HEX is lower-case", Exit: damaged, edit: index(func(i *Index) { i.Manifests[1].Digest = "sha256:" + strings.ToUpper(i.Manifests[1].Digest[7:]) })},
		{Name: "index-entry-traversal", Rule: "all digests are sha256: one is a path", Exit: damaged, edit: index(func(i *Index) { i.Manifests[1].Digest = "sha256:../../../../etc/passwd" })},
		{Name: "index-entry-size-negative", Rule: "sizes are not negative", Exit: damaged, edit: index(func(i *Index) { i.Manifests[1].Size = -1 })},
		{Name: "index-entry-size-text", Rule: "a size is a number", Exit: damaged, edit: replace(`"size":`, `"size":"1`+`",`+`"x":`)},
		{Name: "index-entry-size-fraction", Rule: "a size is a whole number", Exit: damaged, edit: replace(`"size":`, `"size":1e3,"x":`)},
		{Name: "index-entry-size-overflow", Rule: "a size fits: 2^63", Exit: damaged, edit: replace(`"size":`, `"size":9223372036854775808,"x":`)},
	}
}

func layoutVectors() []Vector {
	layout := func(f func([]byte) []byte) func(*Bundle) { return func(b *Bundle) { b.OnLayout = f } }
	replace := func(old, new string) func(*Bundle) {
		return layout(func(p []byte) []byte {
			if !bytes.Contains(p, []byte(old)) {
				panic("the layout has no " + old)
			}
			return bytes.Replace(p, []byte(old), []byte(new), 1)
		})
	}
	list := func(f func(*Blob) string) func(*Bundle) {
		return func(b *Bundle) {
			blob := b.Blobs[len(b.Blobs)-1]
			blob.Listing = f(blob)
		}
	}
	raw := "sha256:" + rawLayer()[len("blobs/sha256/"):]
	spelled := func(name, rule, old, new string) Vector {
		return Vector{Name: "layout-" + name, Rule: "exactly this spelling: " + rule, Exit: damaged, edit: replace(old, new)}
	}
	return []Vector{
		spelled("space", "a space", `,"blobs"`, `, "blobs"`),
		spelled("field-order", "size before digest", `{"digest":"`+raw+`","size":45}`, `{"size":45,"digest":"`+raw+`"}`),
		spelled("field-more", "one more field", `"size":45}`, `"size":45,"name":"x"}`),
		spelled("field-twice", "a field twice", `"size":45}`, `"size":45,"size":45}`),
		spelled("field-case", "another case", `"size":45}`, `"Size":45}`),
		spelled("escape", "an escape", `"size":45}`, `"\u0073ize":45}`),
		spelled("number-zero", "a leading zero", `"size":45}`, `"size":045}`),
		spelled("number-plus", "a sign", `"size":45}`, `"size":+45}`),
		spelled("number-negative", "a negative number", `"size":45}`, `"size":-45}`),
		spelled("number-exponent", "an exponent", `"size":45}`, `"size":45e0}`),
		spelled("number-text", "a number as text", `"size":45}`, `"size":"45"}`),
		spelled("number-overflow", "a number of 100 digits", `"size":45}`, `"size":`+strings.Repeat("9", 100)+`}`),
		spelled("uppercase", "HEX in upper case", raw, "sha256:"+strings.ToUpper(raw[7:])),
		spelled("comma", "a comma at the end", `]}`, `],}`),
		{Name: "layout-newline", Rule: "exactly this spelling: a line end behind it", Exit: damaged, edit: layout(func(p []byte) []byte { return append(p, '\n') })},
		{Name: "layout-cut", Rule: "exactly this spelling: the last brace is missing", Exit: damaged, edit: layout(func(p []byte) []byte { return p[:len(p)-1] })},
		{Name: "layout-empty", Rule: "exactly this spelling: no bytes", Exit: damaged, edit: layout(func(p []byte) []byte { return nil })},
		{Name: "layout-version", Rule: "the layout is of version 1", Exit: usage, edit: replace(`{"version":1,`, `{"version":1000,`)},
		{Name: "layout-blob-missing", Rule: "the layout lists every blob of the file", Exit: damaged, edit: layout(func(p []byte) []byte {
			return slices.Concat(p[:bytes.LastIndex(p, []byte(`,{"digest"`))], []byte("]}"))
		})},
		{Name: "layout-blob-twice", Rule: "the layout lists every blob once", Exit: damaged, edit: replace(`{"digest":"`+raw, `{"digest":"`+raw+`","size":45},{"digest":"`+raw)},
		{Name: "layout-lists-itself", Rule: "the layout does not list the layout", Exit: damaged, edit: layout(func(p []byte) []byte {
			// Nothing can name its own digest; this names what it was before.
			return bytes.Replace(p, []byte(`[{`), []byte(fmt.Sprintf(`[{"digest":"%s","size":%d},{`, digestOf(p), len(p))), 1)
		})},
		{Name: "layout-blob-smaller", Rule: "size is the length of the content: one less", Exit: damaged, edit: replace(`"size":45}`, `"size":44}`)},
		{Name: "layout-blob-larger", Rule: "size is the length of the content: one more, so that padding is content", Exit: damaged, edit: replace(`"size":45}`, `"size":46}`)},
		{Name: "layout-blob-huge", Rule: "size is the length of the content: 2^50", Exit: damaged, edit: replace(`"size":45}`, `"size":1125899906842624}`)},
		{Name: "layout-frames-none", Rule: "frames has one length for each MiB: none", Exit: damaged, edit: list(func(b *Blob) string {
			return fmt.Sprintf(`{"digest":"%s","size":3001,"frames":[],"packed":"%s"}`, b.digest(), digestOf(b.frames()[0].Data))
		})},
		{Name: "layout-frames-more", Rule: "frames has one length for each MiB: two for less", Exit: damaged, edit: list(func(b *Blob) string {
			return fmt.Sprintf(`{"digest":"%s","size":3001,"frames":[11,11],"packed":"%s"}`, b.digest(), digestOf(b.frames()[0].Data))
		})},
		{Name: "layout-frames-longer", Rule: "frames has the length of each frame: one more, so that the next overlaps", Exit: damaged, edit: list(func(b *Blob) string {
			return strings.Replace((&Blob{Content: b.Content, Packed: true}).listing(), "[11]", "[12]", 1)
		})},
		{Name: "layout-frames-shorter", Rule: "frames has the length of each frame: one less", Exit: damaged, edit: list(func(b *Blob) string {
			return strings.Replace((&Blob{Content: b.Content, Packed: true}).listing(), "[11]", "[10]", 1)
		})},
		{Name: "layout-packed-missing", Rule: "frames and packed are both there or both absent: no packed", Exit: damaged, edit: list(func(b *Blob) string {
			return fmt.Sprintf(`{"digest":"%s","size":3001,"frames":[11]}`, b.digest())
		})},
		{Name: "layout-frames-missing", Rule: "frames and packed are both there or both absent: no frames", Exit: damaged, edit: list(func(b *Blob) string {
			return fmt.Sprintf(`{"digest":"%s","size":3001,"packed":"%s"}`, b.digest(), digestOf(b.frames()[0].Data))
		})},
		{Name: "layout-packed-other", Rule: "packed is the digest of the frames", Exit: damaged, edit: list(func(b *Blob) string {
			return fmt.Sprintf(`{"digest":"%s","size":3001,"frames":[11],"packed":"%s"}`, b.digest(), digestOf([]byte("another")))
		})},
	}
}

// contentVectors are about what index.json reaches.
func contentVectors() []Vector {
	// reindex adds an image whose index is v.
	reindex := func(b *Bundle, v any) { b.image("registry.example/other:1", b.add(typeIndex, encode(v))) }
	// wrong changes the manifest of the image before it is stored.
	wrong := func(f func(b *Bundle, m *Manifest)) func(*Bundle) {
		return func(b *Bundle) {
			var m Manifest
			if err := json.Unmarshal(b.Blobs[1].Content, &m); err != nil {
				panic(err)
			}
			f(b, &m)
			p := encode(m)
			b.Blobs[1].Content = p
			b.Entries[0].Digest, b.Entries[0].Size = digestOf(p), int64(len(p))
			b.Inventory["images"].([]object)[0]["digest"] = digestOf(p)
		}
	}
	return []Vector{
		{Name: "content-unreached", Rule: "every blob is reached from index.json", Exit: damaged, edit: func(b *Bundle) { b.add(typeLayer, []byte("nobody asks for it")) }},
		{Name: "content-unknown-media-type", Rule: "blobs are reached through indexes and manifests: the image's entry has an unknown media type, so what is below it is not", Exit: damaged, edit: func(b *Bundle) {
			b.Entries[0].MediaType = "application/vnd.example.unknown+json"
		}},
		{Name: "content-layer-missing", Rule: "every blob that is reached is listed: a layer is not", Exit: incomplete, edit: wrong(func(_ *Bundle, m *Manifest) { m.Layers = append(m.Layers, describe(typeLayer, []byte("missing"))) })},
		{Name: "content-config-missing", Rule: "every blob that is reached is listed: a config is not", Exit: incomplete, edit: wrong(func(b *Bundle, m *Manifest) {
			m.Config = describe(typeConfig, []byte("missing"))
			b.Blobs = slices.Delete(b.Blobs, 2, 3)
		})},
		{Name: "content-layer-size", Rule: "a descriptor has the size of its blob", Exit: damaged, edit: wrong(func(_ *Bundle, m *Manifest) { m.Layers[0].Size++ })},
		{Name: "content-manifest-size", Rule: "a descriptor has the size of its blob: of a manifest", Exit: damaged, edit: func(b *Bundle) { b.Entries[0].Size++ }},
		{Name: "content-layer-sha512", Rule: "all digests are sha256", Exit: damaged, edit: wrong(func(_ *Bundle, m *Manifest) { m.Layers[0].Digest = "sha512:" + strings.Repeat("0", 128) })},
		{Name: "content-layer-traversal", Rule: "all digests are sha256: one is a path", Exit: damaged, edit: wrong(func(_ *Bundle, m *Manifest) { m.Layers[0].Digest = "sha256:../../../../../tmp/x" })},
		{Name: "content-not-json", Rule: "a manifest is JSON", Exit: damaged, edit: func(b *Bundle) { b.image("registry.example/other:1", b.add(typeManifest, []byte("no JSON"))) }},
		{Name: "content-index-and-manifest", Rule: "bytes are an index or a manifest, not both", Exit: damaged, edit: func(b *Bundle) {
			reindex(b, object{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []Descriptor{b.Entries[0]},
				"config": describe(typeConfig, b.Blobs[2].Content), "layers": []Descriptor{}})
		}},
		{Name: "content-manifest-as-index", Rule: "a descriptor gives the media type that its blob gives", Exit: damaged, edit: func(b *Bundle) {
			d := b.Entries[0]
			d.MediaType, d.Annotations = typeIndex, nil
			b.image("registry.example/other:1", d)
		}},
		{Name: "content-index-cycle", Rule: "a descriptor gives the digest of its blob: an index that wants to list itself", Exit: incomplete, edit: func(b *Bundle) {
			self := Descriptor{MediaType: typeIndex, Digest: digestOf([]byte("self")), Size: 300}
			reindex(b, Index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []Descriptor{self}})
		}},
		{Name: "content-index-deep", Rule: "indexes nest at most eight deep", Exit: damaged, edit: func(b *Bundle) {
			d := b.Entries[0]
			d.Annotations = nil
			for range 10 {
				d = b.add(typeIndex, encode(Index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []Descriptor{d}}))
			}
			b.image("registry.example/other:1", d, "linux/amd64")
		}},
		{Name: "content-image-twice", Rule: "a reference stands once", Exit: damaged, edit: func(b *Bundle) { b.entry(b.Entries[0], "image", imageName) }},
		{Name: "content-image-unlisted", Rule: "index.json lists the images that the inventory does: one more", Exit: damaged, edit: func(b *Bundle) { b.entry(b.Entries[0], "image", "registry.example/secret:1") }},
		{Name: "content-image-missing", Rule: "index.json lists the images that the inventory does: one less", Exit: incomplete, edit: func(b *Bundle) {
			b.Inventory["images"] = append(b.Inventory["images"].([]object), object{"name": "registry.example/missing:1", "digest": digestOf([]byte("x")), "mediaType": typeManifest, "platforms": []string{}, "size": 1, "neededBy": []string{}})
		}},
		{Name: "content-image-digest", Rule: "index.json and inventory give an image one digest", Exit: damaged, edit: func(b *Bundle) { b.Inventory["images"].([]object)[0]["digest"] = digestOf([]byte("x")) }},
		{Name: "content-platform-missing", Rule: "platforms that the inventory promises are there", Exit: incomplete, edit: func(b *Bundle) {
			here := b.Entries[0]
			here.Annotations, here.Platform = nil, object2("amd64")
			d := b.add(typeIndex, encode(Index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []Descriptor{here,
				{MediaType: typeManifest, Digest: digestOf([]byte("arm64")), Size: 5, Platform: object2("arm64")}}}))
			b.image("registry.example/many:1", d, "linux/amd64", "linux/arm64")
		}},
		{Name: "content-chart-missing", Rule: "index.json lists the charts that the inventory does", Exit: incomplete, edit: func(b *Bundle) {
			b.Inventory["charts"] = []object{{"name": "app", "version": "1.0.0", "digest": digestOf([]byte("x")), "size": 1, "neededBy": []string{}}}
		}},
		{Name: "content-inventory-twice", Rule: "there is one entry of kind bundle", Exit: damaged, edit: func(b *Bundle) { b.entry(b.Entries[0], "bundle", "bundle/other:1") }},
		{Name: "content-inventory-none", Rule: "there is one entry of kind bundle: none", Exit: damaged, edit: func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Manifests = i.Manifests[:len(i.Manifests)-1] }
		}},
		{Name: "content-inventory-schema", Rule: "the inventory has a version that is known", Exit: damaged, edit: func(b *Bundle) { b.Inventory["schemaVersion"] = 1000 }},
		{Name: "content-inventory-not-json", Rule: "the inventory is JSON of its kind", Exit: damaged, edit: func(b *Bundle) { b.Inventory["images"] = "none" }},
	}
}

func signatureVectors() []Vector {
	on := func(f func(index []byte, list [][]byte) [][]byte) func(*Bundle) {
		return func(b *Bundle) { b.OnSignatures = f }
	}
	change := func(f func(object)) func(*Bundle) {
		return on(func(index []byte, _ [][]byte) [][]byte {
			s := signature(trusted, index)
			f(s)
			return [][]byte{encode(s)}
		})
	}
	message := func(s object) object { return s["messageSignature"].(object) }
	return []Vector{
		{Name: "signature-none", Rule: "somebody who is trusted has signed: nobody has", Exit: untrusted, edit: on(func([]byte, [][]byte) [][]byte { return nil })},
		{Name: "signature-stranger", Rule: "somebody who is trusted has signed: somebody else has", Exit: untrusted, edit: on(func(index []byte, _ [][]byte) [][]byte { return [][]byte{sign(stranger, index)} })},
		{Name: "signature-stranger-in-disguise", Rule: "the signature is of the key that it names", Exit: untrusted, edit: on(func(index []byte, list [][]byte) [][]byte {
			s := signature(stranger, index)
			s["verificationMaterial"] = signature(trusted, index)["verificationMaterial"]
			return [][]byte{encode(s)}
		})},
		{Name: "signature-of-another-index", Rule: "the signature is over index.json: it is over another", Exit: untrusted, edit: on(func(index []byte, _ [][]byte) [][]byte { return [][]byte{sign(trusted, append([]byte(" "), index...))} })},
		{Name: "signature-of-another-index-in-disguise", Rule: "the signature is over index.json: its digest says so, and its bytes do not", Exit: untrusted, edit: on(func(index []byte, _ [][]byte) [][]byte {
			s, other := signature(trusted, index), signature(trusted, []byte("other"))
			message(s)["signature"] = message(other)["signature"]
			return [][]byte{encode(s)}
		})},
		{Name: "signature-flipped", Rule: "the signature is right: one bit differs", Exit: untrusted, edit: change(func(s object) {
			raw, err := base64.StdEncoding.DecodeString(message(s)["signature"].(string))
			if err != nil {
				panic(err)
			}
			raw[len(raw)-1] ^= 1
			message(s)["signature"] = base64.StdEncoding.EncodeToString(raw)
		})},
		{Name: "signature-empty", Rule: "the signature is right: it is empty", Exit: untrusted, edit: change(func(s object) { message(s)["signature"] = "" })},
		{Name: "signature-zeros", Rule: "the signature is right: r and s are zero", Exit: untrusted, edit: change(func(s object) {
			message(s)["signature"] = base64.StdEncoding.EncodeToString([]byte{0x30, 6, 2, 1, 0, 2, 1, 0})
		})},
		{Name: "signature-sha1", Rule: "hashes are of the SHA-2 family", Exit: untrusted, edit: change(func(s object) { message(s)["messageDigest"].(object)["algorithm"] = "SHA3_256" })},
		{Name: "signature-media-type", Rule: "Sigstore bundles are of v0.3", Exit: untrusted, edit: change(func(s object) { s["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1" })},
		{Name: "signature-dsse", Rule: "a message signature, no envelope", Exit: untrusted, edit: change(func(s object) {
			delete(s, "messageSignature")
			s["dsseEnvelope"] = object{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []object{{"sig": "AAAA"}}}
		})},
		{Name: "signature-certificate-none", Rule: "a key's hint or a certificate: neither", Exit: untrusted, edit: change(func(s object) { delete(s, "verificationMaterial") })},
		{Name: "signature-certificate", Rule: "a key is trusted, and the signature comes with a certificate that nobody vouches for", Exit: untrusted, edit: change(func(s object) {
			s["verificationMaterial"] = object{"certificate": object{"rawBytes": "MAA="}}
		})},
		{Name: "signature-not-json", Rule: "a signature is JSON", Exit: untrusted, edit: on(func([]byte, [][]byte) [][]byte { return [][]byte{[]byte("not JSON")} })},
		{Name: "signature-deep", Rule: "a signature is a Sigstore bundle: JSON that nests deep", Exit: untrusted, edit: on(func([]byte, [][]byte) [][]byte { return [][]byte{bytes.Repeat([]byte("["), 20000)} })},
		{Name: "signature-spelling", Rule: "a signature has one spelling: spaces", Exit: damaged, edit: on(func(_ []byte, list [][]byte) [][]byte { return [][]byte{append(list[0], '\n')} })},
		{Name: "signature-second-not-json", Rule: "every signature is a Sigstore bundle, those that are not needed too", Exit: damaged, edit: on(func(_ []byte, list [][]byte) [][]byte { return append(list, []byte("not JSON")) })},
		{Name: "signature-over-damage", Rule: "a good signature does not make damage good", Exit: damaged, edit: at(packedLayer(), func(m *Member) { m.Packed[0].Data[10] ^= 1 })},
	}
}

func limitVectors() []Vector {
	// claim makes a header say a size that its content has not.
	claim := func(name string, size int64) func(*Bundle) {
		return at(name, func(m *Member) { m.Header = ustar(m.Name, size, '0') })
	}
	return []Vector{
		{Name: "limit-index", Rule: "index.json has at most 64 MiB: its header says one byte more", Exit: damaged, edit: claim("index.json", 64<<20+1)},
		{Name: "limit-index-claim", Rule: "index.json has at most 64 MiB: its header says that, in a small file", Exit: damaged, edit: claim("index.json", 64<<20)},
		{Name: "limit-index-8g", Rule: "index.json has at most 64 MiB: its header says 8 GiB", Exit: damaged, edit: claim("index.json", ustarMax)},
		{Name: "limit-docker-manifest", Rule: "manifest.json has at most 64 MiB: its header says one byte more", Exit: damaged, edit: claim("manifest.json", 64<<20+1)},
		{Name: "limit-layout", Rule: "the layout has at most 256 MiB: index.json says one byte more", Exit: damaged, edit: func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Manifests[0].Size = 256<<20 + 1 }
		}},
		{Name: "limit-layout-claim", Rule: "the layout has at most 256 MiB: index.json says that, in a small file", Exit: damaged, edit: func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Manifests[0].Size = 256 << 20 }
		}},
		{Name: "limit-layout-max", Rule: "sizes fit: index.json says 2^63-1 for the layout", Exit: damaged, edit: func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Manifests[0].Size = 1<<63 - 1 }
		}},
		{Name: "limit-blob", Rule: "a blob has at most 2^50 bytes: the layout says one more", Exit: damaged, edit: func(b *Bundle) {
			b.OnLayout = func(p []byte) []byte {
				return bytes.Replace(p, []byte(`"size":45}`), []byte(`"size":1125899906842625}`), 1)
			}
		}},
		{Name: "limit-entry", Rule: "a blob has at most 2^50 bytes: an entry of index.json says one more", Exit: damaged, edit: func(b *Bundle) {
			b.OnIndex = func(i *Index) { i.Manifests[1].Size = 1<<50 + 1 }
		}},
		{Name: "limit-frame-short", Rule: "a packed frame has at least 9 bytes: the layout says 8", Exit: damaged, edit: func(b *Bundle) {
			b.OnLayout = func(p []byte) []byte { return bytes.Replace(p, []byte(`"frames":[11]`), []byte(`"frames":[8]`), 1) }
		}},
		{Name: "limit-frame-long", Rule: "a packed frame has at most 1048640 bytes: the layout says one more", Exit: damaged, edit: func(b *Bundle) {
			b.OnLayout = func(p []byte) []byte {
				return bytes.Replace(p, []byte(`"frames":[11]`), []byte(`"frames":[1048641]`), 1)
			}
		}},
		{Name: "limit-frames", Rule: "frames has one length for each MiB: a million for one", Exit: damaged, edit: func(b *Bundle) {
			b.OnLayout = func(p []byte) []byte {
				return bytes.Replace(p, []byte(`"frames":[11]`), []byte(`"frames":[11`+strings.Repeat(",11", 1000000)+"]"), 1)
			}
		}},
		{Name: "limit-signatures", Rule: "at most 64 signatures: 65", Exit: damaged, edit: func(b *Bundle) {
			b.OnSignatures = func(_ []byte, list [][]byte) [][]byte { return slices.Repeat(list, 65) }
		}},
		{Name: "limit-signature-empty", Rule: "a signature has at least 1 byte", Exit: untrusted, StreamExit: damaged, edit: func(b *Bundle) {
			b.OnSignatures = func(_ []byte, list [][]byte) [][]byte { return append(list, []byte{}) }
		}},
		{Name: "limit-signature-long", Rule: "a signature has at most 1 MiB: one byte more", Exit: untrusted, StreamExit: damaged, edit: func(b *Bundle) {
			b.OnSignatures = func(_ []byte, list [][]byte) [][]byte { return append(list, bytes.Repeat([]byte(" "), 1<<20+1)) }
		}},
		{Name: "limit-manifest", Rule: "a manifest has at most 8 MiB: one is longer", Exit: damaged, edit: func(b *Bundle) {
			m := encode(Manifest{SchemaVersion: 2, MediaType: typeManifest, Config: describe(typeConfig, b.Blobs[2].Content), Layers: []Descriptor{}})
			b.image("registry.example/long:1", b.add(typeManifest, append(m, bytes.Repeat([]byte(" "), 8<<20)...)))
		}},
		{Name: "limit-blobs-claim", Rule: "no more blobs than there is room for: 50000 empty ones of one digest", Exit: damaged, edit: func(b *Bundle) {
			one := fmt.Sprintf(`{"digest":"%s","size":0}`, digestOf(nil))
			b.OnLayout = func(p []byte) []byte {
				return bytes.Replace(p, []byte(`]}`), []byte(strings.Repeat(","+one, 50000)+`]}`), 1)
			}
		}},
	}
}
