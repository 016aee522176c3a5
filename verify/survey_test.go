package verify

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// memory is a bundle that somebody made up.
type memory struct {
	emptyHoldings
	index *ocispec.Index
	blobs map[digest.Digest][]byte
}

func (m memory) Index() *ocispec.Index { return m.index }

func (m memory) Blobs() []archive.Blob {
	var list []archive.Blob
	for d, raw := range m.blobs {
		list = append(list, archive.Blob{Digest: d, Size: int64(len(raw))})
	}
	return list
}

func (m memory) Stat(d digest.Digest) (archive.Blob, bool) {
	raw, ok := m.blobs[d]
	return archive.Blob{Digest: d, Size: int64(len(raw))}, ok
}

func (m memory) read(_ context.Context, d digest.Digest, _ int64) ([]byte, error) {
	if raw, ok := m.blobs[d]; ok {
		return raw, nil
	}
	return nil, &archive.Error{Class: archive.ErrMissing, Digest: d}
}

func (m memory) Extent(digest.Digest) (offset, length int64) { return 1, 2 }

// FuzzSurvey makes up index, manifest and inventory of an unsigned bundle. A
// survey must end, name every problem, and never call whole what has no
// inventory.
func FuzzSurvey(f *testing.F) {
	b := standard(f)
	b.finish()
	index := b.json(b.index)
	var inventory, list []byte
	for _, raw := range b.blobs {
		var probe struct {
			SchemaVersion int               `json:"schemaVersion"`
			Name          string            `json:"name"`
			Manifests     []json.RawMessage `json:"manifests"`
		}
		if json.Unmarshal(raw, &probe) != nil {
			continue
		}
		if probe.Name != "" && probe.SchemaVersion == 1 {
			inventory = raw
		}
		if probe.Manifests != nil {
			list = raw
		}
	}
	f.Add(index, list, inventory)
	f.Add(index, b.blobs[b.contents.Images[0].Digest], []byte(`{"schemaVersion":1,"images":[{}],"charts":[{}]}`))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"vnd.bundle.kind":"bundle"},"size":1}]}`), []byte(`{"config":{"mediaType":"application/vnd.bundle.config.v1+json"}}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, index, manifest, config []byte) {
		held := memory{index: new(ocispec.Index), blobs: map[digest.Digest][]byte{}}
		if json.Unmarshal(index, held.index) != nil {
			return
		}
		// Let the references meet: by size, as a fuzzer finds sizes and no
		// digests.
		var m map[string]any
		if json.Unmarshal(manifest, &m) == nil {
			if c, ok := m["config"].(map[string]any); ok {
				c["digest"], c["size"] = digest.FromBytes(config), len(config)
				if raw, err := json.Marshal(m); err == nil {
					manifest = raw
				}
			}
		}
		for _, raw := range [][]byte{manifest, config} {
			held.blobs[digest.FromBytes(raw)] = raw
		}
		for i := range held.index.Manifests {
			held.index.Manifests[i].Digest = digest.FromBytes(manifest)
			held.index.Manifests[i].Size = int64(len(manifest))
		}
		s := &survey{held: held}
		if err := s.conduct(context.Background()); err != nil {
			t.Fatal(err)
		}
		problems, _ := s.problems.finish(s.object, "")
		for _, p := range problems {
			if p.Object == "" || p.Kind == "" {
				t.Fatalf("a problem without a name: %+v", p)
			}
		}
		if statusOf(problems) == ContentWhole && s.contents == nil {
			t.Fatal("whole without an inventory")
		}
	})
}
