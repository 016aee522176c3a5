package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// DefaultJobs is how many blobs are sent at once by default.
const DefaultJobs = 4

// DefaultStallTimeout is longer than for pulls: a registry says nothing
// while it hashes and moves a large blob that has just been completed.
const DefaultStallTimeout = 5 * time.Minute

// Bundle is what is pushed; [*archive.Reader] is one, after Load.
type Bundle interface {
	// Index lists the contents.
	Index() *ocispec.Index
	// Stat finds a blob.
	Stat(d digest.Digest) (archive.Blob, bool)
	// Open gives random access to a blob.
	Open(d digest.Digest) (*archive.BlobReader, error)
	// ReadBlob reads a blob of at most limit bytes and checks its digest.
	ReadBlob(d digest.Digest, limit int64) ([]byte, error)
}

// Options change how [Push] works. The zero value pushes everything, under
// names without their hosts.
type Options struct {
	// HTTP is about connections, trust, credentials and retries. Its
	// StallTimeout is [DefaultStallTimeout] by default.
	HTTP wire.Options
	// KeepHost puts the host of an image into its path at the target.
	KeepHost bool
	// Jobs is how many blobs are sent at once; 0 means [DefaultJobs].
	Jobs int
	// DryRun asks what is there and sends nothing.
	DryRun bool
	// TrimIndexes is for registries that refuse an image index with absent
	// platforms: the tag gets the one platform's manifest, or an index of
	// those that are present. Digest and signature of such an image are not
	// those of upstream any more.
	TrimIndexes bool
	// Sent, if set, is told of every n bytes of blobs that leave; n is
	// negative for bytes that have to be sent again. It is called from
	// several goroutines.
	Sent func(n int64)
	// Done, if set, is told of each item as it is complete, from several
	// goroutines at once.
	Done func(Item)
}

// Item is one image, chart, attachment or the bundle itself.
type Item struct {
	// Kind as in the bundle: "image", "chart", "attached", "bundle" or "tool".
	Kind string
	// Ref is its name in the bundle.
	Ref string
	// Target is its name in the registry.
	Target string
	// Digest it has there.
	Digest digest.Digest
	// Trimmed tells that Digest is not upstream's; see
	// [Options.TrimIndexes].
	Trimmed bool
	// Present tells that the name pointed at Digest already.
	Present bool
	Counts
}

// Counts are blobs, and bytes of blobs. Of a dry run they say what would be.
type Counts struct {
	Uploaded, Skipped, Mounted int
	// UploadedBytes were sent, SkippedBytes were there or mounted.
	UploadedBytes, SkippedBytes int64
}

func (c *Counts) add(o Counts) {
	c.Uploaded += o.Uploaded
	c.Skipped += o.Skipped
	c.Mounted += o.Mounted
	c.UploadedBytes += o.UploadedBytes
	c.SkippedBytes += o.SkippedBytes
}

// Result says what was done. Items are those that are complete, in the order
// of the bundle.
type Result struct {
	Items []Item
	// Counts are the sums over all items, failed ones included.
	Counts
}

// Failure is one item that could not be pushed.
type Failure struct {
	Kind, Ref, Target string
	Err               error
}

// Failures is the error of a push in which some items failed. Its text is a
// table, one failure a line.
type Failures struct {
	// Total number of items in the push.
	Total int
	List  []Failure
}

// Error gives a heading and a line for each failure.
func (f *Failures) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d items could not be pushed:\n", len(f.List), f.Total)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  ITEM\tTARGET\tREASON\n")
	for _, x := range f.List {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", x.Ref, x.Target, x.Err)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// Unwrap gives every cause.
func (f *Failures) Unwrap() []error {
	errs := make([]error, len(f.List))
	for i, x := range f.List {
		errs[i] = x.Err
	}
	return errs
}

// Push copies all of b to t. If some items failed the error is [*Failures],
// with every one of them, and the others are complete nevertheless. The end
// of ctx is returned as it is. Errors about names wrap [ErrCollision] and
// come before anything is sent.
func Push(ctx context.Context, b Bundle, t Target, o Options) (Result, error) {
	list, err := items(b.Index(), t, o.KeepHost)
	if err != nil {
		return Result{}, err
	}
	if o.HTTP.StallTimeout == 0 {
		o.HTTP.StallTimeout = DefaultStallTimeout
	}
	client, err := wire.New(o.HTTP)
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	if o.Jobs <= 0 {
		o.Jobs = DefaultJobs
	}
	if o.Sent == nil {
		o.Sent = func(int64) {}
	}
	p := &pusher{
		bundle: inBundle{b}, target: t, opts: o, client: client,
		blobs: map[digest.Digest]*placed{}, subjects: map[string]*sync.Mutex{},
		slots: semaphore.NewWeighted(int64(o.Jobs)),
	}
	return p.run(ctx, list)
}

// content is what the blobs come from.
type content interface {
	Stat(d digest.Digest) (archive.Blob, bool)
	ReadBlob(d digest.Digest, limit int64) ([]byte, error)
	reader(d digest.Digest) (io.ReaderAt, error)
}

// inBundle is the content of a bundle.
type inBundle struct{ Bundle }

func (b inBundle) reader(d digest.Digest) (io.ReaderAt, error) { return b.Open(d) }

type pusher struct {
	bundle content
	target Target
	opts   Options
	client *wire.Client
	slots  *semaphore.Weighted

	mu       sync.Mutex
	blobs    map[digest.Digest]*placed
	subjects map[string]*sync.Mutex // lists of referrers, by repository
}

// run pushes the items in waves, so that what is attached follows what it is
// attached to.
func (p *pusher) run(ctx context.Context, list []item) (Result, error) {
	items := make([]*Item, len(list))
	counts := make([]Counts, len(list))
	failures := make([]*Failure, len(list))
	for _, attached := range []bool{false, true} {
		var g errgroup.Group
		g.SetLimit(p.opts.Jobs)
		for i, it := range list {
			if (it.kind == archive.KindAttached) != attached {
				continue
			}
			g.Go(func() error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				done, err := p.item(ctx, it)
				counts[i] = done.Counts
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					failures[i] = &Failure{Kind: it.kind, Ref: it.source, Target: it.name(p.target), Err: err}
					return nil
				}
				items[i] = &done
				if p.opts.Done != nil {
					p.opts.Done(done)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return result(items, counts), err
		}
	}
	all := &Failures{Total: len(list)}
	for _, f := range failures {
		if f != nil {
			all.List = append(all.List, *f)
		}
	}
	if len(all.List) > 0 {
		return result(items, counts), all
	}
	return result(items, counts), nil
}

func result(items []*Item, counts []Counts) Result {
	var r Result
	for i, it := range items {
		r.add(counts[i])
		if it != nil {
			r.Items = append(r.Items, *it)
		}
	}
	return r
}

// explained adds what to do next to an error of the registry.
func explained(err error) error {
	if hint := wire.HintOf(err); hint != "" {
		return &hinted{err: err, hint: hint}
	}
	return err
}

type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() + "; " + h.hint }
func (h *hinted) Unwrap() error { return h.err }

// withHint replaces the hint of the [wire.Error] in err's tree.
func withHint(err error, hint string) error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		e.Hint = hint
	}
	return err
}
