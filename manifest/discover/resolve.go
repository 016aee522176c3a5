package discover

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bundle/manifest"
)

// Errors of [Resolution.Err] and [HostlessConflicts], for errors.Is.
var (
	// ErrMissing: an image is required and not listed.
	ErrMissing = errors.New("required and not in the bundle")
	// ErrAmbiguous: a name without a host means several listed images.
	ErrAmbiguous = errors.New("ambiguous")
)

// Resolution says what became of everything found.
type Resolution struct {
	// NeededBy gives for each listed image who asked for it, candidates
	// included, in the order found and each source once. Images that nobody
	// asked for have no entry.
	NeededBy map[manifest.Reference][]manifest.Source
	// Missing are required and not listed, sources side by side.
	Missing []Miss
	// Unlisted are candidates that are not listed, and not missing already.
	Unlisted []Found
	// Ambiguous are required and may be several listed images. A candidate
	// that may be several counts as needing each.
	Ambiguous []Ambiguity
}

// Miss is a required image that no list has.
type Miss struct {
	Found
	// Hint says what the lists have that is near, as a sentence, or is empty.
	Hint string
}

// Ambiguity is a reference to the cluster's own registry, which serves images
// without the host they came from, that several listed images answer to.
type Ambiguity struct {
	Found
	Options []manifest.Reference
}

// Error names the reference, its source and all it may mean.
func (a Ambiguity) Error() string {
	return fmt.Sprintf("%s (%s) is %s: it may be %s; list only one of them",
		a.Ref, a.Source, ErrAmbiguous, join(a.Options))
}

// Unwrap gives [ErrAmbiguous].
func (a Ambiguity) Unwrap() error { return ErrAmbiguous }

// Error names the image, its source and, where known, what is near.
func (m Miss) Error() string {
	s := fmt.Sprintf("%s (%s) is %s", m.Ref, m.Source, ErrMissing)
	if m.Malformed() {
		s = fmt.Sprintf("%q (%s) is %s: it is no image reference", m.Raw, m.Source, ErrMissing)
	}
	if m.Hint != "" {
		s += ": " + m.Hint
	}
	return s
}

// Unwrap gives [ErrMissing].
func (m Miss) Unwrap() error { return ErrMissing }

// Err joins what keeps the bundle from being complete, nil if nothing does.
func (r Resolution) Err() error {
	var errs []error
	for _, a := range r.Ambiguous {
		errs = append(errs, a)
	}
	for _, m := range r.Missing {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// Resolve compares what was found with the images that are listed. have may
// carry digests; a listed reference without one stands for whatever its tag
// holds. local names registries of the cluster besides
// [manifest.LocalRegistry], which serve every image under its name without
// the host.
//
// A reference is answered by, in this order:
//
//   - the listed image with the same registry, repository, tag and digest;
//   - one of the same registry and repository with the same digest, or, where
//     not both have a digest, the same tag;
//   - where its registry is the cluster's own, the one listed image whose
//     repository, with tag or digest, is the same. Repositories are compared
//     as they are: sealer serves docker.io/library/nginx as library/nginx.
func Resolve(found []Found, have []manifest.Reference, local ...string) Resolution {
	x := newIndex(have, local)
	r := Resolution{NeededBy: make(map[manifest.Reference][]manifest.Source)}
	type asked struct {
		image manifest.Reference
		by    manifest.Source
	}
	seen := make(map[asked]bool)
	missing := make(map[manifest.Reference]bool)
	var unlisted []Found
	for _, f := range found {
		if f.Malformed() {
			if f.Class == Required {
				r.Missing = append(r.Missing, Miss{Found: f})
			}
			continue
		}
		options := x.find(f.Ref)
		switch {
		case len(options) == 1, len(options) > 1 && f.Class == Candidate:
			for _, o := range options {
				if a := (asked{o, f.Source}); !seen[a] {
					seen[a] = true
					r.NeededBy[a.image] = append(r.NeededBy[a.image], a.by)
				}
			}
		case len(options) > 1:
			r.Ambiguous = append(r.Ambiguous, Ambiguity{Found: f, Options: options})
		case f.Class == Required:
			missing[f.Ref] = true
			r.Missing = append(r.Missing, Miss{Found: f, Hint: x.near(f.Ref)})
		default:
			unlisted = append(unlisted, f)
		}
	}
	for _, f := range unlisted {
		if !missing[f.Ref] {
			r.Unlisted = append(r.Unlisted, f)
		}
	}
	return r
}

// index finds listed images by repository, with and without the host.
type index struct {
	named    map[string][]manifest.Reference
	hostless map[string][]manifest.Reference
	local    []string
}

func newIndex(have []manifest.Reference, local []string) *index {
	x := &index{
		named: make(map[string][]manifest.Reference), hostless: make(map[string][]manifest.Reference),
		local: append([]string{manifest.LocalRegistry}, local...),
	}
	for _, h := range have {
		if slices.Contains(x.named[h.Name()], h) {
			continue
		}
		x.named[h.Name()] = append(x.named[h.Name()], h)
		x.hostless[h.Repository] = append(x.hostless[h.Repository], h)
	}
	return x
}

// find gives the listed images that answer ref: none, one, or those between
// which only the host could tell.
func (x *index) find(ref manifest.Reference) []manifest.Reference {
	if h, ok := best(ref, x.named[ref.Name()]); ok {
		return []manifest.Reference{h}
	}
	if !slices.Contains(x.local, ref.Registry) {
		return nil
	}
	var options []manifest.Reference
	for _, h := range x.hostless[ref.Repository] {
		if !answers(ref, h) {
			continue
		}
		// The same bytes from two registries are no conflict.
		same := slices.ContainsFunc(options, func(o manifest.Reference) bool {
			return o.Registry == h.Registry && o.Tag == h.Tag || o.Digest != "" && o.Digest == h.Digest
		})
		if !same {
			options = append(options, h)
		}
	}
	return options
}

// best prefers an equal reference to one that merely answers.
func best(ref manifest.Reference, list []manifest.Reference) (manifest.Reference, bool) {
	if slices.Contains(list, ref) {
		return ref, true
	}
	for _, h := range list {
		if h.Tag == ref.Tag && answers(ref, h) {
			return h, true
		}
	}
	for _, h := range list {
		if answers(ref, h) {
			return h, true
		}
	}
	return manifest.Reference{}, false
}

// answers tells whether an image listed as h is what ref, of the same
// repository, asks for.
func answers(ref, h manifest.Reference) bool {
	if ref.Digest != "" && h.Digest != "" {
		return ref.Digest == h.Digest
	}
	return ref.Tag != "" && ref.Tag == h.Tag
}

// near says what the lists have that might have been meant.
func (x *index) near(ref manifest.Reference) string {
	if list := x.named[ref.Name()]; len(list) > 0 {
		return "listed is " + join(list)
	}
	if !slices.Contains(x.local, ref.Registry) {
		if list := x.hostless[ref.Repository]; len(list) > 0 {
			return "listed from another registry is " + join(list)
		}
		return ""
	}
	if list := x.hostless[ref.Repository]; len(list) > 0 {
		return "listed is " + join(list)
	}
	if list := x.hostless["library/"+ref.Repository]; len(list) > 0 {
		return fmt.Sprintf("listed is %s, which the cluster's registry serves as %s/%s", join(list), ref.Registry, list[0].Hostless())
	}
	return ""
}

// join lists references for a person, the first few of many.
func join(list []manifest.Reference) string {
	const few = 5
	var names []string
	for _, r := range list[:min(len(list), few)] {
		names = append(names, r.String())
	}
	if len(list) > few {
		names = append(names, fmt.Sprintf("%d more", len(list)-few))
	}
	if len(names) > 1 {
		return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	}
	return strings.Join(names, "")
}

// HostlessConflict is a name without host and the different images that would
// have it in the cluster's own registry.
type HostlessConflict struct {
	// Name is repository:tag.
	Name string
	// Images are those that claim it, with their digests, as listed.
	Images []manifest.Reference
}

// Error names the images.
func (c HostlessConflict) Error() string {
	return fmt.Sprintf("%s is %s: %s would get that name in the cluster's registry and differ; leave all but one out",
		c.Name, ErrAmbiguous, join(c.Images))
}

// Unwrap gives [ErrAmbiguous].
func (c HostlessConflict) Unwrap() error { return ErrAmbiguous }

// HostlessConflicts finds images with the same repository and tag and
// different digests: without their hosts only one of them could be served.
// Images without a tag or a digest are passed over. The result is sorted.
func HostlessConflicts(images []manifest.Reference) []HostlessConflict {
	groups := make(map[string][]manifest.Reference)
	for _, r := range images {
		if r.Tag != "" && r.Digest != "" {
			name := r.Repository + ":" + r.Tag
			if !slices.Contains(groups[name], r) {
				groups[name] = append(groups[name], r)
			}
		}
	}
	var conflicts []HostlessConflict
	for name, list := range groups {
		if slices.ContainsFunc(list, func(r manifest.Reference) bool { return r.Digest != list[0].Digest }) {
			conflicts = append(conflicts, HostlessConflict{Name: name, Images: list})
		}
	}
	slices.SortFunc(conflicts, func(a, b HostlessConflict) int { return strings.Compare(a.Name, b.Name) })
	return conflicts
}
