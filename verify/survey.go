package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/verify/walk"
)

// mediaTypeContents is the media type of the inventory (docs/format.md).
const mediaTypeContents = "application/vnd.bundle.config.v1+json"

// Bounds on the inventory.
const (
	maxContents    = 256 << 20
	contentsSchema = 1
)

// holdings is a bundle whose index and layout were read: what a survey needs
// to know of it, whether it is a file or a stream that ran through.
type holdings interface {
	Index() *ocispec.Index
	Blobs() []archive.Blob
	// Stat finds a blob of the layout.
	Stat(digest.Digest) (archive.Blob, bool)
	// read gives a whole small blob, digest checked.
	read(ctx context.Context, d digest.Digest, limit int64) ([]byte, error)
	// Extent tells where a blob lies in the file.
	Extent(digest.Digest) (offset, length int64)
	// Bases are what the file leans on; none if it is whole. Absent are the
	// blobs of these that are not at hand.
	Bases() []archive.Base
	Absent() []archive.Blob
}

// survey compares what the index reaches with what the layout lists and with
// what the inventory promises.
type survey struct {
	held  holdings
	names nameBook
	// images and others are the entries of index.json by reference.
	images, charts map[string]*entry
	attached       map[digest.Digest]bool
	bundles        []*entry
	all            []*entry
	contents       *manifest.Contents
	// unread: a manifest could not be read, so what is below it is unknown.
	unread   bool
	problems problemList
	// needs says where what is missing should have come from; empty where
	// the file is whole.
	needs string
	// absent are the blobs that were left out of the file and are not at hand.
	absent map[digest.Digest]bool
	// files are the damaged files of layers of the root file system.
	files map[digest.Digest]string
}

// object names a blob, down to its files where they are known.
func (s *survey) object(d digest.Digest) string {
	name := s.names.object(d)
	if files := s.files[d]; files != "" {
		return files + " (" + name + ")"
	}
	return name
}

// entry is one entry of index.json and what was found below it.
type entry struct {
	node *walk.Node
	// present are the platforms of the manifests that are there.
	present map[manifest.Platform]bool
	// bare: there is a manifest whose platform only its config tells.
	bare bool
	// excused: manifests of other platforms were left out.
	excused bool
	// lost: something below it is missing.
	lost bool
	// config and layers of the entry's own manifest.
	config *walk.Node
	layers []*walk.Node
}

// conduct walks the whole index. Its error is not about the bundle.
func (s *survey) conduct(ctx context.Context) error {
	s.names = nameBook{}
	s.lean()
	if archive.IsPatch(s.held.Index()) {
		// It holds parts of a bundle, and its layout says which.
		return nil
	}
	s.images, s.charts = map[string]*entry{}, map[string]*entry{}
	s.attached, s.files = map[digest.Digest]bool{}, map[digest.Digest]string{}
	var fatal error
	fetch := func(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
		raw, err := s.held.read(ctx, d.Digest, walk.MaxManifest)
		if errors.Is(err, ErrStream) {
			fatal = err
		}
		return raw, err
	}
	var current *entry
	err := walk.Walk(ctx, s.held.Index(), fetch, func(n *walk.Node) error {
		if n.Parent == nil {
			current = &entry{node: n, present: map[manifest.Platform]bool{}}
			s.all = append(s.all, current)
			s.enter(current)
		}
		s.names.add(n)
		s.visit(current, n)
		// The walker keeps the bytes while it needs them.
		n.Raw = nil
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fatal != nil:
		return fatal
	case err != nil:
		s.unread = true
		s.problems.add(Problem{Kind: ProblemMalformed, Object: "index.json", Reason: reasonOf(err)})
		return nil
	}
	if err := s.readContents(ctx); err != nil {
		return err
	}
	s.checkEntries()
	s.checkContents()
	s.checkUnexpected()
	return nil
}

// enter sorts an entry of index.json by its kind.
func (s *survey) enter(e *entry) {
	ref := e.node.Annotations[archive.AnnotationRef]
	var group map[string]*entry
	switch e.node.Annotations[archive.AnnotationKind] {
	case archive.KindImage:
		group = s.images
	case archive.KindChart:
		group = s.charts
	case archive.KindAttached:
		s.attached[e.node.Digest] = true
		return
	case archive.KindBundle:
		s.bundles = append(s.bundles, e)
		return
	default:
		return
	}
	if group[ref] != nil {
		s.problems.add(Problem{Kind: ProblemMalformed, Object: nodeName(e.node), Digest: e.node.Digest, Reason: "index.json lists it twice"})
	}
	group[ref] = e
}

// visit checks that one node is there, with the size that its parent gives.
func (s *survey) visit(e *entry, n *walk.Node) {
	if n.Annotations[archive.AnnotationKind] == archive.KindLayout && n.Parent == nil {
		return
	}
	switch {
	case n.Parent != e.node:
	case n.Role == walk.RoleConfig:
		e.config = n
	case n.Role == walk.RoleLayer:
		e.layers = append(e.layers, n)
	}
	blob, ok := s.held.Stat(n.Digest)
	if !ok {
		if n.Role == walk.RoleManifest || n.Role == walk.RoleIndex {
			s.lack(e, n)
		} else {
			s.miss(e, n)
		}
		return
	}
	if blob.Size != n.Size {
		s.problems.add(Problem{Kind: ProblemMalformed, Object: nodeName(n), Digest: n.Digest,
			Reason: fmt.Sprintf("it is listed with %d bytes and stored with %d", n.Size, blob.Size)})
	}
	switch {
	case n.Err == nil:
	case errors.Is(n.Err, walk.ErrMalformed):
		s.unread = true
		s.problems.add(Problem{Kind: ProblemMalformed, Object: nodeName(n), Digest: n.Digest, Reason: reasonOf(n.Err)})
	case errors.Is(n.Err, errNotJSON):
		s.unread = true
		s.problems.add(Problem{Kind: ProblemMalformed, Object: nodeName(n), Digest: n.Digest, Reason: "it is not the JSON of " + printable(n.MediaType)})
	default:
		// Hashing finds that too, where it is no passing fault.
		s.unread = true
		if blob.Size == n.Size {
			s.problems.addError(n.Err, n.Digest)
		}
	}
	if n.Role == walk.RoleManifest {
		if p := nearestPlatform(n); p != nil {
			e.present[manifest.NewPlatform(p.OS, p.Architecture, p.Variant)] = true
		} else {
			e.bare = true
		}
	}
}

// nearestPlatform is the platform of the nearest index that gives one.
func nearestPlatform(n *walk.Node) *ocispec.Platform {
	for ; n.Parent != nil; n = n.Parent {
		if n.Platform != nil {
			return n.Platform
		}
	}
	return nil
}

// lack judges a manifest that is not there. Indexes of images may be sparse:
// manifests of platforms that nobody asked for, and what attests to them, may
// be left out. Which platforms must be there is checked with the inventory.
func (s *survey) lack(e *entry, n *walk.Node) {
	// What would be below it cannot be known.
	if !s.absent[n.Digest] && n.Parent != nil && e.node.Annotations[archive.AnnotationKind] == archive.KindImage {
		if nearestPlatform(n) != nil || n.Annotations["vnd.docker.reference.digest"] != "" {
			e.excused = true
			return
		}
	}
	s.unread = true
	s.miss(e, n)
}

func (s *survey) miss(e *entry, n *walk.Node) {
	e.lost = true
	reason := ""
	if s.absent[n.Digest] {
		reason = s.needs
	}
	s.problems.addBlob(ProblemMissing, n.Digest, 0, 0, reason)
}

// readContents reads the inventory.
func (s *survey) readContents(ctx context.Context) error {
	fault := func(object, format string, args ...any) {
		s.problems.add(Problem{Kind: ProblemMalformed, Object: object, Reason: fmt.Sprintf(format, args...)})
	}
	if len(s.bundles) != 1 {
		fault("index.json", "it lists %d inventories instead of one", len(s.bundles))
		return nil
	}
	config := s.bundles[0].config
	if config == nil {
		// Its manifest is missing or damaged, which is told elsewhere.
		if !s.unread {
			fault("manifest of the bundle", "it has no inventory")
		}
		return nil
	}
	if config.MediaType != mediaTypeContents {
		fault("inventory", "its media type is %.100q instead of %s", config.MediaType, mediaTypeContents)
		return nil
	}
	if _, ok := s.held.Stat(config.Digest); !ok {
		return nil
	}
	raw, err := s.held.read(ctx, config.Digest, maxContents)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrStream):
		return err
	case config.Size > maxContents:
		fault("inventory", "it has %d bytes, and at most %d are read", config.Size, maxContents)
		return nil
	case err != nil && !errors.Is(err, errNotJSON):
		// Hashing finds that too, where it is no passing fault.
		s.problems.addError(err, config.Digest)
		return nil
	}
	contents := new(manifest.Contents)
	if err != nil || json.Unmarshal(raw, contents) != nil {
		fault("inventory", "it is not the JSON of an inventory")
		return nil
	}
	if contents.SchemaVersion != contentsSchema {
		fault("inventory", "it has schema version %d, and this tool reads %d", contents.SchemaVersion, contentsSchema)
		return nil
	}
	s.contents = contents
	return nil
}

// checkUnexpected reports blobs that are listed and that nothing reaches. If
// a manifest could not be read, its blobs would look like that; then there is
// nothing to say.
func (s *survey) checkUnexpected() {
	if s.unread {
		return
	}
	for _, b := range s.held.Blobs() {
		if s.names[b.Digest] == nil {
			offset, length := s.held.Extent(b.Digest)
			s.problems.add(Problem{Kind: ProblemUnexpected, Object: "blob " + b.Digest.String(), Digest: b.Digest,
				Offset: offset, Length: length, Reason: "nothing in the bundle asks for it"})
		}
	}
}
