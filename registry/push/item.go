package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// maxManifest bounds a manifest, in bytes; registries take 4 MiB.
	maxManifest = 8 << 20
	maxDepth    = 8
)

// ErrSparse says that the registry refuses an image index because platforms
// that it lists are not in the bundle.
var ErrSparse = errors.New("the registry wants every platform that the image index lists")

// document is the part of a manifest or an index that a push follows.
type document struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   *ocispec.Descriptor  `json:"subject"`
}

// tree is a manifest with all below it that the bundle holds.
type tree struct {
	desc     ocispec.Descriptor
	raw      []byte
	blobs    []ocispec.Descriptor
	subject  *ocispec.Descriptor
	children []*tree
	sparse   bool // children are missing
	index    bool
}

// load reads the manifest desc and what is below it.
func (p *pusher) load(desc ocispec.Descriptor, depth int) (*tree, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it has indexes within indexes beyond %d levels", maxDepth)
	}
	raw, err := p.bundle.ReadBlob(desc.Digest, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("manifest %s is not JSON: %w", desc.Digest, err)
	}
	if doc.MediaType == "" {
		doc.MediaType = desc.MediaType
	}
	t := &tree{desc: ocispec.Descriptor{MediaType: doc.MediaType, Digest: desc.Digest, Size: int64(len(raw))},
		raw: raw, subject: doc.Subject, index: doc.Config == nil}
	if doc.Config != nil {
		t.blobs = append(t.blobs, *doc.Config)
	}
	t.blobs = append(t.blobs, doc.Layers...)
	for _, d := range doc.Manifests {
		if _, ok := p.bundle.Stat(d.Digest); !ok {
			t.sparse = true
			continue
		}
		child, err := p.load(d, depth+1)
		if err != nil {
			return nil, err
		}
		t.children = append(t.children, child)
	}
	return t, nil
}

// item pushes one entry of the bundle, blobs first, its own name last. The
// item's counts are right even if there is an error.
func (p *pusher) item(ctx context.Context, it item) (Item, error) {
	done := Item{Kind: it.kind, Ref: it.source, Target: it.name(p.target), Digest: it.desc.Digest}
	t, err := p.load(it.desc, 0)
	if err != nil {
		return done, err
	}
	if p.opts.TrimIndexes && t.sparse {
		if t, err = trim(t); err != nil {
			return done, err
		}
		done.Trimmed, done.Digest = true, t.desc.Digest
	}
	to := p.target.at(it.repository)
	if done.Counts, err = p.below(ctx, to, t); err != nil {
		return done, explained(err)
	}
	done.Present, err = p.manifest(ctx, to, t, it.tag)
	if err != nil {
		return done, explained(sparseError(err, t))
	}
	return done, nil
}

// below pushes all that t names: its blobs in parallel, then its children.
func (p *pusher) below(ctx context.Context, to wire.Target, t *tree) (Counts, error) {
	counts := make([]Counts, len(t.blobs))
	var g errgroup.Group
	seen := map[digest.Digest]bool{}
	for i, d := range t.blobs {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		g.Go(func() error {
			how, err := p.blob(ctx, to, d)
			counts[i] = how
			return err
		})
	}
	err := g.Wait()
	var sum Counts
	for _, c := range counts {
		sum.add(c)
	}
	if err != nil {
		return sum, err
	}
	for _, child := range t.children {
		c, err := p.below(ctx, to, child)
		sum.add(c)
		if err != nil {
			return sum, err
		}
		if _, err := p.manifest(ctx, to, child, ""); err != nil {
			return sum, sparseError(err, child)
		}
	}
	return sum, nil
}

// sparseError says why a registry refused an index that lacks children.
func sparseError(err error, t *tree) error {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok || !t.sparse || e.Status != http.StatusBadRequest && e.Status != http.StatusNotFound && e.Status != http.StatusUnprocessableEntity {
		return err
	}
	e.Hint = "push the present platforms alone with --trim-indexes, which changes the digest, or build with all platforms"
	return fmt.Errorf("%w: %w", ErrSparse, err)
}

// manifest puts t under its digest or tag, unless it is there already.
func (p *pusher) manifest(ctx context.Context, to wire.Target, t *tree, tag string) (present bool, err error) {
	name := tag
	if name == "" {
		name = t.desc.Digest.String()
	}
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodHead,
		Path:   "manifests/" + name,
		Header: http.Header{"Accept": {t.desc.MediaType}},
		Accept: []int{http.StatusOK},
	})
	switch {
	case err == nil:
		_ = resp.Body.Close()
		present = tag == "" || resp.Header.Get("Docker-Content-Digest") == t.desc.Digest.String()
	case !errors.Is(err, wire.ErrNotFound):
		return false, err
	}
	// Something with a subject is put once more: whether it is on the list
	// of referrers is only known from the answer.
	if p.opts.DryRun || present && t.subject == nil {
		return present, nil
	}
	resp, err = p.client.Do(ctx, to, put(name, t.desc.MediaType, t.raw))
	if err != nil {
		return present, err
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != t.desc.Digest.String() {
		return present, &wire.Error{Addr: to.Addr, Class: wire.ErrRefused, Status: resp.StatusCode,
			Reason: fmt.Sprintf("stored the manifest %s as %.80s", t.desc.Digest, got)}
	}
	if t.subject != nil && resp.Header.Get("OCI-Subject") == "" {
		return present, p.refer(ctx, to, t)
	}
	return present, nil
}

// trim gives what stands for an index of which only some platforms are
// present: the manifest of the only one, or an index without the others.
func trim(t *tree) (*tree, error) {
	var images []*tree
	for _, c := range t.children {
		if !c.index && !attests(t, c) {
			images = append(images, c)
		}
	}
	if len(images) == 1 && len(t.children) == 1 {
		return images[0], nil
	}
	if len(t.children) == 0 {
		return nil, fmt.Errorf("no platform of it is in the bundle: %w", archive.ErrMissing)
	}
	var fields map[string]json.RawMessage
	var entries struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(t.raw, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(t.raw, &entries); err != nil {
		return nil, err
	}
	kept := []json.RawMessage{}
	for _, raw := range entries.Manifests {
		var d ocispec.Descriptor
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, err
		}
		for _, c := range t.children {
			if c.desc.Digest == d.Digest {
				kept = append(kept, raw)
				break
			}
		}
	}
	list, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	fields["manifests"] = list
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	trimmed := *t
	trimmed.raw, trimmed.sparse = raw, false
	trimmed.desc.Digest, trimmed.desc.Size = digest.FromBytes(raw), int64(len(raw))
	return &trimmed, nil
}

// attests tells whether the index t lists c as an attestation.
func attests(t *tree, c *tree) bool {
	var doc document
	if json.Unmarshal(t.raw, &doc) != nil {
		return false
	}
	for _, d := range doc.Manifests {
		if d.Digest == c.desc.Digest && d.Annotations["vnd.docker.reference.digest"] != "" {
			return true
		}
	}
	return false
}
