package pull

import (
	"errors"
	"fmt"
	"strings"

	"bundle/manifest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// annotationImageName is where containerd and docker write the full name.
const annotationImageName = "io.containerd.image.name"

// entry is one image of a local source with the names it answers to.
type entry struct {
	desc  ocispec.Descriptor
	names []localName
}

// localName is a name as a local source has it.
type localName struct {
	manifest.Reference
	// bare is the repository where no registry was written, so that the
	// image may be asked for under any; empty otherwise.
	bare string
}

// parseLocalName reads a name out of an archive. A lone word is refused: it
// may be a tag ("v1", as skopeo writes it) as well as a repository, and an
// image under the wrong name is worse than none.
func parseLocalName(s string) (localName, bool) {
	if !strings.ContainsAny(s, "/:@") {
		return localName{}, false
	}
	ref, err := manifest.ParseReference(s)
	if err != nil {
		return localName{}, false
	}
	n := localName{Reference: ref}
	first, _, slash := strings.Cut(s, "/")
	if !slash || (!strings.ContainsAny(first, ".:") && first != "localhost") {
		// As it was written: "nginx", not the "library/nginx" of docker.io.
		n.bare = strings.TrimPrefix(ref.Repository, "library/")
		if strings.HasPrefix(s, "library/") {
			n.bare = ref.Repository
		}
	}
	return n, true
}

// parseRepoTag reads an entry of a docker archive's RepoTags, where a lone
// word cannot be a tag.
func parseRepoTag(s string) (localName, bool) {
	if !strings.ContainsAny(s, "/:@") {
		s += ":latest"
	}
	return parseLocalName(s)
}

// answers tells how well the name fits: 2 in full, 1 without the registry,
// 0 not at all.
func (n localName) answers(ref manifest.Reference) int {
	if n.Tag != ref.Tag {
		return 0
	}
	switch {
	case n.Registry == ref.Registry && n.Repository == ref.Repository:
		return 2
	// The cluster's own registry serves by repository and tag alone.
	case ref.IsLocal() && n.Repository == ref.Repository:
		return 1
	case n.bare != "" && n.bare == ref.Repository:
		return 1
	}
	return 0
}

// match finds the entry that ref means. A digest decides alone; otherwise a
// full match goes before one without the registry, and two different images
// that fit equally well are an error.
func match(entries []entry, ref manifest.Reference) (entry, error) {
	var best entry
	score := 0
	for _, e := range entries {
		if ref.Digest != "" {
			if e.desc.Digest == ref.Digest {
				return e, nil
			}
			continue
		}
		for _, n := range e.names {
			switch s := n.answers(ref); {
			case s > score:
				best, score = e, s
			case s == score && s > 0 && e.desc.Digest != best.desc.Digest:
				return entry{}, reason(ErrInvalid, "two images answer to that name, %s and %s", best.desc.Digest, e.desc.Digest)
			}
		}
	}
	if score == 0 {
		return entry{}, reason(ErrNotFound, "it holds no such image (%s)", inventory(entries))
	}
	return best, nil
}

// inventory lists the first names, for the person who misspelt one.
func inventory(entries []entry) string {
	const shown = 3
	var names []string
	total := 0
	for _, e := range entries {
		for _, n := range e.names {
			if total++; total <= shown {
				names = append(names, n.String())
			}
		}
	}
	switch {
	case total == 0:
		return "its images have no full names"
	case total > shown:
		return fmt.Sprintf("it holds %s and %d more", strings.Join(names, ", "), total-shown)
	}
	return "it holds " + strings.Join(names, ", ")
}

// layoutEntries reads the names out of an index.json.
func layoutEntries(manifests []ocispec.Descriptor) []entry {
	entries := make([]entry, 0, len(manifests))
	at := map[digest.Digest]int{}
	for _, d := range manifests {
		e := entry{desc: ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}}
		if i, ok := at[d.Digest]; ok {
			e = entries[i]
		}
		for _, key := range []string{annotationImageName, ocispec.AnnotationRefName} {
			if n, ok := parseLocalName(d.Annotations[key]); ok {
				e.names = append(e.names, n)
				break
			}
		}
		if i, ok := at[d.Digest]; ok {
			entries[i] = e
			continue
		}
		at[d.Digest] = len(entries)
		entries = append(entries, e)
	}
	return entries
}

// isNotFound tells a missing image from a source that failed.
func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
