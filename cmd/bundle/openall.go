package main

import (
	"context"
	"errors"
	"fmt"

	"bundle/archive"
	"bundle/pack"
	"bundle/verify"
)

// openReaders opens files of bundles, in any order, and reads nothing of their
// indexes yet. done closes them; it is set also after an error.
func openReaders(paths []string) (readers []*archive.Reader, done func(), err error) {
	done = func() {
		for _, r := range readers {
			r.Close()
		}
	}
	var errs []error
	readers, errs = archive.OpenAll(paths)
	for i, err := range errs {
		if err != nil {
			return readers, done, openError(paths[i], err)
		}
	}
	return readers, done, nil
}

// openAll opens bundles whose signatures satisfy the flags, deltas together
// with their bases, and makes sure that nothing they lean on is missing. Where
// the flags say nothing about trust it warns and goes on: content is checked
// piece by piece all the same.
func (a *app) openAll(ctx context.Context, t *trust, paths []string) (bundles []*archive.Reader, done func(), err error) {
	o, err := t.options(ctx)
	if err != nil {
		return nil, func() {}, err
	}
	readers, done, err := openReaders(paths)
	if err != nil {
		return nil, done, err
	}
	judged := map[*archive.Reader]*verify.Report{}
	g := verify.Gather(readers, func(r *archive.Reader) error {
		switch {
		case t.skip:
			fmt.Fprintf(a.stderr, "warning: %s: the signature is not checked; nobody knows whose content this is\n", r.Path())
			return nil
		case !t.given():
			fmt.Fprintf(a.stderr, "warning: %s: the signature is not checked, because neither --key nor --policy was given\n", r.Path())
			return nil
		}
		rep, err := verify.Trust(ctx, r, o)
		judged[r] = rep
		return err
	})
	if err := g.Err(); err != nil {
		return nil, done, err
	}
	for _, r := range g.Bundles {
		if err := verify.Complete(ctx, r); err != nil {
			return nil, done, err
		}
		if rep := judged[r]; rep != nil {
			if err := verify.TrustContent(ctx, rep, r, o); err != nil {
				return nil, done, err
			}
		}
	}
	return g.Bundles, done, nil
}

// openBundles opens bundles for looking at: the signature is not checked, the
// inventory's bytes are. A delta may
// lack its base as long as its inventory is there. trust, if not nil, sees
// each before anything of its index is parsed.
func openBundles(paths []string, trust func(*archive.Reader) error) (bundles []*opened, done func(), err error) {
	readers, done, err := openReaders(paths)
	if err != nil {
		return nil, done, err
	}
	g := verify.Gather(readers, trust)
	for _, r := range g.Bundles {
		if err := g.Refused[r]; err != nil {
			return nil, done, refusedError(r, err)
		}
		o, err := readOpened(r)
		if err != nil {
			return nil, done, err
		}
		bundles = append(bundles, o)
	}
	return bundles, done, nil
}

// openOneBundle is openBundles for files that are one bundle together.
func openOneBundle(what string, paths []string) (*opened, func(), error) {
	bundles, done, err := openBundles(paths, nil)
	if err != nil {
		return nil, done, err
	}
	if len(bundles) > 1 {
		return nil, done, usagef("%s and %s are two bundles; %s takes one, or a delta with its base", bundles[0].Path(), bundles[1].Path(), what)
	}
	return bundles[0], done, nil
}

// refusedError is that of a file which was gathered and not loaded.
func refusedError(r *archive.Reader, err error) error {
	if errors.As(err, new(*archive.Error)) {
		return hint(err, "bundle verify %s says what is damaged", r.Path())
	}
	return err
}

// readOpened reads the inventory of a loaded bundle.
func readOpened(r *archive.Reader) (*opened, error) {
	o := &opened{Reader: r}
	var err error
	o.contents, o.manifest, err = pack.ReadContents(r)
	if errors.Is(err, archive.ErrMissing) {
		if incomplete := verify.Complete(context.Background(), r); incomplete != nil {
			return nil, incomplete
		}
	}
	if err != nil {
		return nil, unreadable(r.Path(), err)
	}
	return o, nil
}
