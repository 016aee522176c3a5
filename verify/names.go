package verify

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/verify/walk"
)

// Bounds on what a report says of one thing.
const (
	maxOwners    = 4
	maxNameBytes = 300
	// maxTextBytes bounds a sentence.
	maxTextBytes = 2000
)

// owners are the places that need one blob.
type owners struct {
	nodes []*walk.Node
	more  int
}

// nameBook knows what people call the blobs.
type nameBook map[digest.Digest]*owners

func (b nameBook) add(n *walk.Node) {
	o := b[n.Digest]
	if o == nil {
		o = new(owners)
		b[n.Digest] = o
	}
	if len(o.nodes) < maxOwners {
		o.nodes = append(o.nodes, n)
	} else {
		o.more++
	}
}

// object names a blob: all that need it, or the blob itself if nothing does.
func (b nameBook) object(d digest.Digest) string {
	o := b[d]
	if o == nil {
		return "blob " + d.String()
	}
	names := make([]string, 0, len(o.nodes)+1)
	for _, n := range o.nodes {
		if name := nodeName(n); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if o.more > 0 {
		names = append(names, fmt.Sprintf("and %d more", o.more))
	}
	return strings.Join(names, ", ")
}

// first names one that needs a blob.
func (b nameBook) first(d digest.Digest) string {
	if o := b[d]; o != nil {
		return nodeName(o.nodes[0])
	}
	return "blob " + d.String()
}

// nodeName says what a node is, in the words of a person.
func nodeName(n *walk.Node) string {
	root := n.Root()
	ref := printable(root.Annotations[archive.AnnotationRef])
	switch root.Annotations[archive.AnnotationKind] {
	case archive.KindLayout:
		return "layout"
	case archive.KindImage:
		return "image " + ref + detail(n)
	case archive.KindAttached:
		return "attachment " + ref + detail(n)
	case archive.KindChart:
		if n.Role == walk.RoleLayer {
			return chartName(ref)
		}
		return chartName(ref) + detail(n)
	case archive.KindTool:
		if title := n.Annotations[ocispec.AnnotationTitle]; n.Role == walk.RoleLayer && title != "" {
			return printable(title) + ", which comes along"
		}
		return ref + detail(n)
	case archive.KindBundle:
		switch n.Role {
		case walk.RoleConfig:
			return "inventory"
		case walk.RoleLayer:
			return fmt.Sprintf("root file system layer %d of %d", n.Ordinal, n.Of)
		}
		return "manifest of the bundle"
	}
	if ref == "" {
		ref = fmt.Sprintf("entry %d of index.json", root.Ordinal)
	}
	return ref + detail(n)
}

// chartName turns the reference of a chart, charts/NAME:VERSION, into what
// Helm calls it.
func chartName(ref string) string {
	name, version, _ := strings.Cut(path.Base(ref), ":")
	return "chart " + name + "-" + version
}

// detail says which part of an image a node is.
func detail(n *walk.Node) string {
	var parts []string
	if p := platformOf(n); p != "" {
		parts = append(parts, p)
	}
	switch n.Role {
	case walk.RoleLayer:
		parts = append(parts, fmt.Sprintf("layer %d of %d", n.Ordinal, n.Of))
	case walk.RoleBlob:
		if n.Parent != nil {
			parts = append(parts, fmt.Sprintf("part %d of %d", n.Ordinal, n.Of))
		}
	default:
		parts = append(parts, n.Role.String())
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// platformOf is the platform that the nearest index gives a node; empty where
// it gives none.
func platformOf(n *walk.Node) string {
	for ; n.Parent != nil; n = n.Parent {
		if p := n.Platform; p != nil {
			return printable(manifest.NewPlatform(p.OS, p.Architecture, p.Variant).String())
		}
	}
	return ""
}

// printable makes a name from a bundle safe for a terminal and a line.
func printable(s string) string { return clean(s, maxNameBytes) }

// clean replaces what is not printable and cuts s to about limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
