package serve

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
)

// maxEntries bounds the descriptors of one index.json.
const maxEntries = 1 << 20

var (
	// listable is the grammar of repository names in the distribution
	// specification. A name with a port in it answers, but is not listed:
	// clients could not parse it.
	listable = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	validTag = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// entry is one descriptor of an index.json, with its name taken apart.
type entry struct {
	bundle string // for messages
	kind   string
	host   string // empty for charts and bundles
	path   string
	tag    string // empty where only the digest is known
	desc   ocispec.Descriptor
}

func (e entry) name() string { return join(e.host, e.path) }

func join(host, path string) string {
	if host == "" {
		return path
	}
	return host + "/" + path
}

// group is everything that bundles hold under one upstream name.
type group struct {
	host, path string
	tags       map[string]tagged
	roots      []ocispec.Descriptor
	members    members
}

type tagged struct {
	digest digest.Digest
	bundle string
	kind   string
}

// repo is one repository as clients see it: an upstream name, or a name
// without its host that may stand for several of them.
type repo struct {
	name     string
	listed   bool
	tags     map[string]digest.Digest
	tagNames []string // sorted
	groups   []*group
}

// catalog is all the names that the bundles answer to. It is not changed once
// built.
type catalog struct {
	repos map[string]*repo
	names []string            // listed names, sorted
	dirs  map[string][]string // parent name → child components, sorted
	hosts map[string]bool     // upstream registries
}

// newCatalog reads names from the indexes alone, so its cost does not grow
// with the size of the bundles. It returns what a user should know but need
// not act on. Errors wrap [ErrIndex] or [ErrConflict].
func newCatalog(bundles []Bundle) (*catalog, []string, error) {
	var warnings []string
	groups := map[string]*group{}
	for _, b := range bundles {
		idx := b.Content.Index()
		if idx == nil || len(idx.Manifests) > maxEntries {
			return nil, nil, fmt.Errorf("%s: %w: it has no entries or more than %d", b.Name, ErrIndex, maxEntries)
		}
		for i, desc := range idx.Manifests {
			e, err := parseEntry(b.Name, desc)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w: entry %d: %w", b.Name, ErrIndex, i, err)
			}
			if e.kind == "" {
				continue
			}
			w, err := addEntry(groups, e)
			if err != nil {
				return nil, nil, err
			}
			if w != "" {
				warnings = append(warnings, w)
			}
		}
	}
	c := &catalog{repos: map[string]*repo{}, dirs: map[string][]string{}, hosts: map[string]bool{}}
	for name, g := range groups {
		c.repo(name).groups = []*group{g}
		c.hosts[g.host] = true
	}
	warnings = append(warnings, c.addHostless(groups)...)
	c.finish()
	slices.Sort(warnings)
	return c, warnings, nil
}

// parseEntry returns an entry without kind for what is not served.
func parseEntry(bundle string, desc ocispec.Descriptor) (entry, error) {
	e := entry{bundle: bundle, kind: desc.Annotations[archive.AnnotationKind], desc: desc}
	ref := desc.Annotations[archive.AnnotationRef]
	if err := desc.Digest.Validate(); err != nil || desc.Digest.Algorithm() != digest.SHA256 {
		return e, fmt.Errorf("%q is not a sha256 digest", desc.Digest)
	}
	switch e.kind {
	case archive.KindImage, archive.KindAttached:
		named, err := reference.ParseNormalizedNamed(ref)
		if err != nil {
			return e, fmt.Errorf("%q is not an image reference", ref)
		}
		e.host, e.path = reference.Domain(named), reference.Path(named)
		if t, ok := named.(reference.Tagged); ok {
			e.tag = t.Tag()
		}
	case archive.KindChart, archive.KindBundle, archive.KindTool:
		name, version, ok := strings.Cut(ref, ":")
		// Helm writes the + of a version as _, for a tag cannot hold it.
		version = strings.ReplaceAll(version, "+", "_")
		if !ok || !listable.MatchString(name) || !validTag.MatchString(version) {
			return e, fmt.Errorf("%q does not name a %s and its version", ref, e.kind)
		}
		e.path, e.tag = name, version
	case archive.KindLayout:
		e.kind = ""
	default:
		// A newer minor version of the format may add kinds. What we do not
		// know we do not serve.
		e.kind = ""
	}
	if len(e.name()) > reference.RepositoryNameTotalLengthMax {
		return e, fmt.Errorf("the name %q is longer than %d bytes", ref, reference.RepositoryNameTotalLengthMax)
	}
	return e, nil
}

// addEntry puts e into its group. A tag that already has another digest is an
// error, except for attachments: signatures of an image grow over time, and
// the bundle named last is the one to believe.
func addEntry(groups map[string]*group, e entry) (warning string, err error) {
	g := groups[e.name()]
	if g == nil {
		g = &group{host: e.host, path: e.path, tags: map[string]tagged{}}
		groups[e.name()] = g
	}
	if !slices.ContainsFunc(g.roots, func(d ocispec.Descriptor) bool { return d.Digest == e.desc.Digest }) {
		g.roots = append(g.roots, e.desc)
	}
	if e.tag == "" {
		return "", nil
	}
	if old, ok := g.tags[e.tag]; ok && old.digest != e.desc.Digest {
		if e.kind != archive.KindAttached || old.kind != archive.KindAttached {
			return "", fmt.Errorf("%w: %s:%s is %s in %s and %s in %s; serve the two bundles on different ports", ErrConflict,
				e.name(), e.tag, old.digest, old.bundle, e.desc.Digest, e.bundle)
		}
		warning = fmt.Sprintf("%s:%s is attached by %s and by %s with different content; the one of %s is served", e.name(), e.tag, old.bundle, e.bundle, e.bundle)
	}
	g.tags[e.tag] = tagged{digest: e.desc.Digest, bundle: e.bundle, kind: e.kind}
	return warning, nil
}

func (c *catalog) repo(name string) *repo {
	r := c.repos[name]
	if r == nil {
		r = &repo{name: name, listed: listable.MatchString(name), tags: map[string]digest.Digest{}}
		c.repos[name] = r
	}
	return r
}

// addHostless lets every image answer without its host too. An upstream name
// that happens to be spelled like a name without host keeps its own tags; two
// hosts that disagree about a tag make it unanswerable without a host.
func (c *catalog) addHostless(groups map[string]*group) (warnings []string) {
	byPath := map[string][]*group{}
	for _, g := range groups {
		if g.host != "" {
			byPath[g.path] = append(byPath[g.path], g)
		}
	}
	for path, derived := range byPath {
		slices.SortFunc(derived, func(a, b *group) int { return strings.Compare(a.host, b.host) })
		r := c.repo(path)
		own := map[string]bool{}
		if len(r.groups) > 0 {
			for tag := range r.groups[0].tags {
				own[tag] = true
			}
		}
		first := map[string]*group{}
		dropped := map[string]bool{}
		for _, g := range derived {
			for tag, t := range g.tags {
				if own[tag] || dropped[tag] {
					continue
				}
				f := first[tag]
				if f == nil {
					first[tag] = g
					r.tags[tag] = t.digest
				} else if f.tags[tag].digest != t.digest {
					dropped[tag] = true
					delete(r.tags, tag)
					if t.kind != archive.KindAttached {
						warnings = append(warnings, fmt.Sprintf("%s:%s without a registry could be the one of %s (in %s) or of %s (in %s); it answers only with the registry in its name",
							path, tag, f.host, f.tags[tag].bundle, g.host, t.bundle))
					}
				}
			}
		}
		r.groups = append(r.groups, derived...)
	}
	return warnings
}

func (c *catalog) finish() {
	children := map[string]map[string]bool{}
	for name, r := range c.repos {
		for _, g := range r.groups {
			if join(g.host, g.path) == name {
				for tag, t := range g.tags {
					r.tags[tag] = t.digest
				}
			}
		}
		for tag := range r.tags {
			r.tagNames = append(r.tagNames, tag)
		}
		slices.Sort(r.tagNames)
		if !r.listed {
			continue
		}
		c.names = append(c.names, name)
		// Every component of the name is a folder to the storage driver.
		for parent, rest := "", name; rest != ""; {
			head, tail, _ := strings.Cut(rest, "/")
			if children[parent] == nil {
				children[parent] = map[string]bool{}
			}
			children[parent][head] = true
			parent = join(parent, head)
			rest = tail
		}
	}
	slices.Sort(c.names)
	for parent, set := range children {
		for child := range set {
			c.dirs[parent] = append(c.dirs[parent], child)
		}
		slices.Sort(c.dirs[parent])
	}
}

// resolve gives the name to look under when a client asked for name on behalf
// of the registry ns, as containerd does with its mirrors. An unknown registry
// must not be answered with another one's image of the same path, so it
// resolves to a name nobody has.
func resolve(name, ns string, local func(string) bool) string {
	switch ns {
	case "":
		return name
	case "index.docker.io", "registry-1.docker.io":
		ns = "docker.io"
	}
	if local(ns) || strings.HasPrefix(name, ns+"/") {
		return name
	}
	if ns == "docker.io" && !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return ns + "/" + name
}

// localNames tells which values of ns mean the server itself.
func localNames(extra []string) func(string) bool {
	return func(ns string) bool { return ns == manifest.LocalRegistry || slices.Contains(extra, ns) }
}
