package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"bundle/archive"
	"bundle/verify/sign"
)

// Path verifies the bundle at path. Unlike archive.Open followed by [File] it
// has an answer for files that cannot even be opened as a bundle: they are
// read from the front as far as that goes, and what is hit is named from the
// index, though nobody can vouch for it.
//
// It returns a report and, if the bundle did not pass, its [*Verdict]. Any
// other error, such as that of a file that does not exist or a bundle that
// needs a newer tool, comes without a report.
func Path(ctx context.Context, path string, o Options) (*Report, error) {
	r, err := archive.Open(path)
	if err == nil {
		defer r.Close()
		return File(ctx, r, o)
	}
	return Broken(ctx, path, err, o)
}

// Broken makes the report of a file that [archive.OpenAll] could not open, with
// all that can still be read in it.
func Broken(ctx context.Context, path string, err error, o Options) (*Report, error) {
	var damage *archive.Error
	if !errors.As(err, &damage) || errors.Is(err, archive.ErrVersion) {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			return nil, fmt.Errorf("bundle %s cannot be opened: %w", path, pathError.Err)
		}
		return nil, err
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return nil, err
	}
	defer f.Close()
	o.Bundle = cmp.Or(o.Bundle, path)
	return salvage(ctx, f, damage, o)
}

// File verifies an open bundle: first the signatures over the raw bytes of
// index.json, and only if they satisfy the policy the content, in parallel.
// It calls r.Load.
//
// It returns a report and, if the bundle did not pass, its [*Verdict]. Any
// other error comes without a report.
func File(ctx context.Context, r *archive.Reader, o Options) (*Report, error) {
	rep, err := Trust(ctx, r, o)
	if err != nil {
		return rep, err
	}
	s := &survey{held: fileHoldings{r}}
	if err := s.load(r.Load); err != nil {
		return nil, err
	}
	var unread error
	if r.Index() != nil {
		rep.describe(s.held)
		for _, part := range r.Parts() {
			rep.With = append(rep.With, part.Path())
		}
		if unread = o.judgeContent(ctx, rep, s.held); !rep.Signature.trusted() {
			return rep.distrust()
		}
		if err := s.file(ctx, r, o); err != nil {
			return nil, err
		}
	}
	s.checkSignatures(embedded(r.Signatures()))
	rep.conclude(s)
	if unread != nil && rep.OK {
		return nil, unread
	}
	return rep, rep.Err()
}

// distrust leaves out what the report says of a bundle that nobody trusts.
func (r *Report) distrust() (*Report, error) {
	r.Name, r.Version, r.With, r.Content = "", "", nil, Content{Status: ContentUnchecked, Problems: []Problem{}}
	return r, r.Err()
}

// Trust judges only the signatures of an open bundle, over the raw bytes of
// its index. It parses nothing and does not need r.Load. It is for those who
// check content piece by piece as they use it.
//
// The report's content is unchecked, so its OK is false even without an
// error. The error is the [*Verdict] of a bundle that is not trusted.
func Trust(ctx context.Context, r *archive.Reader, o Options) (*Report, error) {
	rep := newReport(cmp.Or(o.Bundle, r.Path()), r.IndexDigest())
	rep.Signature = o.judge(ctx, r.IndexBytes(), embedded(r.Signatures()))
	if !rep.Signature.trusted() {
		return rep, rep.Err()
	}
	return rep, nil
}

// file checks everything of a loaded bundle.
func (s *survey) file(ctx context.Context, r *archive.Reader, o Options) error {
	if err := r.VerifyFraming(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.problems.addError(err, "")
	}
	if err := s.conduct(ctx); err != nil {
		return err
	}
	blobs := slices.Clone(r.Blobs())
	for _, b := range blobs {
		o.Progress.expect(b.Size)
	}
	// The largest first: the longest work should not begin last.
	slices.SortStableFunc(blobs, func(a, b archive.Blob) int { return cmp.Compare(b.Size, a.Size) })
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(max(o.Jobs, 0), runtime.GOMAXPROCS(0)))
	for _, b := range blobs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if o.Progress != nil {
				o.Progress.start(s.names.first(b.Digest))
			}
			err := r.VerifyBlob(gctx, b.Digest, o.Progress.add)
			if err == nil {
				return nil
			}
			if gctx.Err() != nil {
				return gctx.Err()
			}
			s.problems.addError(err, b.Digest)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, part := range r.Parts() {
		used := func(d digest.Digest) bool { return r.Uses(part, d) }
		if err := s.part(ctx, part, used, o); err != nil {
			return err
		}
	}
	s.nameFiles(ctx, r)
	return ctx.Err()
}

// load runs the Load of a reader or stream. What is wrong with the bundle
// becomes a problem; the error is one of the machine, or of a bundle that is
// too new.
func (s *survey) load(load func() error) error {
	err := load()
	if err == nil {
		return nil
	}
	var e *archive.Error
	if !errors.As(err, &e) || errors.Is(err, archive.ErrVersion) {
		return err
	}
	if e.Digest != "" {
		// Behind the index only the layout is read here.
		s.problems.add(Problem{Kind: ProblemDamaged, Object: "layout", Digest: e.Digest, Offset: e.Offset, Length: e.Length, Reason: printable(e.Reason)})
		return nil
	}
	s.problems.addError(err, "")
	return nil
}

// checkSignatures makes sure that the signatures a bundle carries are in the
// one spelling that the format has, whoever made them.
func (s *survey) checkSignatures(evidence []Evidence) {
	for _, e := range evidence {
		if err := sign.Check(e.Data); err != nil {
			s.problems.add(Problem{Kind: ProblemMalformed, Object: e.Name, Reason: printable(err.Error())})
		}
	}
}

// fileHoldings makes an archive.Reader what a survey needs.
type fileHoldings struct{ *archive.Reader }

func (h fileHoldings) read(_ context.Context, d digest.Digest, limit int64) ([]byte, error) {
	return h.ReadBlob(d, limit)
}

func newReport(bundle string, index digest.Digest) *Report {
	return &Report{
		Bundle: bundle, IndexDigest: index,
		Signature: Signature{Status: StatusSkipped, Signers: []Signer{}},
		Content:   Content{Status: ContentUnchecked, Problems: []Problem{}},
	}
}

// describe puts what the index says of the bundle into the report.
func (r *Report) describe(held holdings) {
	index := held.Index()
	r.Name = printable(index.Annotations[archive.AnnotationName])
	r.Version = printable(index.Annotations[archive.AnnotationVersion])
	for _, b := range held.Blobs() {
		r.Content.Blobs++
		r.Content.Bytes += b.Size
	}
}

// conclude puts what a survey found into the report.
func (r *Report) conclude(s *survey) {
	var layout digest.Digest
	if index := s.held.Index(); index != nil && len(index.Manifests) > 0 {
		layout = index.Manifests[0].Digest
	}
	r.noteWant(&s.problems, layout)
	r.Content.Problems, r.Content.Omitted = s.problems.finish(s.object, layout)
	r.Content.Status = statusOf(r.Content.Problems)
	r.OK = r.Signature.trusted() && r.Content.Status == ContentWhole
}
