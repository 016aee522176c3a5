package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"bundle/archive"
)

// Gathered is what several files are together.
type Gathered struct {
	// Bundles are those that stand for themselves, in the order given: deltas
	// have what they lean on attached, and their bases are not listed.
	Bundles []*archive.Reader
	// Refused says of some of Bundles why they were not loaded: they are not
	// trusted, or damaged.
	Refused map[*archive.Reader]error
}

// Err is the first of Refused.
func (g *Gathered) Err() error {
	for _, r := range g.Bundles {
		if err := g.Refused[r]; err != nil {
			return err
		}
	}
	return nil
}

// Gather sorts opened files, given in any order, into bundles, and loads them.
// trust, if not nil, says whether a file is trusted before anything of it is
// parsed. A file that it refuses is loaded all the same where one that it
// trusts names it as its base: the digest of the base's index is pinned by
// what was signed.
func Gather(readers []*archive.Reader, trust func(*archive.Reader) error) *Gathered {
	g := &Gathered{Refused: map[*archive.Reader]error{}}
	loaded := map[*archive.Reader]bool{}
	named := map[digest.Digest]bool{}
	load := func(r *archive.Reader) {
		if err := r.Load(); err != nil {
			g.Refused[r] = fmt.Errorf("%s: %w", r.Path(), err)
			return
		}
		delete(g.Refused, r)
		loaded[r] = true
		for _, b := range r.Bases() {
			named[b.Index] = true
		}
	}
	for _, r := range readers {
		if trust != nil {
			if err := trust(r); err != nil {
				g.Refused[r] = err
				continue
			}
		}
		load(r)
	}
	// A patch has no signature, and needs none as long as it is only a store
	// of what a bundle here knows by its digest.
	patches := map[*archive.Reader]bool{}
	for _, r := range readers {
		if (loaded[r] || loadPatch(r)) && overlay(r, readers, loaded) {
			patches[r] = true
			delete(g.Refused, r)
		}
	}
	for more := true; more; {
		more = false
		for _, r := range readers {
			if !loaded[r] && named[r.IndexDigest()] && r.Index() == nil {
				if load(r); loaded[r] {
					more = true
				}
			}
		}
	}
	var stores, others []*archive.Reader // bases, and what may serve as one
	for _, r := range readers {
		switch {
		case patches[r]:
		case loaded[r] && named[r.IndexDigest()]:
			stores = append(stores, r)
		case loaded[r]:
			others = append(others, r)
		}
	}
	used := map[*archive.Reader]bool{}
	for _, r := range others {
		if len(r.Absent()) == 0 {
			continue
		}
		r.Attach(stores...)
		if len(r.Absent()) == 0 {
			continue
		}
		// Any file that has the bytes will do, but only one that makes the
		// delta whole is taken for its base.
		if more := r.Attach(others...); len(r.Absent()) == 0 {
			for _, o := range more {
				used[o] = true
			}
		}
	}
	for _, r := range readers {
		// A base that is damaged stands for itself: whoever needs it lacks it.
		if !patches[r] && (!loaded[r] || !named[r.IndexDigest()] && !used[r]) {
			g.Bundles = append(g.Bundles, r)
		}
	}
	return g
}

// loadPatch loads a file if it is a patch.
func loadPatch(r *archive.Reader) bool {
	if !bytes.Contains(r.IndexBytes(), []byte(archive.MediaTypePatch)) || r.Load() != nil {
		return false
	}
	p, err := r.Patch()
	return err == nil && p != nil
}

// overlay puts a patch over the bundle that it is for. It tells whether r is
// one.
func overlay(r *archive.Reader, readers []*archive.Reader, loaded map[*archive.Reader]bool) bool {
	p, err := r.Patch()
	if err != nil || p == nil {
		return false
	}
	for _, o := range readers {
		if loaded[o] && o != r && o.IndexDigest() == p.Index {
			o.Overlay(r)
			return true
		}
	}
	return false
}

// lean notes what the file leans on and does not have.
func (s *survey) lean() {
	s.absent, s.needs = map[digest.Digest]bool{}, ""
	for _, b := range s.held.Absent() {
		s.absent[b.Digest] = true
	}
	if len(s.absent) > 0 {
		s.needs = "it is in " + lackNames(s.held) + ", which was not given"
	}
}

// maxBaseNames bounds the bases that a sentence names.
const maxBaseNames = 3

// lackNames names what a bundle lacks: volumes, or what it leans on.
func lackNames(held interface{ Bases() []archive.Base }) string {
	if v, ok := held.(interface{ MissingVolumes() string }); ok && v.MissingVolumes() != "" {
		if len(held.Bases()) > 0 {
			return v.MissingVolumes() + ", or in " + baseNames(held)
		}
		return v.MissingVolumes()
	}
	return baseNames(held)
}

// baseNames names what a bundle leans on.
func baseNames(held interface{ Bases() []archive.Base }) string {
	var names []string
	bases := held.Bases()
	for i, b := range bases {
		if i == maxBaseNames {
			names = append(names, fmt.Sprintf("%d more", len(bases)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s %s (index %.19s…)", cmp.Or(printable(b.Name), "a bundle"), printable(b.Version), b.Index))
	}
	word := "its base "
	if len(bases) > 1 {
		word = "one of its bases "
	}
	return word + strings.Join(names, ", ")
}

// Complete makes sure that a loaded bundle has all that it leans on. The
// error is a [*Verdict] of class [ErrIncomplete] that names the images, charts
// and files that are not whole, or not about the bundle. Content is not
// checked.
func Complete(ctx context.Context, r *archive.Reader) error {
	if len(r.Absent()) == 0 {
		return nil
	}
	s := &survey{held: fileHoldings{r}}
	if err := s.conduct(ctx); err != nil {
		return err
	}
	var hit []string
	for _, e := range s.all {
		if e.lost {
			name := entryName(e)
			if e.node.Annotations[archive.AnnotationKind] == archive.KindBundle {
				name = s.rootName()
			}
			if name != "" {
				hit = append(hit, name)
			}
		}
	}
	hit = slices.Compact(hit)
	text := fmt.Sprintf("%s is incomplete: %d of its blobs are in %s, and were not given; that takes away", cmp.Or(r.Path(), "the bundle"), len(r.Absent()), lackNames(r))
	for i, name := range hit {
		if i == maxProblems {
			text += fmt.Sprintf("\n  and %d more", len(hit)-i)
			break
		}
		text += "\n  " + name
	}
	const bases, volumes = "name the base on the command line too, before or behind the delta; bundle inspect shows what a file leans on", "name all volumes on the command line, in any order"
	v := &Verdict{class: ErrIncomplete, text: text, hint: bases}
	if r.MissingVolumes() != "" {
		v.hint = volumes
	}
	if len(hit) > 0 {
		v.object = hit[0]
	}
	return v
}

// rootName says what of the root file system is hit; empty where there is none.
func (s *survey) rootName() string {
	if s.contents == nil {
		return "inventory and root file system"
	}
	n := 0
	for _, f := range s.contents.Files {
		if f.Type == "file" {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("root file system (%d files)", n)
}

// part checks what File does not check of a file that blobs are taken from:
// its framing, and blobs that were not checked there.
func (s *survey) part(ctx context.Context, part *archive.Reader, checked func(digest.Digest) bool, o Options) error {
	if err := part.VerifyFraming(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.problems.addError(inPart(part, err), "")
	}
	var blobs []archive.Blob
	for _, b := range part.Blobs() {
		if !checked(b.Digest) {
			blobs = append(blobs, b)
			o.Progress.expect(b.Size)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(max(o.Jobs, 0), runtime.GOMAXPROCS(0)))
	for _, b := range blobs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := part.VerifyBlob(gctx, b.Digest, o.Progress.add)
			if err == nil {
				return nil
			}
			if gctx.Err() != nil {
				return gctx.Err()
			}
			s.problems.addError(inPart(part, err), b.Digest)
			return nil
		})
	}
	return g.Wait()
}

// inPart says in an error about a part which file it is about.
func inPart(part *archive.Reader, err error) error {
	var e *archive.Error
	if !errors.As(err, &e) || e.File != "" {
		return err
	}
	c := *e
	c.File = part.Path()
	return &c
}
