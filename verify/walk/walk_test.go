package walk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// store is a registry in memory.
type store map[digest.Digest][]byte

var errAbsent = errors.New("absent")

func (s store) fetch(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	if b, ok := s[d.Digest]; ok {
		return b, nil
	}
	return nil, errAbsent
}

func (s store) put(t testing.TB, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	raw, ok := v.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	s[d.Digest] = raw
	return d
}

func (s store) image(t testing.TB, layers ...string) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	m.Config = s.put(t, ocispec.MediaTypeImageConfig, []byte(`{"layers":"`+strings.Join(layers, "+")+`"}`))
	for _, l := range layers {
		m.Layers = append(m.Layers, s.put(t, ocispec.MediaTypeImageLayer, []byte(l)))
	}
	return s.put(t, ocispec.MediaTypeImageManifest, m)
}

func (s store) index(t testing.TB, children ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	return s.put(t, ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children})
}

func top(d ...ocispec.Descriptor) *ocispec.Index { return &ocispec.Index{Manifests: d} }

// lines writes what a walk sees.
func lines(t testing.TB, s store, index *ocispec.Index) ([]string, error) {
	t.Helper()
	var out []string
	err := Walk(context.Background(), index, s.fetch, func(n *Node) error {
		line := fmt.Sprintf("%d %s %d/%d", n.Root().Ordinal, n.Role, n.Ordinal, n.Of)
		switch {
		case n.Err != nil:
			line += " " + n.Err.Error()
		case n.Raw != nil && digest.FromBytes(n.Raw) != n.Digest:
			line += " WRONG BYTES"
		}
		out = append(out, line)
		return nil
	})
	return out, err
}

// The order and the counting are what messages say: "layer 2 of 3".
func TestWalkOrder(t *testing.T) {
	s := store{}
	one, two := s.image(t, "a", "b", "a"), s.image(t, "a", "c")
	list := s.index(t, one, s.index(t, two), ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4})
	blob := s.put(t, "application/x-new", []byte(`{"layers":[]}`))
	got, err := lines(t, s, top(list, two, blob))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1 index 1/3",
		"1 manifest 1/3", "1 config 1/1", "1 layer 1/3", "1 layer 2/3",
		"1 index 2/3",
		"1 manifest 1/1", "1 config 1/1", "1 layer 2/2",
		"1 manifest 3/3 absent",
		"2 manifest 2/3", "2 config 1/1", "2 layer 1/2", "2 layer 2/2",
		"3 blob 3/3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("walked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWalkRefuses(t *testing.T) {
	s := store{}
	layer := s.put(t, ocispec.MediaTypeImageLayer, []byte("x"))
	wrongSize := s.image(t, "size")
	wrongSize.Size++
	forged := s.image(t, "forged")
	s[forged.Digest] = []byte(strings.Repeat("x", int(forged.Size)))
	huge := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("huge"), Size: MaxManifest + 1}
	deep := s.image(t, "deep")
	for range MaxDepth + 1 {
		deep = s.index(t, deep)
	}
	// No index can list itself; one that tries names other bytes.
	self := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("self")}
	cycle, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{self}})
	if err != nil {
		t.Fatal(err)
	}
	self.Size = int64(len(cycle))
	s[self.Digest] = cycle
	for name, c := range map[string]struct {
		d    ocispec.Descriptor
		text string
	}{
		"size":     {wrongSize, "its descriptor says"},
		"digest":   {forged, "does not hash to its digest"},
		"huge":     {huge, "too many for a manifest"},
		"deep":     {deep, "nest more than 8 deep"},
		"cycle":    {self, "does not hash to its digest"},
		"text":     {s.put(t, ocispec.MediaTypeImageManifest, []byte("hello")), "it is not the JSON of"},
		"both":     {s.put(t, ocispec.MediaTypeImageManifest, []byte(`{"config":{},"manifests":[]}`)), "an index and a manifest at once"},
		"both too": {s.put(t, ocispec.MediaTypeImageIndex, []byte(`{"manifests":[],"layers":[]}`)), "an index and a manifest at once"},
		"schema 1": {s.put(t, MediaTypeDockerManifest, []byte(`{"config":{},"fsLayers":[]}`)), "an index and a manifest at once"},
		"turncoat": {s.put(t, ocispec.MediaTypeImageManifest, []byte(`{"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":[]}`)), "it says that it is"},
		"bare":     {s.put(t, ocispec.MediaTypeImageManifest, []byte(`{"layers":[]}`)), "it has no config"},
		"no digest": {s.put(t, ocispec.MediaTypeImageIndex, []byte(`{"manifests":[{"digest":"sha256:zz","size":1}]}`)),
			"is no sha256 digest"},
		"sha512": {s.put(t, ocispec.MediaTypeImageIndex, []byte(`{"manifests":[{"digest":"sha512:`+strings.Repeat("0", 128)+`","size":1}]}`)),
			"is no sha256 digest"},
		"negative": {s.put(t, ocispec.MediaTypeImageManifest, []byte(`{"config":{"digest":"`+string(layer.Digest)+`","size":-1}}`)), "has size -1"},
	} {
		t.Run(name, func(t *testing.T) {
			// The rest of the walk goes on behind the bad entry.
			got, err := lines(t, s, top(c.d, layer))
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(got, "\n")
			if !strings.Contains(all, "malformed") || !strings.Contains(all, c.text) {
				t.Errorf("walked\n%s\nwant %q", all, c.text)
			}
			if got[len(got)-1] != "2 blob 2/2" {
				t.Errorf("the walk ended early:\n%s", all)
			}
		})
	}
}

// One manifest may be named twice, rightly and wrongly; each name is judged
// by itself.
func TestWalkRoles(t *testing.T) {
	s := store{}
	good := s.image(t, "x")
	bad, docker := good, good
	bad.MediaType, docker.MediaType = ocispec.MediaTypeImageIndex, MediaTypeDockerManifest
	short := good
	short.Size--
	got, err := lines(t, s, top(good, bad, docker, short))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1 manifest 1/4", "1 config 1/1", "1 layer 1/1", "2 index 2/4 malformed: it says that it is application/vnd.oci.image.manifest.v1+json, and its descriptor application/vnd.oci.image.index.v1+json", "3 manifest 3/4", "3 config 1/1", "3 layer 1/1"}
	if len(got) != 8 || !slices.Equal(got[:7], want) || !strings.Contains(got[7], "4 manifest 4/4 malformed: it has") {
		t.Errorf("walked\n%s", strings.Join(got, "\n"))
	}
}

func TestWalkEnds(t *testing.T) {
	s := store{}
	image := s.image(t, "a", "b")
	stop := errors.New("stop")
	visits := 0
	if err := Walk(context.Background(), top(image), s.fetch, func(*Node) error { visits++; return stop }); err != stop || visits != 1 {
		t.Errorf("error %v after %d visits", err, visits)
	}
	visits = 0
	if err := Walk(context.Background(), top(image), s.fetch, func(*Node) error { visits++; return SkipChildren }); err != nil || visits != 1 {
		t.Errorf("error %v after %d visits", err, visits)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := Walk(ctx, top(image), func(context.Context, ocispec.Descriptor) ([]byte, error) {
		cancel()
		return nil, errAbsent
	}, func(*Node) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := lines(t, s, top(ocispec.Descriptor{Digest: "x"})); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "entry 1 of index.json") {
		t.Errorf("error %v", err)
	}
	var many []ocispec.Descriptor
	for i := range MaxTotal/MaxManifest + 1 {
		many = append(many, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: MaxManifest})
	}
	if _, err := lines(t, s, top(many...)); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v", err)
	}
}

func TestIsManifest(t *testing.T) {
	if IsManifest("application/vnd.docker.distribution.manifest.v1+json") || !IsManifest(MediaTypeArtifact) || !IsManifest(MediaTypeDockerList) {
		t.Error("manifests are taken for blobs, or blobs for manifests")
	}
}

// FuzzIndexWalk walks hostile indexes: it must end, without a panic, and see
// nothing whose bytes are not its digest's.
func FuzzIndexWalk(f *testing.F) {
	s := store{}
	image := s.image(f, "a", "b")
	f.Add([]byte(`{"manifests":[]}`), s[image.Digest])
	f.Add(s[s.index(f, image, image).Digest], s[image.Digest])
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]}`), []byte(`{}`))
	f.Add([]byte(`{"manifests":[{"size":-1}]}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, index, manifest []byte) {
		var i ocispec.Index
		if json.Unmarshal(index, &i) != nil {
			return
		}
		s := store{digest.FromBytes(index): index, digest.FromBytes(manifest): manifest}
		// What the index names shall be found, or nothing below is walked.
		for j := range i.Manifests {
			if i.Manifests[j].Size == int64(len(manifest)) {
				i.Manifests[j].Digest = digest.FromBytes(manifest)
			}
		}
		err := Walk(context.Background(), &i, s.fetch, func(n *Node) error {
			if n.Raw != nil && digest.FromBytes(n.Raw) != n.Digest {
				t.Fatalf("%s has other bytes", n.Digest)
			}
			if n.Err == nil && CheckDescriptor(n.Descriptor) != nil {
				t.Fatalf("an unusable descriptor is visited: %+v", n.Descriptor)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) {
			t.Fatal(err)
		}
	})
}
