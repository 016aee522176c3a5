package push

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"bundle/archive"
	"bundle/manifest"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrTarget is wrapped by errors about the place to push to.
var ErrTarget = errors.New("not a place to push to")

// ErrCollision says that two different things would get one name.
var ErrCollision = errors.New("would overwrite each other")

// Target is a registry, and a path in it below which everything goes.
type Target struct {
	// Registry is the host with its port, if any.
	Registry string
	// Prefix is a path without slashes at its ends; may be empty.
	Prefix string
}

// repositoryPattern is the grammar of the distribution specification.
var repositoryPattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// tagPattern likewise.
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ParseTarget reads REGISTRY[/PREFIX]. Errors wrap [ErrTarget].
func ParseTarget(s string) (Target, error) {
	trimmed := strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	host, prefix, _ := strings.Cut(strings.TrimSuffix(trimmed, "/"), "/")
	if host == "" || strings.ContainsAny(host, " @?#\\") {
		return Target{}, fmt.Errorf("%q is %w: it is not REGISTRY[/PREFIX]", s, ErrTarget)
	}
	if prefix != "" && !repositoryPattern.MatchString(prefix) {
		return Target{}, fmt.Errorf("%q is %w: %q cannot be a path in a registry", s, ErrTarget, prefix)
	}
	return Target{Registry: host, Prefix: prefix}, nil
}

// String gives REGISTRY[/PREFIX].
func (t Target) String() string {
	if t.Prefix == "" {
		return t.Registry
	}
	return t.Registry + "/" + t.Prefix
}

func (t Target) at(repository string) wire.Target {
	return wire.Target{Addr: t.Registry, Repository: repository, Push: true}
}

// item is one entry of the bundle's index with the place it goes to.
type item struct {
	desc       ocispec.Descriptor
	kind       string
	source     string // reference in the bundle
	repository string // below the registry, prefix included
	tag        string // empty for what is only found by digest
}

func (i item) name(t Target) string {
	s := t.Registry + "/" + i.repository
	if i.tag == "" {
		return s + "@" + i.desc.Digest.String()
	}
	return s + ":" + i.tag
}

// items lists what to push, in an order in which nothing refers to what
// comes later: images, then charts and the bundle, then what is attached.
func items(index *ocispec.Index, t Target, keepHost bool) ([]item, error) {
	if index == nil {
		return nil, errors.New("the bundle is not loaded")
	}
	byKind := map[string][]item{}
	owner := map[string]item{}
	for _, d := range index.Manifests {
		kind := d.Annotations[archive.AnnotationKind]
		switch kind {
		case archive.KindImage, archive.KindChart, archive.KindBundle, archive.KindTool, archive.KindAttached:
		default:
			continue
		}
		it, err := place(d, kind, t, keepHost)
		if err != nil {
			return nil, err
		}
		if it.tag != "" {
			name := it.name(t)
			if other, ok := owner[name]; ok {
				if other.desc.Digest != d.Digest {
					return nil, fmt.Errorf("%s and %s %w as %s; keep their hosts apart with --keep-host",
						other.source, it.source, ErrCollision, name)
				}
				continue
			}
			owner[name] = it
		}
		byKind[kind] = append(byKind[kind], it)
	}
	var all []item
	for _, kind := range []string{archive.KindImage, archive.KindChart, archive.KindBundle, archive.KindTool, archive.KindAttached} {
		all = append(all, byKind[kind]...)
	}
	return all, nil
}

// place finds the name that d gets at the target.
func place(d ocispec.Descriptor, kind string, t Target, keepHost bool) (item, error) {
	ref := d.Annotations[archive.AnnotationRef]
	it := item{desc: ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, kind: kind, source: ref}
	var repository string
	switch kind {
	case archive.KindChart, archive.KindBundle, archive.KindTool:
		var ok bool
		if repository, it.tag, ok = strings.Cut(ref, ":"); !ok {
			return item{}, fmt.Errorf("the %s %q in the bundle has no version", kind, ref)
		}
		// A tag knows no "+"; Helm writes "_" for it too.
		it.tag = strings.ReplaceAll(it.tag, "+", "_")
		repository = strings.ToLower(repository)
	default:
		parsed, err := manifest.ParseReference(ref)
		if err != nil {
			return item{}, fmt.Errorf("the bundle names an %s badly: %w", kind, err)
		}
		// A referrer is named by its repository alone.
		if last := ref[strings.LastIndexByte(ref, '/')+1:]; strings.Contains(last, ":") {
			it.tag = parsed.Tag
		}
		repository = parsed.Repository
		if keepHost {
			// A port cannot be part of a path.
			repository = strings.ToLower(strings.ReplaceAll(parsed.Registry, ":", "-")) + "/" + repository
		}
	}
	if t.Prefix != "" {
		repository = t.Prefix + "/" + repository
	}
	it.repository = repository
	if !repositoryPattern.MatchString(repository) || it.tag != "" && !tagPattern.MatchString(it.tag) {
		return item{}, fmt.Errorf("%q cannot be a name in a registry: %s:%s", ref, repository, it.tag)
	}
	if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 {
		return item{}, fmt.Errorf("%q has the malformed digest %q", ref, d.Digest)
	}
	return it, nil
}
