package pull

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxConfig is the largest image config that is read, in bytes.
const maxConfig = 4 << 20

// dockerImage is one element of a docker archive's manifest.json.
type dockerImage struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// dockerArchive is what "docker save" writes. It has no manifests, so one is
// made for each image, the same for the same content: an OCI manifest with
// the config's bytes as they are and the layers as they lie in the archive,
// mostly uncompressed.
//
// The digest of an uncompressed layer is the diff ID that the config
// promises; whoever stores the blob checks it. Compressed layers, as some
// tools write them, are hashed once when the archive is opened.
type dockerArchive struct {
	store
	entries []entry
	inline  map[digest.Digest][]byte // manifests and configs
	blobs   map[digest.Digest]string // layers, by member name

	mu     sync.Mutex
	hashed map[string]ocispec.Descriptor
}

// newDockerArchive reads manifest.json; fs.ErrNotExist if there is none.
func newDockerArchive(s store) (*dockerArchive, error) {
	raw, err := readMember(s, "manifest.json", 4*MaxManifest)
	if err != nil {
		return nil, err
	}
	var images []dockerImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, reason(ErrInvalid, "its manifest.json is not that of a docker archive: %s", err)
	}
	a := &dockerArchive{store: s, inline: map[digest.Digest][]byte{},
		blobs: map[digest.Digest]string{}, hashed: map[string]ocispec.Descriptor{}}
	for i, img := range images {
		e, err := a.add(img)
		if err != nil {
			return nil, fmt.Errorf("its image %d %q: %w", i+1, img.RepoTags, err)
		}
		a.entries = append(a.entries, e)
	}
	return a, nil
}

func (a *dockerArchive) add(img dockerImage) (entry, error) {
	if len(img.Layers) > maxLayers {
		return entry{}, reason(ErrInvalid, "it lists %d layers, %d are allowed", len(img.Layers), maxLayers)
	}
	config, err := readMember(a.store, img.Config, maxConfig)
	if err != nil {
		return entry{}, reason(ErrInvalid, "its config cannot be read: %s", err)
	}
	var parsed ocispec.Image
	if err := json.Unmarshal(config, &parsed); err != nil {
		return entry{}, reason(ErrInvalid, "its config is not JSON: %s", err)
	}
	ids := parsed.RootFS.DiffIDs
	if len(ids) != len(img.Layers) {
		return entry{}, reason(ErrInvalid, "its config names %d layers, manifest.json %d", len(ids), len(img.Layers))
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig,
			Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: make([]ocispec.Descriptor, len(ids)),
	}
	for i, name := range img.Layers {
		if m.Layers[i], err = a.layer(name, ids[i]); err != nil {
			return entry{}, err
		}
		a.blobs[m.Layers[i].Digest] = name
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return entry{}, err
	}
	e := entry{desc: ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}}
	a.inline[m.Config.Digest], a.inline[e.desc.Digest] = config, raw
	for _, tag := range img.RepoTags {
		if n, ok := parseRepoTag(tag); ok {
			e.names = append(e.names, n)
		}
	}
	return e, nil
}

// layer describes one layer file.
func (a *dockerArchive) layer(name string, id digest.Digest) (ocispec.Descriptor, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := a.hashed[name]; ok {
		return d, nil
	}
	if err := checkDescriptor(ocispec.Descriptor{Digest: id}); err != nil {
		return ocispec.Descriptor{}, err
	}
	r, size, err := a.store.open(name, 0)
	if err != nil {
		return ocispec.Descriptor{}, reason(ErrInvalid, "its layer %q cannot be read: %s", clip(name), err)
	}
	defer r.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return ocispec.Descriptor{}, fmt.Errorf("its layer %q: %w", clip(name), err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: size}
	if kind := sniff(head[:n]); kind != "" {
		h := sha256.New()
		h.Write(head[:n])
		if _, err := io.Copy(h, r); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("its layer %q: %w", clip(name), err)
		}
		d.MediaType += "+" + kind
		d.Digest = digest.NewDigest(digest.SHA256, h)
	}
	a.hashed[name] = d
	return d, nil
}

func (a *dockerArchive) list() []entry { return a.entries }

func (a *dockerArchive) read(d digest.Digest, limit int64) ([]byte, error) {
	raw, ok := a.inline[d]
	if !ok {
		return nil, notExist(string(d))
	}
	if int64(len(raw)) > limit {
		return nil, reason(ErrInvalid, "%s has %d bytes, %d are allowed", d, len(raw), limit)
	}
	return raw, nil
}

func (a *dockerArchive) open(d digest.Digest, offset int64) (io.ReadCloser, int64, error) {
	if raw, ok := a.inline[d]; ok {
		return section(raw, offset), int64(len(raw)), nil
	}
	name, ok := a.blobs[d]
	if !ok {
		return nil, 0, notExist(string(d))
	}
	return a.store.open(name, offset)
}

// both is a docker archive with an OCI layout inside, as current docker
// writes it: the layout goes first, since its manifests are the real ones.
type both struct {
	layout  *layout
	docker  *dockerArchive
	entries []entry
}

func newBoth(s store) (content, error) {
	l, lerr := newLayout(s)
	if lerr != nil && !errors.Is(lerr, fs.ErrNotExist) {
		return nil, lerr
	}
	d, derr := newDockerArchive(s)
	switch {
	case derr != nil && !(lerr == nil && errors.Is(derr, fs.ErrNotExist)):
		if errors.Is(derr, fs.ErrNotExist) {
			return nil, reason(ErrInvalid, "it is no docker archive: it has no manifest.json")
		}
		return nil, derr
	case derr != nil:
		return l, nil
	case lerr != nil:
		return d, nil
	}
	b := &both{layout: l, docker: d, entries: append([]entry{}, l.entries...)}
	named := map[string]bool{}
	for _, e := range l.entries {
		for _, n := range e.names {
			named[n.String()] = true
		}
	}
	for _, e := range d.entries {
		var names []localName
		for _, n := range e.names {
			if !named[n.String()] {
				names = append(names, n)
			}
		}
		b.entries = append(b.entries, entry{desc: e.desc, names: names})
	}
	return b, nil
}

func (b *both) list() []entry { return b.entries }

func (b *both) read(d digest.Digest, limit int64) ([]byte, error) {
	raw, err := b.layout.read(d, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return b.docker.read(d, limit)
	}
	return raw, err
}

func (b *both) open(d digest.Digest, offset int64) (io.ReadCloser, int64, error) {
	r, size, err := b.layout.open(d, offset)
	if errors.Is(err, fs.ErrNotExist) {
		return b.docker.open(d, offset)
	}
	return r, size, err
}

func (b *both) Close() error { return b.docker.Close() }
