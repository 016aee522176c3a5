package rehearse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"bundle/manifest"
	"bundle/manifest/discover"
)

// Run rehearses an install. The error says that the rehearsal itself could not
// be held; what it found is in the report, see [Report.Err].
func Run(ctx context.Context, in Input) (*Report, error) {
	if in.Contents == nil || len(in.Bundles) == 0 {
		return nil, errors.New("there is no bundle to rehearse")
	}
	platforms, err := platformsOf(in)
	if err != nil {
		return nil, err
	}
	g, err := gather(ctx, in)
	if err != nil {
		return nil, err
	}
	r, err := start(ctx, in)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	wants, notes := wantsOf(in, g.found)
	results, err := pullAll(ctx, r, in, wants, platforms)
	if err != nil {
		return nil, err
	}
	rep := &Report{
		Images: []Image{}, Problems: slices.Concat([]Problem{}, g.problems), Notes: slices.Concat([]Note{}, g.notes, notes),
		Charts: g.charts, Manifests: g.manifests, NodePorts: slices.Concat([]int{}, g.nodePorts), Full: in.Full, BytesRead: r.read.Load(),
	}
	for _, p := range platforms {
		rep.Platforms = append(rep.Platforms, p.String())
	}
	for i, w := range wants {
		rep.add(w, results[i])
	}
	rep.OK = len(rep.Problems) == 0
	return rep, nil
}

func platformsOf(in Input) ([]manifest.Platform, error) {
	names := in.Platforms
	if len(names) == 0 {
		names = in.Contents.Platforms
	}
	var list []manifest.Platform
	for _, n := range names {
		p, err := manifest.ParsePlatform(n)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list, nil
}

// want is one reference that must be pulled, and who asks for it.
type want struct {
	ref     manifest.Reference
	raw     string // where it is no reference
	sources []manifest.Source
	// hint says what the bundle has that is near; ambiguous why no image can
	// be chosen.
	hint, ambiguous string
}

func (w want) name() string {
	if w.ref == (manifest.Reference{}) {
		return fmt.Sprintf("%q", w.raw)
	}
	return w.ref.String()
}

// wantsOf puts what was found together by reference, in order, with every
// image of the inventory behind it, and gives candidates as notes.
func wantsOf(in Input, found []discover.Found) ([]want, []Note) {
	have := make([]manifest.Reference, 0, len(in.Contents.Images))
	for _, img := range in.Contents.Images {
		if ref, err := manifest.ParseReference(img.Name); err == nil {
			have = append(have, ref.WithDigest(img.Digest))
		}
	}
	resolution := discover.Resolve(found, have, in.Local...)

	var wants []want
	at := map[string]int{}
	add := func(ref manifest.Reference, raw string, sources ...manifest.Source) {
		key := ref.String()
		if ref == (manifest.Reference{}) {
			key = "\x00" + raw
		}
		i, ok := at[key]
		if !ok {
			i = len(wants)
			at[key] = i
			wants = append(wants, want{ref: ref, raw: raw})
		}
		for _, s := range sources {
			if !slices.Contains(wants[i].sources, s) {
				wants[i].sources = append(wants[i].sources, s)
			}
		}
	}
	for _, f := range found {
		if f.Class == discover.Required {
			add(f.Ref, f.Raw, f.Source)
		}
	}
	for _, img := range in.Contents.Images {
		ref, err := manifest.ParseReference(img.Name)
		if err != nil {
			ref = manifest.Reference{}
		}
		add(ref, img.Name, img.NeededBy...)
	}
	for _, m := range resolution.Missing {
		if i, ok := at[m.Ref.String()]; ok && !m.Malformed() {
			wants[i].hint = m.Hint
		}
	}
	for _, a := range resolution.Ambiguous {
		if i, ok := at[a.Ref.String()]; ok {
			var names []string
			for _, o := range a.Options {
				names = append(names, o.String())
			}
			wants[i].ambiguous = fmt.Sprintf("may be several images of the bundle: %s", joinNames(names))
		}
	}
	return wants, candidates(resolution.Unlisted)
}

func joinNames(list []string) string {
	s := ""
	for i, n := range list {
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}

// candidates gives the strings that look like images and are not in the
// bundle, once each.
func candidates(found []discover.Found) []Note {
	var notes []Note
	at := map[manifest.Reference]int{}
	for _, f := range found {
		i, ok := at[f.Ref]
		if !ok {
			i = len(notes)
			at[f.Ref] = i
			notes = append(notes, Note{Object: f.Ref.String(), Text: "looks like an image, and is not in the bundle; only the application knows whether it is one"})
		}
		if !slices.Contains(notes[i].Sources, f.Source) {
			notes[i].Sources = append(notes[i].Sources, f.Source)
		}
	}
	return notes
}

func pullAll(ctx context.Context, r *registry, in Input, wants []want, platforms []manifest.Platform) ([]pulled, error) {
	local := func(name string) bool { return name == manifest.LocalRegistry || slices.Contains(in.Local, name) }
	results := make([]pulled, len(wants))
	jobs := in.Jobs
	if jobs <= 0 {
		jobs = 4
	}
	var (
		mu   sync.Mutex
		done int
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for i, w := range wants {
		group.Go(func() error {
			if w.ref == (manifest.Reference{}) {
				results[i].fail(Missing, "is no image reference, and stands where one must")
			} else {
				results[i] = r.pull(ctx, w.ref, local, platforms)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if in.Progress != nil {
				in.Progress(done, len(wants), w.name())
			}
			return nil
		})
	}
	return results, group.Wait()
}

// add takes the outcome of one pull into the report.
func (rep *Report) add(w want, p pulled) {
	if p.kind == "" {
		rep.Images = append(rep.Images, Image{Name: w.name(), Digest: p.digest.String(), Platforms: p.platforms, Bytes: p.bytes, NeededBy: w.sources})
		if p.hostless != "" && p.hostless != p.digest {
			rep.Notes = append(rep.Notes, Note{Object: w.name(), Text: "has another image under its name without the registry, " + w.ref.Hostless()})
		}
		return
	}
	problem := Problem{Kind: p.kind, Object: w.name(), Sources: w.sources, Reason: p.reason}
	if p.kind == Missing {
		problem.Hint = listHint(w.hint)
		if w.ambiguous != "" {
			problem.Reason, problem.Hint = w.ambiguous, "list only one of them, or name the registry"
		}
	}
	if p.kind == Damaged {
		problem.Hint = "bundle verify says which bytes are wrong; bring the file here anew"
	}
	if problem.Sources == nil {
		problem.Sources = []manifest.Source{}
	}
	rep.Problems = append(rep.Problems, problem)
}
