package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"sync"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// smallBlob is what is sent in one request, from memory.
const smallBlob = 1 << 20

// placed remembers where a blob is at the target. Its lock is held while the
// blob is sent, so that a second repository that needs it waits and mounts
// instead of sending it twice.
type placed struct {
	mu    sync.Mutex
	repos []string
}

func (p *pusher) placedBlob(d digest.Digest) *placed {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.blobs[d]
	if b == nil {
		b = &placed{}
		p.blobs[d] = b
	}
	return b
}

// blob sees to it that the repository has d, and says how.
func (p *pusher) blob(ctx context.Context, to wire.Target, d ocispec.Descriptor) (Counts, error) {
	at := p.placedBlob(d.Digest)
	at.mu.Lock()
	defer at.mu.Unlock()
	for _, r := range at.repos {
		if r == to.Repository {
			return Counts{Skipped: 1, SkippedBytes: d.Size}, nil
		}
	}
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return Counts{}, context.Cause(ctx)
	}
	defer p.slots.Release(1)

	there, err := p.has(ctx, to, d)
	if err != nil {
		return Counts{}, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if there {
		at.repos = append(at.repos, to.Repository)
		return Counts{Skipped: 1, SkippedBytes: d.Size}, nil
	}
	b, ok := p.bundle.Stat(d.Digest)
	if !ok {
		return Counts{}, fmt.Errorf("the bundle leaves out blob %s and the registry does not have it: %w; push the bundle that it builds on first",
			d.Digest, archive.ErrMissing)
	}
	if b.Size != d.Size {
		return Counts{}, fmt.Errorf("blob %s has %d bytes and its manifest announces %d: %w", d.Digest, b.Size, d.Size, archive.ErrDigest)
	}
	counts := Counts{Uploaded: 1, UploadedBytes: d.Size}
	if len(at.repos) > 0 {
		counts = Counts{Mounted: 1, SkippedBytes: d.Size}
	}
	if !p.opts.DryRun {
		mounted, err := p.send(ctx, to, d, at.repos)
		if err != nil {
			return Counts{}, fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		if !mounted {
			counts = Counts{Uploaded: 1, UploadedBytes: d.Size}
		}
	}
	at.repos = append(at.repos, to.Repository)
	return counts, nil
}

func (p *pusher) has(ctx context.Context, to wire.Target, d ocispec.Descriptor) (bool, error) {
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodHead, Path: "blobs/" + d.Digest.String(), Accept: []int{http.StatusOK},
	})
	if errors.Is(err, wire.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close()
	// A registry that lost the end of a blob is sent it once more.
	return resp.ContentLength < 0 || resp.ContentLength == d.Size, nil
}

// send mounts the blob from one of repos, or uploads it.
func (p *pusher) send(ctx context.Context, to wire.Target, d ocispec.Descriptor, repos []string) (mounted bool, err error) {
	var mount url.Values
	if len(repos) > 0 {
		mount = url.Values{"mount": {d.Digest.String()}, "from": {repos[0]}}
	}
	session, err := p.begin(ctx, to, mount)
	if err != nil {
		return false, err
	}
	if session == nil {
		return true, nil
	}
	if d.Size <= smallBlob {
		return false, p.sendSmall(ctx, to, d, session)
	}
	return false, p.sendLarge(ctx, to, d, session)
}

// begin opens an upload session, or mounts; the URL is nil if it mounted.
func (p *pusher) begin(ctx context.Context, to wire.Target, mount url.Values) (*url.URL, error) {
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodPost, Path: "blobs/uploads/", Query: mount,
		Accept: []int{http.StatusAccepted, http.StatusCreated},
	})
	if errors.Is(err, wire.ErrNotFound) {
		return nil, withHint(err, "create the repository or project "+to.Repository+" first, if the registry does not by itself")
	}
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusCreated && mount != nil {
		return nil, nil
	}
	return location(to, resp)
}

// location reads where an upload goes on.
func location(to wire.Target, resp *http.Response) (*url.URL, error) {
	u, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return nil, &wire.Error{Addr: to.Addr, Class: wire.ErrRefused, Status: resp.StatusCode, Err: err,
			Reason: "does not say where to upload to"}
	}
	return u, nil
}

// sendSmall sends a blob that fits in memory, checked before it leaves.
func (p *pusher) sendSmall(ctx context.Context, to wire.Target, d ocispec.Descriptor, session *url.URL) error {
	raw, err := p.bundle.ReadBlob(d.Digest, smallBlob)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodPut, URL: session, Query: url.Values{"digest": {d.Digest.String()}},
		Header: http.Header{"Content-Type": {"application/octet-stream"}},
		Body:   bodyOf(raw), GetBody: getBody(raw), ContentLength: int64(len(raw)),
		Accept: []int{http.StatusCreated, http.StatusNoContent, http.StatusAccepted},
	})
	if err != nil {
		return err
	}
	p.opts.Sent(d.Size)
	return resp.Body.Close()
}

// sendLarge streams a blob into an upload session. When the connection
// breaks the registry is asked how much it kept; one that cannot tell gets
// the blob in a new session from its start.
func (p *pusher) sendLarge(ctx context.Context, to wire.Target, d ocispec.Descriptor, session *url.URL) error {
	reader, err := p.bundle.reader(d.Digest)
	if err != nil {
		return err
	}
	up := &upload{ra: reader, size: d.Size, digest: d.Digest, hash: sha256.New(), sent: p.opts.Sent}
	for attempt, at := 0, int64(0); ; {
		next, err := p.patch(ctx, to, up, session, at)
		if err == nil {
			session = next
			break
		}
		if up.bad != nil {
			return up.bad
		}
		if final(err) {
			return err
		}
		if err := p.client.Pause(ctx, to.Addr, attempt, err); err != nil {
			return err
		}
		attempt++
		var kept int64
		var resumed *url.URL
		if !lost(err) {
			kept, resumed = p.kept(ctx, to, session, d.Size)
		}
		// One that claims more than it was sent is not believed.
		if resumed == nil || kept < at || kept > up.seen() {
			if resumed, err = p.begin(ctx, to, nil); err != nil {
				return err
			}
			kept = 0
		}
		if kept > at {
			attempt = 0
		}
		session, at = resumed, kept
	}
	if err := up.verified(); err != nil {
		return err
	}
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodPut, URL: session, Query: url.Values{"digest": {d.Digest.String()}},
		Header: http.Header{"Content-Length": {"0"}},
		Accept: []int{http.StatusCreated, http.StatusNoContent, http.StatusAccepted},
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// final tells whether the answer of the registry makes another try useless.
func final(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && e.Status >= 400 && e.Status < 500 && !wire.TemporaryStatus(e.Status) &&
		// A session may be gone, or a token may have run out while the
		// bytes of the first try were on their way.
		e.Status != http.StatusNotFound && e.Status != http.StatusUnauthorized &&
		e.Status != http.StatusRequestedRangeNotSatisfiable
}

// lost tells whether the answer says that the session is of no use, whatever
// the registry says of it when asked.
func lost(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusRequestedRangeNotSatisfiable)
}

// patch sends the bytes from at to the end and gives the session's next URL.
func (p *pusher) patch(ctx context.Context, to wire.Target, up *upload, session *url.URL, at int64) (*url.URL, error) {
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if at > 0 {
		header.Set("Content-Range", fmt.Sprintf("%d-%d", at, up.size-1))
	}
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodPatch, URL: session, Header: header,
		Body: up.from(at), ContentLength: up.size - at,
		Accept: []int{http.StatusAccepted, http.StatusNoContent, http.StatusCreated},
	})
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	return location(to, resp)
}

// kept asks how many bytes a session holds; the URL is nil if it is of no
// use any more.
func (p *pusher) kept(ctx context.Context, to wire.Target, session *url.URL, size int64) (int64, *url.URL) {
	resp, err := p.client.Do(ctx, to, wire.Request{
		Method: http.MethodGet, URL: session, Accept: []int{http.StatusNoContent, http.StatusAccepted},
	})
	if err != nil {
		return 0, nil
	}
	_ = resp.Body.Close()
	var first, last int64
	if n, _ := fmt.Sscanf(resp.Header.Get("Range"), "%d-%d", &first, &last); n != 2 || first != 0 || last < 0 || last+1 >= size {
		return 0, nil
	}
	next, err := location(to, resp)
	if err != nil {
		next = session
	}
	// "0-0" is what registries say of an empty session and of one byte.
	if last == 0 {
		return 0, nil
	}
	return last + 1, next
}

// upload hashes the bytes of a blob the first time they are read, over as
// many requests as it takes.
type upload struct {
	ra     io.ReaderAt
	size   int64
	digest digest.Digest
	sent   func(int64)

	mu     sync.Mutex
	hash   hash.Hash
	hashed int64
	turn   int   // counts bodies; only the last one may read
	bad    error // the bundle cannot give the right bytes
	out    int64 // bytes told to sent
}

// from gives the body of a request that begins at off.
func (u *upload) from(off int64) io.Reader {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.out > off {
		u.sent(off - u.out)
		u.out = off
	}
	u.turn++
	return &uploadBody{u: u, at: off, turn: u.turn}
}

// seen is how many bytes were read so far, from the start.
func (u *upload) seen() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hashed
}

type uploadBody struct {
	u    *upload
	at   int64
	turn int
}

// errSuperseded ends the body of a request that was given up, which the
// transport may go on reading for a while.
var errSuperseded = errors.New("another request took over")

// Read gives the last byte of the blob only after the whole hash is right,
// so that a registry never gets a damaged blob whole.
func (b *uploadBody) Read(p []byte) (int, error) {
	u := b.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bad != nil {
		return 0, u.bad
	}
	if b.turn != u.turn {
		return 0, errSuperseded
	}
	if b.at >= u.size {
		return 0, io.EOF
	}
	n, err := u.ra.ReadAt(p[:min(int64(len(p)), u.size-b.at)], b.at)
	if n == 0 && err != nil {
		u.bad = err
		return 0, err
	}
	// Bytes that are read for the second time are hashed already.
	if end := b.at + int64(n); end > u.hashed {
		u.hash.Write(p[int64(n)-(end-u.hashed) : n])
		u.hashed = end
	}
	if b.at+int64(n) == u.size {
		if got := digest.NewDigest(digest.SHA256, u.hash); got != u.digest {
			u.bad = &archive.Error{Class: archive.ErrDigest, Member: "blobs/sha256/" + u.digest.Encoded(), Digest: u.digest,
				Reason: "its content hashes to " + got.String() + "; nothing of it was stored in the registry"}
			return 0, u.bad
		}
	}
	b.at += int64(n)
	u.sent(int64(n))
	u.out += int64(n)
	return n, nil
}

// verified tells whether every byte was read and hashed right.
func (u *upload) verified() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bad != nil {
		return u.bad
	}
	if u.hashed != u.size {
		return fmt.Errorf("the registry took %d of %d bytes for the whole: %w", u.hashed, u.size, wire.ErrRefused)
	}
	return nil
}

func bodyOf(raw []byte) io.Reader { return bytes.NewReader(raw) }

func getBody(raw []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}
