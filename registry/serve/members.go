package serve

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxDepth bounds indexes within indexes.
	maxDepth = 8

	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

func isIndexType(mt string) bool {
	return mt == ocispec.MediaTypeImageIndex || mt == mediaTypeDockerList
}

func isManifestType(mt string) bool {
	return isIndexType(mt) || mt == ocispec.MediaTypeImageManifest || mt == mediaTypeDockerManifest
}

// members is what belongs to a group: its manifests and the blobs they name.
// They are found by reading the group's manifests, the first time somebody
// asks; a server with hundreds of images starts without reading one.
type members struct {
	mu        sync.RWMutex
	whole     bool // everything that can be read was read
	manifests map[digest.Digest]struct{}
	blobs     map[digest.Digest]struct{}
}

// document is what the server needs to know of a manifest or an index.
type document struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Annotations  map[string]string    `json:"annotations"`
}

// load reads the manifests of g unless that was done. A manifest that cannot
// be read is left for the next call, and does not hide the others; the error
// names the first such.
func (g *group) load(s *store) error {
	m := &g.members
	m.mu.RLock()
	whole := m.whole
	m.mu.RUnlock()
	if whole {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.whole {
		return nil
	}
	w := walker{s: s, manifests: map[digest.Digest]struct{}{}, blobs: map[digest.Digest]struct{}{}}
	for _, root := range g.roots {
		w.walk(root, 0)
	}
	m.manifests, m.blobs = w.manifests, w.blobs
	m.whole = w.err == nil
	if w.err != nil {
		return fmt.Errorf("%s: %w", join(g.host, g.path), w.err)
	}
	return nil
}

type walker struct {
	s                *store
	manifests, blobs map[digest.Digest]struct{}
	err              error
}

func (w *walker) walk(desc ocispec.Descriptor, depth int) {
	if _, ok := w.manifests[desc.Digest]; ok || depth > maxDepth {
		return
	}
	if _, ok := w.s.size(desc.Digest); !ok {
		return // a platform that was not taken along
	}
	w.manifests[desc.Digest] = struct{}{}
	raw, err := w.s.read(desc.Digest, maxManifest)
	if err == nil {
		var doc document
		if err = json.Unmarshal(raw, &doc); err == nil {
			w.document(doc, depth)
			return
		}
		err = fmt.Errorf("%s is not a manifest: %w", desc.Digest, err)
	}
	if w.err == nil {
		w.err = err
	}
}

func (w *walker) document(doc document, depth int) {
	for _, child := range doc.Manifests {
		if isManifestType(child.MediaType) {
			w.walk(child, depth+1)
		} else {
			w.blobs[child.Digest] = struct{}{}
		}
	}
	if doc.Config != nil {
		w.blobs[doc.Config.Digest] = struct{}{}
	}
	for _, l := range doc.Layers {
		w.blobs[l.Digest] = struct{}{}
	}
}

// hasManifest tells whether d is a manifest of the repository.
func (r *repo) hasManifest(s *store, d digest.Digest) (bool, error) {
	// Most manifests are asked for right after their tag was, and those need
	// no reading.
	for _, g := range r.groups {
		for i := range g.roots {
			if g.roots[i].Digest == d {
				return true, nil
			}
		}
	}
	return r.find(s, func(m *members) bool { _, ok := m.manifests[d]; return ok })
}

// hasBlob tells whether a manifest of the repository names the blob d.
func (r *repo) hasBlob(s *store, d digest.Digest) (bool, error) {
	return r.find(s, func(m *members) bool { _, ok := m.blobs[d]; return ok })
}

func (r *repo) find(s *store, match func(*members) bool) (bool, error) {
	var first error
	for _, g := range r.groups {
		err := g.load(s)
		g.members.mu.RLock()
		ok := match(&g.members)
		g.members.mu.RUnlock()
		if ok {
			return true, nil
		}
		if first == nil {
			first = err
		}
	}
	return false, first
}

// collect gives all manifests, or all blobs, of the repository in no order.
func (r *repo) collect(s *store, pick func(*members) map[digest.Digest]struct{}) ([]digest.Digest, error) {
	var first error
	seen := map[digest.Digest]struct{}{}
	var all []digest.Digest
	for _, g := range r.groups {
		if err := g.load(s); err != nil && first == nil {
			first = err
		}
		g.members.mu.RLock()
		for d := range pick(&g.members) {
			if _, dup := seen[d]; !dup {
				seen[d] = struct{}{}
				all = append(all, d)
			}
		}
		g.members.mu.RUnlock()
	}
	return all, first
}
