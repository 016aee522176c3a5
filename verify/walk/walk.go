package walk

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of a walk.
const (
	// MaxManifest bounds one index or manifest, in bytes. Registries and
	// engines take at most half of it.
	MaxManifest = 8 << 20
	// MaxTotal bounds all different indexes and manifests together, in bytes.
	MaxTotal = 256 << 20
	// MaxDepth bounds how deep indexes nest below index.json.
	MaxDepth = 8
	// MaxVisits bounds the calls of the visitor.
	MaxVisits = 8 << 20
)

var (
	// ErrMalformed: an index or manifest is not what its descriptor says.
	ErrMalformed = errors.New("malformed")
	// ErrLimit: there is more to walk than a sane bundle has.
	ErrLimit = errors.New("too much to walk")
	// SkipChildren is returned by a visitor to not go below a node.
	SkipChildren = errors.New("skip the children of this node") //lint:ignore ST1012 it is a signal, like fs.SkipDir
)

// Role says what a node is to its parent.
type Role int

// The roles. What has a media type that is not known is a RoleBlob.
const (
	RoleBlob Role = iota
	RoleIndex
	RoleManifest
	RoleConfig
	RoleLayer
)

func (r Role) String() string {
	return [...]string{"blob", "index", "manifest", "config", "layer"}[r]
}

// Node is one thing that the index reaches, seen along one path. The same
// blob is a node of every entry of index.json that reaches it, and of each
// only once.
type Node struct {
	ocispec.Descriptor
	Role Role
	// Parent is nil for the entries of index.json.
	Parent *Node
	// Ordinal counts from 1 among the Of siblings of the same role.
	Ordinal, Of int
	// Raw is the content of an index or manifest, digest checked. It is nil
	// for other roles and where Err is set, and must not be changed.
	Raw []byte
	// Err says why an index or manifest could not be read: what Fetch
	// returned, or an error that wraps [ErrMalformed].
	Err error
}

// Root is the entry of index.json that the node was reached from.
func (n *Node) Root() *Node {
	for n.Parent != nil {
		n = n.Parent
	}
	return n
}

// Fetch reads the whole content of an index or manifest. Its size is at most
// [MaxManifest].
type Fetch func(ctx context.Context, d ocispec.Descriptor) ([]byte, error)

// Visit is called for every node, parents first. An error ends the walk and
// is returned by it, but for [SkipChildren].
type Visit func(*Node) error

// Walk visits everything that index reaches. Nodes that cannot be read are
// visited with Err set and end their branch, not the walk. Walk itself errs
// with what visit or ctx say, with [ErrLimit], and with [ErrMalformed] for an
// unusable descriptor in index itself.
//
// There are no cycles: a node's digest is checked before its children are
// looked at, and no content can hold its own digest.
func Walk(ctx context.Context, index *ocispec.Index, fetch Fetch, visit Visit) error {
	w := &walker{fetch: fetch, visit: visit, read: make(map[digest.Digest]content), parsed: make(map[role]parse)}
	total := len(index.Manifests)
	for i, d := range index.Manifests {
		if err := CheckDescriptor(d); err != nil {
			return fmt.Errorf("entry %d of index.json: %w", i+1, err)
		}
		w.seen = make(map[digest.Digest]bool)
		if err := w.node(ctx, nil, child{d, roleOf(d.MediaType), i + 1, total}, 0); err != nil {
			return err
		}
	}
	return nil
}

type walker struct {
	fetch Fetch
	visit Visit
	// read remembers every index and manifest that was fetched, parsed what
	// was made of it: the same bytes may be named in several roles.
	read   map[digest.Digest]content
	parsed map[role]parse
	bytes  int64
	// seen holds what the present entry of index.json has reached.
	seen   map[digest.Digest]bool
	visits int
}

type content struct {
	raw []byte
	err error
}

type role struct {
	digest    digest.Digest
	role      Role
	mediaType string
}

type parse struct {
	children []child
	err      error
}

type child struct {
	ocispec.Descriptor
	role        Role
	ordinal, of int
}

func (w *walker) node(ctx context.Context, parent *Node, c child, depth int) error {
	if w.seen[c.Digest] {
		return nil
	}
	w.seen[c.Digest] = true
	if w.visits++; w.visits > MaxVisits {
		return fmt.Errorf("%w: more than %d references", ErrLimit, MaxVisits)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	n := &Node{Descriptor: c.Descriptor, Role: c.role, Parent: parent, Ordinal: c.ordinal, Of: c.of}
	var children []child
	if c.role == RoleIndex || c.role == RoleManifest {
		if depth > MaxDepth {
			n.Err = fmt.Errorf("%w: indexes nest more than %d deep", ErrMalformed, MaxDepth)
		} else {
			raw, p, err := w.get(ctx, c)
			if err != nil {
				return err
			}
			n.Raw, n.Err, children = raw, p.err, p.children
		}
	}
	if err := w.visit(n); err != nil {
		if errors.Is(err, SkipChildren) {
			return nil
		}
		return err
	}
	for _, c := range children {
		if err := w.node(ctx, n, c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// get reads and parses a manifest, each once. Its own error ends the walk.
func (w *walker) get(ctx context.Context, c child) (raw []byte, p parse, err error) {
	got, ok := w.read[c.Digest]
	if !ok {
		if got, err = w.load(ctx, c); err != nil {
			return nil, parse{}, err
		}
		w.read[c.Digest] = got
	}
	if got.err != nil {
		return nil, parse{err: got.err}, nil
	}
	if int64(len(got.raw)) != c.Size {
		return nil, parse{err: sizeError(c.Size, len(got.raw))}, nil
	}
	key := role{c.Digest, c.role, c.MediaType}
	if p, ok = w.parsed[key]; !ok {
		p.children, p.err = parseManifest(c.role, c.MediaType, got.raw)
		w.parsed[key] = p
	}
	if p.err != nil {
		return nil, p, nil
	}
	return got.raw, p, nil
}

func (w *walker) load(ctx context.Context, c child) (content, error) {
	if c.Size > MaxManifest {
		return content{err: fmt.Errorf("%w: %d bytes are too many for a manifest", ErrMalformed, c.Size)}, nil
	}
	if w.bytes += c.Size; w.bytes > MaxTotal {
		return content{}, fmt.Errorf("%w: manifests of more than %d bytes", ErrLimit, MaxTotal)
	}
	raw, err := w.fetch(ctx, c.Descriptor)
	switch {
	case ctx.Err() != nil:
		return content{}, ctx.Err()
	case err != nil:
		return content{err: err}, nil
	case int64(len(raw)) != c.Size:
		return content{err: sizeError(c.Size, len(raw))}, nil
	case digest.FromBytes(raw) != c.Digest:
		return content{err: fmt.Errorf("%w: its content does not hash to its digest", ErrMalformed)}, nil
	}
	return content{raw: raw}, nil
}

func sizeError(want int64, got int) error {
	return fmt.Errorf("%w: it has %d bytes and its descriptor says %d", ErrMalformed, got, want)
}
