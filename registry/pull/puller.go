package pull

import (
	"context"
	"errors"
	"fmt"

	"bundle/manifest"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// DefaultJobs is how many references are resolved at once by default.
const DefaultJobs = 4

// Puller resolves references against sources.
type Puller struct {
	// Sources are asked in order until one does not say [ErrNotFound]; the
	// registries go last.
	Sources []Source
	// Platforms wanted of every image, as "os/arch[/variant]"; all that an
	// image has if empty. An image that lacks one of them fails.
	Platforms []string
	// Jobs is how many references are worked on at once; 0 means
	// [DefaultJobs].
	Jobs int
	// NoAttached leaves out signatures, attestations and other referrers
	// that are not part of an image's own index.
	NoAttached bool
	// Resolved and Failed, if set, are told of each reference as it is done,
	// from several goroutines at once.
	Resolved func(*Image)
	Failed   func(Failure)
}

// Request asks for one image.
type Request struct {
	Ref manifest.Reference
	// Name as the user wrote it, for messages; Ref's text if empty.
	Name string
	// Digest pins what Ref must be, as a lock file does; may be empty.
	Digest digest.Digest
}

func (r Request) name() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Ref.String()
}

// Resolve resolves all requests and returns the images of those that
// succeeded, in the order of the requests. If some failed the error is
// [*Failures], with every one of them, and the images are good nevertheless.
// The end of ctx and wrong Platforms are returned as they are.
func (p *Puller) Resolve(ctx context.Context, requests []Request) ([]Image, error) {
	wanted := make([]platform, 0, len(p.Platforms))
	for _, s := range p.Platforms {
		w, err := parsePlatform(s)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, w)
	}
	jobs := p.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	images := make([]*Image, len(requests))
	failures := make([]*Failure, len(requests))
	var g errgroup.Group
	g.SetLimit(jobs)
	for i, req := range requests {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			img, asked, err := p.resolve(ctx, req, wanted)
			if err == nil {
				images[i] = img
				if p.Resolved != nil {
					p.Resolved(img)
				}
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			failures[i] = &Failure{Name: req.name(), Asked: asked, Err: err}
			if p.Failed != nil {
				p.Failed(*failures[i])
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var done []Image
	all := &Failures{Total: len(requests)}
	for i := range requests {
		switch {
		case images[i] != nil:
			done = append(done, *images[i])
		case failures[i] != nil:
			all.List = append(all.List, *failures[i])
		}
	}
	if len(all.List) > 0 {
		return done, all
	}
	return done, nil
}

// resolve does one request and tells who was asked.
func (p *Puller) resolve(ctx context.Context, req Request, wanted []platform) (*Image, []string, error) {
	ref := req.Ref
	if req.Digest != "" {
		if ref.Digest != "" && ref.Digest != req.Digest {
			return nil, nil, &Error{Ref: req.name(), Op: "resolve",
				Err: reason(ErrInvalid, "it is pinned to another digest, %s", req.Digest)}
		}
		ref = ref.WithDigest(req.Digest)
	}
	var asked []string
	var missing []error
	for _, src := range p.Sources {
		asked = append(asked, src.Name())
		desc, err := src.Resolve(ctx, ref)
		if err == nil {
			c := &collector{ctx: ctx, src: src, ref: ref, wanted: wanted, attached: !p.NoAttached}
			img, err := c.collect(desc)
			if err != nil {
				return nil, []string{src.Name()}, named(req, src, err)
			}
			img.Ref = req.Ref
			return img, asked, nil
		}
		if !isNotFound(err) || errors.Is(err, ErrUnavailable) {
			return nil, asked, named(req, src, err)
		}
		missing = append(missing, err)
	}
	return nil, asked, notFoundAnywhere(req, missing)
}

// named puts the user's own name for the image into an error.
func named(req Request, src Source, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return &Error{Ref: req.name(), Source: src.Name(), Op: "resolve", Err: err}
	}
	renamed := *e
	renamed.Ref = req.name()
	return &renamed
}

// notFoundAnywhere is one sentence about all sources that were asked.
func notFoundAnywhere(req Request, missing []error) error {
	if len(missing) == 0 {
		return &Error{Ref: req.name(), Op: "resolve", Err: reason(ErrNotFound, "there is no source to ask")}
	}
	all := &Error{Ref: req.name(), Op: "resolve"}
	for _, err := range missing {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = &Error{Err: err}
		}
		cause := e.Err
		if all.Source = e.Source; len(missing) > 1 {
			cause = fmt.Errorf("%s: %w", e.Source, e.Err)
		}
		if all.Err == nil {
			all.Err = cause
		} else {
			all.Err = fmt.Errorf("%w; %w", all.Err, cause)
		}
		// The last source, the registries, knows best what to try next.
		all.Hint = e.Hint
	}
	return all
}
