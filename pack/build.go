package pack

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"bundle/archive"
	"bundle/internal/activity"
	"bundle/manifest"
	"bundle/manifest/lock"
	"bundle/registry/pull"
)

// Build is a bundle whose every byte has its place. It is made by [Prepare].
type Build struct {
	opts     Options
	output   string
	contents *manifest.Contents
	images   []packedImage
	content  *composer
	plan     *archive.Plan
	delta    *deltaOf
	volumes  int // 0 for one file
	lock     *lock.Lock
	// tools are the programs that come along.
	tools []tool
	// filesDigest is that of the context's own layer; empty without files.
	filesDigest digest.Digest
	closers     []io.Closer
	cache       blobCache

	mu     sync.Mutex
	writer *archive.Writer
	item   atomic.Pointer[string]
	active activity.Set
	// ahead is lent the connections that have no blob of their own any more.
	ahead pull.Ahead
}

// Progress of a running build.
type Progress struct {
	// Done and Total count bytes of the file.
	Done, Total int64
	// Item was begun last.
	Item string
	// Active is what is written now, the longest first.
	Active []activity.State
}

// Progress may be called at any time from any goroutine.
func (b *Build) Progress() Progress {
	p := Progress{Total: b.plan.Size(), Active: b.active.Now()}
	b.mu.Lock()
	if b.writer != nil {
		p.Done = b.writer.Written()
	}
	b.mu.Unlock()
	if s := b.item.Load(); s != nil {
		p.Item = *s
	}
	return p
}

// Result is what a finished build made.
type Result struct {
	Output      string        `json:"output"`
	Name        string        `json:"name"`
	Version     string        `json:"version"`
	IndexDigest digest.Digest `json:"indexDigest"`
	// Volumes are the files, where there is more than the one at Output.
	Volumes []string `json:"volumes,omitempty"`
	// Size of the file in bytes, signature included.
	Size   int64 `json:"size"`
	Signed bool  `json:"signed"`
	Images int   `json:"images"`
	Charts int   `json:"charts"`
	Files  int   `json:"files"`
	Steps  int   `json:"steps"`
	// LeansOn are the bundles that a delta leans on; LeftOut counts the
	// blobs that are in them and not in the file, and their bytes.
	LeansOn      []manifest.Base `json:"leansOn,omitempty"`
	LeftOut      int             `json:"leftOut,omitempty"`
	LeftOutBytes int64           `json:"leftOutBytes,omitempty"`
	// Blobs and BlobBytes are what the file holds.
	Blobs     int   `json:"blobs"`
	BlobBytes int64 `json:"blobBytes"`
}

// Estimate is what a build would do.
type Estimate struct {
	Output string          `json:"output"`
	Images []EstimateImage `json:"images"`
	// FetchBytes and FetchBlobs are what has to come from the sources.
	FetchBytes int64 `json:"fetchBytes"`
	FetchBlobs int   `json:"fetchBlobs"`
	// Size is the file's, and the build's peak use of disk: there is no
	// temporary copy.
	Size int64 `json:"size"`
	// LeansOn are the bundles that a delta leans on; LeftOut counts the
	// blobs that are in them and not in the file, and their bytes.
	LeansOn      []manifest.Base `json:"leansOn,omitempty"`
	LeftOut      int             `json:"leftOut,omitempty"`
	LeftOutBytes int64           `json:"leftOutBytes,omitempty"`
	// Volumes is how many files there are; absent for one.
	Volumes int `json:"volumes,omitempty"`
	// Free is what the output's file system has, in bytes; -1 if unknown.
	Free int64 `json:"free"`
}

// EstimateImage is one image of an [Estimate].
type EstimateImage struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	From   string        `json:"from"`
}

// DryRun says what Run would fetch and write.
func (b *Build) DryRun() Estimate {
	e := Estimate{Output: b.output, Size: b.plan.Size(), Free: freeBytes(b.output), Images: []EstimateImage{}, LeansOn: b.delta.named()}
	e.LeftOut, e.LeftOutBytes = b.delta.left()
	e.Volumes = b.volumes
	for _, img := range b.images {
		e.Images = append(e.Images, EstimateImage{img.ref.String(), img.desc.Digest, img.size(), img.from})
	}
	for d, r := range b.content.remote {
		if r.fetched && !b.content.absent[d] {
			e.FetchBlobs++
			e.FetchBytes += r.size
		}
	}
	return e
}

// Contents is the inventory that the bundle will have.
func (b *Build) Contents() *manifest.Contents { return b.contents }

// Close lets go of the sources. It is safe to call after Run.
func (b *Build) Close() error {
	var errs []error
	for _, c := range b.closers {
		errs = append(errs, c.Close())
	}
	b.closers = nil
	return errors.Join(errs...)
}

// Run writes the bundle. A run that was stopped, in whatever way, is gone on
// with by the next Run of an equal build; the finished file is the same. Blobs
// that cannot be had do not keep the others from being fetched: they are
// reported together.
func (b *Build) Run(ctx context.Context) (*Result, error) {
	// Sign first: a wrong password should not cost an hour of download.
	var signatures [][]byte
	if b.opts.Sign != nil {
		sig, err := b.opts.Sign(ctx, b.plan.IndexBytes())
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, sig)
	}
	w, err := archive.Create(b.output, b.plan, archive.WriterOptions{VolumeSize: b.opts.VolumeSize})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	b.mu.Lock()
	b.writer = w
	b.mu.Unlock()
	if err := b.fill(ctx, w); err != nil {
		return nil, err
	}
	if err := w.Commit(signatures...); err != nil {
		return nil, err
	}
	if b.opts.Lock != "" && b.lock != nil {
		if err := b.lock.Write(b.opts.Lock); err != nil {
			return nil, err
		}
	}
	if err := b.cache.keep(ctx, w.Files(), b.content.remote); err != nil {
		// The bundle is finished and good; only the next build is slower.
		b.opts.Warn(Warning{Text: err.Error()})
	}
	var size int64
	for _, f := range w.Files() {
		n, err := fileSize(f)
		if err != nil {
			return nil, err
		}
		size += n
	}
	res := &Result{
		Output: b.output, Name: b.contents.Name, Version: b.contents.Version,
		IndexDigest: b.plan.IndexDigest(), Size: size, Signed: len(signatures) > 0,
		Images: len(b.contents.Images), Charts: len(b.contents.Charts),
		Files: countFiles(b.contents.Files), Steps: len(b.contents.Steps),
	}
	if b.opts.VolumeSize > 0 {
		res.Volumes = w.Files()
	}
	res.LeansOn = b.delta.named()
	res.LeftOut, res.LeftOutBytes = b.delta.left()
	for _, blob := range b.plan.Blobs() {
		res.Blobs++
		res.BlobBytes += blob.Size
	}
	return res, nil
}

func countFiles(files []manifest.File) int {
	n := 0
	for _, f := range files {
		if f.Type != "dir" {
			n++
		}
	}
	return n
}

// fill writes every blob that the file does not hold yet.
func (b *Build) fill(ctx context.Context, w *archive.Writer) error {
	jobs := cmp.Or(b.opts.Jobs, defaultJobs)
	var g errgroup.Group
	g.SetLimit(jobs)
	var (
		mu     sync.Mutex
		failed []blobFailure
	)
	// The largest first: the longest download should not begin last.
	blobs := slices.Clone(b.plan.Blobs())
	slices.SortStableFunc(blobs, func(x, y archive.Blob) int { return cmp.Compare(y.Size, x.Size) })
	blobs = slices.DeleteFunc(blobs, func(blob archive.Blob) bool { return w.Done(blob.Digest) })
	if len(blobs) < jobs {
		b.ahead.Lend(jobs - len(blobs))
	}
	var begun atomic.Int64
	for _, blob := range blobs {
		g.Go(func() error {
			begun.Add(1)
			defer func() {
				if begun.Load() == int64(len(blobs)) {
					b.ahead.Lend(1)
				}
			}()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			open, of := b.source(blob.Digest)
			b.item.Store(&of)
			now := b.active.Begin(of, registryOf(of), blob.Size)
			defer now.End()
			open = watched(open, now)
			err := w.WriteBlob(ctx, blob.Digest, open)
			if errors.Is(err, archive.ErrDigest) && b.cache.drop(blob.Digest) {
				err = w.WriteBlob(ctx, blob.Digest, open)
			}
			if err != nil {
				if errors.Is(err, context.Canceled) && ctx.Err() != nil {
					return err
				}
				mu.Lock()
				failed = append(failed, blobFailure{of: of, digest: blob.Digest, err: err})
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return joinFailures(failed)
}

// watched counts the bytes that an opener gives.
func watched(open opener, item *activity.Item) opener {
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		r, err := open(ctx, offset)
		if err != nil {
			return nil, err
		}
		return item.Reader(r, offset), nil
	}
}

// registryOf is the registry in the name of what needs a blob, empty where it
// names none.
func registryOf(of string) string {
	_, ref, ok := strings.Cut(of, "image ")
	if !ok {
		return ""
	}
	ref, _, _ = strings.Cut(ref, " ")
	r, err := manifest.ParseReference(ref)
	if err != nil {
		return ""
	}
	return r.Registry
}

// source says how to get a blob, and for which object.
func (b *Build) source(d digest.Digest) (opener, string) {
	if data, ok := b.content.memory[d]; ok {
		return func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data[offset:])), nil
		}, "manifests"
	}
	r := b.content.remote[d]
	if !r.fetched {
		return r.open, r.of
	}
	return b.cache.wrap(d, r.size, r.open), r.of
}

type blobFailure struct {
	of     string
	digest digest.Digest
	err    error
}

// joinFailures makes one error of all blobs that could not be had.
func joinFailures(failed []blobFailure) error {
	if len(failed) == 0 {
		return nil
	}
	slices.SortFunc(failed, func(a, b blobFailure) int {
		return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(a.digest, b.digest))
	})
	errs := make([]error, len(failed))
	var text strings.Builder
	fmt.Fprintf(&text, "%d of the bundle's blobs could not be fetched; what was is kept, run the same command to go on", len(failed))
	for i, f := range failed {
		errs[i] = f.err
		fmt.Fprintf(&text, "\n  %s: %s: %v", f.of, f.digest, f.err)
	}
	return tableError{text: text.String(), errs: errs}
}

// tableError is several failures told in one text.
type tableError struct {
	text string
	errs []error
}

func (e tableError) Error() string   { return e.text }
func (e tableError) Unwrap() []error { return e.errs }
