package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/verify/sign"
)

// both verifies a file in place and as a stream, and makes sure that the
// answers are the same but for the name.
func both(t *testing.T, path string, o Options) (*Report, error) {
	t.Helper()
	rep, err := Path(context.Background(), path, o)
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatal(readErr)
	}
	srep, serr := Stream(context.Background(), bytes.NewReader(data), o)
	if (rep == nil) != (srep == nil) || ExitClass(err) != ExitClass(serr) {
		t.Fatalf("a file gives %v, a stream %v", err, serr)
	}
	if rep != nil {
		if rep.Bundle != path || srep.Bundle != "-" {
			t.Errorf("bundles are called %q and %q", rep.Bundle, srep.Bundle)
		}
		clone := *srep
		clone.Bundle = rep.Bundle
		if !reflect.DeepEqual(*rep, clone) {
			t.Errorf("file and stream differ:\n%+v\n%+v", *rep, clone)
		}
	}
	return rep, err
}

func TestWhole(t *testing.T) {
	s := signer(t)
	path := standard(t).write(s)
	progress := new(Progress)
	rep, err := both(t, path, Options{Policy: Keys(s.Public()), Progress: progress})
	if err != nil {
		t.Fatalf("%v\n%s", err, lines(rep.Content.Problems))
	}
	if !rep.OK || rep.Signature.Status != StatusVerified || rep.Content.Status != ContentWhole {
		t.Errorf("%+v", rep)
	}
	if rep.Name != "cnstack-ce" || rep.Version != "1.1.0" {
		t.Errorf("name %q, version %q", rep.Name, rep.Version)
	}
	if len(rep.Signature.Signers) != 1 || rep.Signature.Signers[0].KeyID != s.Public().ID() {
		t.Errorf("signers %+v", rep.Signature.Signers)
	}
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if rep.IndexDigest != r.IndexDigest() {
		t.Errorf("index digest %s", rep.IndexDigest)
	}
	if progress.Done() != progress.Total() || progress.Total() != 2*rep.Content.Bytes || rep.Content.Bytes == 0 || progress.Item() == "" {
		t.Errorf("progress %d of %d, content %d", progress.Done(), progress.Total(), rep.Content.Bytes)
	}
}

// A stream must understand manifests that come before what names them.
func TestBackwards(t *testing.T) {
	s := signer(t)
	b := standard(t)
	b.backwards = true
	if rep, err := both(t, b.write(s), Options{Policy: Keys(s.Public())}); err != nil {
		t.Errorf("%v\n%s", err, lines(rep.Content.Problems))
	}
}

// The JSON that scripts read must not change its names.
func TestReportJSON(t *testing.T) {
	s := signer(t)
	b := standard(t)
	b.left[digest.FromString("coredns layer")] = true
	rep, err := both(t, b.write(s), Options{Policy: Keys(s.Public())})
	if !errors.Is(err, ErrIncomplete) {
		t.Fatal(err)
	}
	raw, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	keys := func(v any) []string {
		var names []string
		for name := range v.(map[string]any) {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	content := got["content"].(map[string]any)
	for _, c := range []struct {
		have any
		want []string
	}{
		{got, []string{"bundle", "content", "indexDigest", "name", "ok", "signature", "version"}},
		{got["signature"], []string{"signers", "status"}},
		{got["signature"].(map[string]any)["signers"].([]any)[0], []string{"identity", "keyID"}},
		{content, []string{"blobs", "bytes", "problems", "status"}},
		{content["problems"].([]any)[0], []string{"digest", "kind", "length", "object", "offset", "reason"}},
	} {
		if have := keys(c.have); !slices.Equal(slices.DeleteFunc(have, func(s string) bool { return s == "reason" }), slices.DeleteFunc(c.want, func(s string) bool { return s == "reason" })) {
			t.Errorf("names %v, want %v", have, c.want)
		}
	}
	if got["ok"] != false || content["status"] != "incomplete" {
		t.Errorf("%s", raw)
	}
}

func TestTrust(t *testing.T) {
	one, two, other := signer(t), signer(t), signer(t)
	b := standard(t)
	b.finish()
	p := b.plan()
	signWith := func(s *sign.Signer, index []byte) []byte {
		sig, err := sign.SignIndex(context.Background(), s, index)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	foreign := signWith(one, []byte("another index"))
	// A forger can name a key it does not have.
	forged := bytes.Replace(signWith(other, p.IndexBytes()), []byte(other.Public().Hint()), []byte(one.Public().Hint()), 1)
	loose, err := json.MarshalIndent(json.RawMessage(signWith(one, p.IndexBytes())), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	beside := []Evidence{{Name: "index.sig.json", Data: loose}}
	for name, c := range map[string]struct {
		signatures [][]byte
		o          Options
		class      error
		signers    []string
		text       string
	}{
		"right key":            {[][]byte{signWith(one, p.IndexBytes())}, Options{Policy: Keys(one.Public())}, nil, []string{one.Public().ID()}, ""},
		"one of two keys":      {[][]byte{signWith(one, p.IndexBytes())}, Options{Policy: Keys(two.Public(), one.Public())}, nil, []string{one.Public().ID()}, ""},
		"two signatures":       {[][]byte{signWith(one, p.IndexBytes()), signWith(two, p.IndexBytes())}, Options{Policy: Keys(two.Public(), one.Public())}, nil, []string{one.Public().ID(), two.Public().ID()}, ""},
		"second of two":        {[][]byte{signWith(one, p.IndexBytes()), signWith(two, p.IndexBytes())}, Options{Policy: Keys(two.Public())}, nil, []string{two.Public().ID()}, ""},
		"same twice":           {[][]byte{signWith(one, p.IndexBytes()), signWith(one, p.IndexBytes())}, Options{Policy: Keys(one.Public())}, nil, []string{one.Public().ID()}, ""},
		"detached":             {nil, Options{Policy: Keys(one.Public()), Detached: beside}, nil, []string{one.Public().ID()}, ""},
		"any of":               {[][]byte{signWith(two, p.IndexBytes())}, Options{Policy: AnyOf(Keys(one.Public()), Keys(two.Public()), Keys(two.Public()))}, nil, []string{two.Public().ID()}, ""},
		"skipped":              {nil, Options{SkipSignature: true}, nil, nil, ""},
		"skipped wrong":        {[][]byte{foreign}, Options{SkipSignature: true}, nil, nil, ""},
		"unsigned":             {nil, Options{Policy: Keys(one.Public())}, ErrUnsigned, nil, "is not signed"},
		"wrong key":            {[][]byte{signWith(other, p.IndexBytes())}, Options{Policy: Keys(one.Public())}, ErrUntrusted, nil, "was made with key " + other.Public().ID()[:16] + ", and trusted are " + one.Public().ID()[:16]},
		"any of none":          {[][]byte{signWith(other, p.IndexBytes())}, Options{Policy: AnyOf(Keys(one.Public()), Keys(two.Public()))}, ErrUntrusted, nil, two.Public().ID()[:16]},
		"no key":               {[][]byte{signWith(one, p.IndexBytes())}, Options{Policy: Keys()}, ErrUntrusted, nil, "trusted are none"},
		"no policy":            {[][]byte{signWith(one, p.IndexBytes())}, Options{}, ErrUntrusted, nil, "no key, identity or policy was given"},
		"other index":          {[][]byte{foreign}, Options{Policy: Keys(one.Public())}, ErrUntrusted, nil, "signatures/1.sigstore.json signs another index"},
		"forged":               {[][]byte{forged}, Options{Policy: Keys(one.Public())}, ErrUntrusted, nil, "that key did not make it"},
		"not a bundle":         {[][]byte{[]byte("{}")}, Options{Policy: Keys(one.Public())}, ErrUntrusted, nil, "signatures/1.sigstore.json cannot be used"},
		"not canonical":        {[][]byte{loose}, Options{Policy: Keys(one.Public())}, ErrDamaged, []string{one.Public().ID()}, "signatures/1.sigstore.json is malformed"},
		"garbage beside":       {[][]byte{signWith(one, p.IndexBytes()), []byte("garbage")}, Options{Policy: Keys(one.Public())}, ErrDamaged, []string{one.Public().ID()}, "signatures/2.sigstore.json is malformed"},
		"garbage while asking": {[][]byte{[]byte("garbage")}, Options{SkipSignature: true}, ErrDamaged, nil, "signatures/1.sigstore.json is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			rep, err := both(t, b.commit(p, c.signatures...), c.o)
			if c.class == nil && err != nil || !errors.Is(err, c.class) {
				t.Fatalf("error %v, want %v", err, c.class)
			}
			if err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %q, want %q", err, c.text)
			}
			ids := []string{}
			for _, s := range rep.Signature.Signers {
				ids = append(ids, s.KeyID)
			}
			if !slices.Equal(ids, append([]string{}, c.signers...)) {
				t.Errorf("signers %v, want %v", ids, c.signers)
			}
			if untrusted := errors.Is(err, ErrUntrusted) || errors.Is(err, ErrUnsigned); untrusted != (rep.Content.Status == ContentUnchecked) || untrusted != (rep.Name == "") {
				t.Errorf("content %s, name %q", rep.Content.Status, rep.Name)
			}
		})
	}
}

// What somebody did to a bundle while building it must come out with the name
// of what is hit, and with the right exit code.
func TestContent(t *testing.T) {
	blobOf := func(data string) digest.Digest { return digest.FromString(data) }
	for name, c := range map[string]struct {
		change func(b *builder)
		class  error
		want   string
	}{
		"missing layer": {func(b *builder) { b.left[blobOf("coredns layer")] = true }, ErrIncomplete,
			"missing image " + coredns + " (layer 1 of 1): \n"},
		"missing shared layer": {func(b *builder) { b.left[blobOf("base layer")] = true }, ErrIncomplete,
			"missing image " + pause + " (layer 1 of 3), image " + nginx + " (linux/amd64, layer 1 of 2): \n"},
		"missing config": {func(b *builder) { b.left[digest.FromBytes(b.config("arm64"))] = true }, ErrIncomplete,
			"missing image " + nginx + " (linux/arm64, config): \n"},
		"missing chart": {func(b *builder) { b.left[blobOf("chart aecp1.0.0")] = true }, ErrIncomplete,
			"missing chart aecp-1.0.0: \n"},
		"missing files": {func(b *builder) { b.left[b.rootfs[1].Digest] = true }, ErrIncomplete,
			"missing root file system layer 2 of 2: \n"},
		"missing signature of an image": {func(b *builder) { b.left[blobOf(`{"critical":{}}`)] = true }, ErrIncomplete,
			"missing attachment registry.k8s.io/pause:" + strings.Replace(string(b0(t)), ":", "-", 1) + ".sig (layer 1 of 1): \n"},
		"missing manifest": {func(b *builder) { b.left[b.contents.Images[2].Digest] = true }, ErrIncomplete,
			"missing image " + coredns + " (manifest): \n"},
		"missing platform": {func(b *builder) {
			// Its layers go too, as a builder that forgot it would do.
			b.left[manifestOf(b, blobOf("nginx for arm64"))] = true
			b.left[blobOf("nginx for arm64")] = true
			b.left[digest.FromBytes(b.config("arm64"))] = true
		}, ErrIncomplete,
			"missing image " + nginx + " (linux/arm64): the inventory promises this platform\n"},
		"promised platform": {func(b *builder) {
			b.contents.Images[1].Platforms = append(b.contents.Images[1].Platforms, "linux/s390x")
		}, ErrIncomplete,
			"missing image " + nginx + " (linux/s390x): the inventory promises this platform\n"},
		"no platform at all": {func(b *builder) {
			d := child(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: blobOf("none"), Size: 4}, "riscv64", "")
			b.image("example.com/list:1", b.list(d))
		}, ErrIncomplete,
			"missing image example.com/list:1: none of its platforms is in the bundle\n"},
		"platform of no kind": {func(b *builder) {
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: blobOf("none"), Size: 4}
			b.image("example.com/list:1", b.list(d))
		}, ErrIncomplete,
			"missing image example.com/list:1 (manifest): \n"},
		"unexpected blob": {func(b *builder) { b.blob("", []byte("stowaway")) }, ErrDamaged,
			"unexpected blob " + string(blobOf("stowaway")) + ": nothing in the bundle asks for it\n"},
		"unexpected image": {func(b *builder) { b.entry(b.index.Manifests[0], archive.KindImage, "example.com/stowaway:1") }, ErrDamaged,
			"unexpected image example.com/stowaway:1: index.json lists it and the inventory does not\n"},
		"unexpected chart": {func(b *builder) { b.chart("extra", "2"); b.contents.Charts = b.contents.Charts[:1] }, ErrDamaged,
			"unexpected chart extra-2: index.json lists it and the inventory does not\n"},
		"image not in index": {func(b *builder) {
			b.contents.Images = append(b.contents.Images, manifest.Image{Name: "example.com/x:1", Digest: blobOf("x")})
		}, ErrIncomplete,
			"missing image example.com/x:1: the inventory lists it and index.json does not\n"},
		"chart not in index": {func(b *builder) {
			b.contents.Charts = append(b.contents.Charts, manifest.Chart{Name: "x", Version: "1", Digest: blobOf("x")})
		}, ErrIncomplete,
			"missing chart x-1: the inventory lists it and index.json does not\n"},
		"attachment not in index": {func(b *builder) {
			b.contents.Images[2].Attached = []manifest.Attached{{Digest: blobOf("x")}}
		}, ErrIncomplete,
			"missing attachment of image " + coredns + ": the inventory lists it and index.json does not\n"},
		"swapped digests": {func(b *builder) {
			i := b.contents.Images
			i[0].Digest, i[2].Digest = i[2].Digest, i[0].Digest
		}, ErrDamaged,
			"malformed image " + coredns + ": index.json gives it this digest, and the inventory DIGEST\n" +
				"malformed image " + pause + ": index.json gives it this digest, and the inventory DIGEST\n"},
		"other media type": {func(b *builder) { b.contents.Images[2].MediaType = "text/plain" }, ErrDamaged,
			"malformed image " + coredns + ": index.json gives it media type application/vnd.oci.image.manifest.v1+json, and the inventory text/plain\n"},
		"listed twice": {func(b *builder) { b.entry(b.index.Manifests[0], archive.KindImage, nginx) }, ErrDamaged, "listed twice"},
		"other name": {func(b *builder) { b.contents.Name = "other" }, ErrDamaged,
			"malformed inventory: it says name \"other\" and index.json \"cnstack-ce\"\n"},
		"newer inventory": {func(b *builder) { b.contents.SchemaVersion = 2 }, ErrDamaged,
			"malformed inventory: it has schema version 2, and this tool reads 1\n"},
		"wrong size": {func(b *builder) {
			d := b.blob(ocispec.MediaTypeImageLayer, []byte("odd"))
			d.Size = 4
			m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: b.blob(ocispec.MediaTypeImageConfig, []byte("{}")), Layers: []ocispec.Descriptor{d}}
			b.image("example.com/odd:1", b.blob(ocispec.MediaTypeImageManifest, b.json(m)))
		}, ErrDamaged,
			"malformed image example.com/odd:1 (layer 1 of 1): it is listed with 4 bytes and stored with 3\n"},
		"not a manifest": {func(b *builder) { b.image("example.com/odd:1", b.blob(ocispec.MediaTypeImageManifest, []byte("odd"))) }, ErrDamaged,
			"malformed image example.com/odd:1 (manifest): it is not the JSON of application/vnd.oci.image.manifest.v1+json\n"},
		"deep": {func(b *builder) {
			d := b.index.Manifests[0]
			d.Annotations = nil
			for range 12 {
				d = b.list(d)
			}
			b.image("example.com/deep:1", d)
		}, ErrDamaged,
			"malformed image example.com/deep:1 (index): indexes nest more than 8 deep\n"},
		"unprintable": {func(b *builder) { b.entry(b.index.Manifests[0], archive.KindImage, "evil\x1b[2J\u202e\n:1") }, ErrDamaged,
			"unexpected image evil?[2J??:1: index.json lists it and the inventory does not\n"},
		"unknown kind": {func(b *builder) { b.entry(b.blob("text/plain", []byte("note")), "note", "") }, nil, ""},
		"unknown kind, missing": {func(b *builder) {
			b.entry(b.blob("text/plain", []byte("note")), "note", "")
			b.left[blobOf("note")] = true
		}, ErrIncomplete, "missing entry 7 of index.json: \n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := standard(t)
			c.change(b)
			b.finish()
			rep, err := both(t, b.commit(b.plan()), Options{SkipSignature: true})
			if c.class == nil && err != nil || !errors.Is(err, c.class) {
				t.Fatalf("error %v, want %v", err, c.class)
			}
			got := lines(rep.Content.Problems)
			for _, img := range b.contents.Images {
				got = strings.ReplaceAll(got, string(img.Digest), "DIGEST")
			}
			if name == "listed twice" {
				if !strings.Contains(got, "malformed image "+nginx+" (manifest): index.json lists it twice") {
					t.Errorf("problems:\n%s", got)
				}
			} else if got != c.want {
				t.Errorf("problems:\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// b0 is the digest of the standard bundle's first image.
func b0(t *testing.T) digest.Digest { return standard(t).contents.Images[0].Digest }

// manifestOf finds the manifest that has the layer d.
func manifestOf(b *builder, d digest.Digest) digest.Digest {
	for md, raw := range b.blobs {
		var m ocispec.Manifest
		if json.Unmarshal(raw, &m) == nil && slices.ContainsFunc(m.Layers, func(l ocispec.Descriptor) bool { return l.Digest == d }) {
			return md
		}
	}
	b.t.Fatal("no such manifest")
	return ""
}

// A bundle without an inventory, or with two, is not what pack builds.
func TestInventories(t *testing.T) {
	for name, c := range map[string]struct {
		finish func(b *builder)
		want   string
	}{
		"none": {func(*builder) {}, "index.json: it lists 0 inventories instead of one"},
		"two":  {func(b *builder) { b.finish(); b.finish() }, "index.json: it lists 2 inventories instead of one"},
		"other": {func(b *builder) {
			b.entry(b.manifest([]byte("{}")), archive.KindBundle, "bundle/x:1")
		}, "inventory: its media type is \"application/vnd.oci.image.config.v1+json\""},
		"text": {func(b *builder) {
			m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: b.blob(mediaTypeContents, []byte("text"))}
			b.entry(b.blob(ocispec.MediaTypeImageManifest, b.json(m)), archive.KindBundle, "bundle/x:1")
		}, "inventory: it is not the JSON of an inventory"},
		"blob": {func(b *builder) {
			b.entry(b.blob("text/plain", []byte("text")), archive.KindBundle, "bundle/x:1")
		}, "manifest of the bundle: it has no inventory"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder(t)
			b.image(pause, b.manifest(b.config("amd64"), "x"), "linux/amd64")
			c.finish(b)
			rep, err := both(t, b.commit(b.plan()), Options{SkipSignature: true})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(lines(rep.Content.Problems), c.want) {
				t.Errorf("error %v\n%s", err, lines(rep.Content.Problems))
			}
		})
	}
}

// Those who only ask whose a bundle is must get the same answer.
func TestTrustAlone(t *testing.T) {
	s, other := signer(t), signer(t)
	r, err := archive.Open(standard(t).write(s))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rep, err := Trust(t.Context(), r, Options{Policy: Keys(s.Public())})
	if err != nil || rep.Signature.Status != StatusVerified || rep.OK || rep.Content.Status != ContentUnchecked {
		t.Errorf("%+v, error %v", rep, err)
	}
	if rep, err = Trust(t.Context(), r, Options{Policy: Keys(other.Public())}); !errors.Is(err, ErrUntrusted) || rep.Signature.Status != StatusUntrusted {
		t.Errorf("%+v, error %v", rep, err)
	}
	if r.Index() != nil {
		t.Error("the index was parsed")
	}
}

func TestPathErrors(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		dir + "/none": "no such file",
		dir:           "not a regular file",
	} {
		rep, err := Path(context.Background(), path, Options{SkipSignature: true})
		if rep != nil || err == nil || ExitClass(err) != exitFailed || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: report %v, error %v", path, rep, err)
		}
	}
	noise := dir + "/noise"
	if err := os.WriteFile(noise, bytes.Repeat([]byte("no bundle "), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	rep, err := Path(context.Background(), noise, Options{SkipSignature: true})
	if !errors.Is(err, ErrDamaged) || rep.OK {
		t.Errorf("noise: %v", err)
	}
}

func TestCanceled(t *testing.T) {
	path := standard(t).write()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Path(ctx, path, Options{SkipSignature: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("file: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Stream(ctx, bytes.NewReader(data), Options{SkipSignature: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("stream: %v", err)
	}
}
