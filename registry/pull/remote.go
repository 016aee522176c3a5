package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"bundle/manifest"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// RemoteOptions says how registries are reached.
type RemoteOptions struct {
	// HTTP is about connections, trust, credentials and retries.
	HTTP wire.Options
	// Mirrors maps the host that references name ("docker.io", or "*" for
	// any) to ADDR[/PREFIX], where the same paths are asked instead. The
	// name of the image stays what it was. A host of its own goes before
	// "*".
	//
	// The origin is asked only for what the mirror says it does not have: a
	// mirror that is down or denies access is an error, because a build that
	// silently goes around its mirror is worse than one that stops.
	Mirrors map[string]string
	// MirrorOnly never asks the origin where there is a mirror.
	MirrorOnly bool
	// Ahead, if set, lets idle connections help with blobs that are read.
	Ahead *Ahead
}

// Remote is any registry that a reference may name, over HTTP(S).
type Remote struct {
	client  *wire.Client
	mirrors map[string]endpoint
	only    bool
	ahead   *Ahead

	// recent holds manifests that Resolve read by tag until Manifest asks
	// for them: one request instead of two, which is what Docker Hub counts.
	mu         sync.Mutex
	recent     map[digest.Digest][]byte
	recentSize int

	// noReferrers remembers targets without the referrers API.
	noReferrers sync.Map
}

const maxRecent = 32 << 20

// endpoint is one place where a host's images may be asked for.
type endpoint struct {
	addr, prefix string
	// ns is the host that a mirror stands in for; containerd tells mirrors
	// the same way.
	ns string
}

func (e endpoint) target(repository string) wire.Target {
	if e.prefix != "" {
		repository = e.prefix + "/" + repository
	}
	return wire.Target{Addr: e.addr, Repository: repository}
}

func (e endpoint) query() url.Values {
	if e.ns == "" {
		return nil
	}
	return url.Values{"ns": {e.ns}}
}

// NewRemote makes the source of all registries. It opens no connection; it
// fails on options that cannot work.
func NewRemote(o RemoteOptions) (*Remote, error) {
	client, err := wire.New(o.HTTP)
	if err != nil {
		return nil, err
	}
	r := &Remote{client: client, only: o.MirrorOnly, ahead: o.Ahead,
		mirrors: map[string]endpoint{}, recent: map[digest.Digest][]byte{}}
	for host, addr := range o.Mirrors {
		addr = strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://")
		addr, prefix, _ := strings.Cut(strings.TrimSuffix(addr, "/"), "/")
		if host == "" || addr == "" || strings.ContainsAny(addr, " @?#") {
			return nil, fmt.Errorf("mirror %q=%q is not HOST=ADDR", host, o.Mirrors[host])
		}
		r.mirrors[wire.Host(host)] = endpoint{addr: addr, prefix: strings.Trim(prefix, "/")}
	}
	return r, nil
}

// Name implements [Source].
func (r *Remote) Name() string { return "registries" }

// Close drops idle connections.
func (r *Remote) Close() error { r.client.Close(); return nil }

// endpoints lists where to ask for images of host, in order.
func (r *Remote) endpoints(host string) []endpoint {
	host = wire.Host(host)
	origin := endpoint{addr: host}
	mirror, ok := r.mirrors[host]
	if !ok {
		mirror, ok = r.mirrors["*"]
	}
	switch {
	case !ok && host == manifest.LocalRegistry:
		return nil
	case !ok:
		return []endpoint{origin}
	}
	mirror.ns = host
	// The registry of a cluster that does not exist yet has no origin.
	if r.only || host == manifest.LocalRegistry || mirror.addr == host {
		return []endpoint{mirror}
	}
	return []endpoint{mirror, origin}
}

// each asks the endpoints of ref in order, until one does not say that it
// has no such thing.
func (r *Remote) each(ctx context.Context, ref manifest.Reference, op string, ask func(endpoint) error) error {
	endpoints := r.endpoints(ref.Registry)
	if len(endpoints) == 0 {
		return &Error{Ref: ref.String(), Source: r.Name(), Op: op,
			Err:  reason(ErrNotFound, "%s is the registry of the cluster to be installed", ref.Registry),
			Hint: "name the image with its own registry in a list, or give --from SOURCE or --mirror " + ref.Registry + "=ADDR"}
	}
	var missing error
	for _, e := range endpoints {
		err := ask(e)
		switch {
		case err == nil:
			return nil
		case missing != nil:
			err = fmt.Errorf("%w, and %w", missing, err)
		}
		if !errors.Is(err, ErrNotFound) || missing != nil {
			return fail(ctx, r.Name(), op, ref, err)
		}
		missing = err
	}
	return fail(ctx, r.Name(), op, ref, missing)
}

// Resolve implements [Source]. A tag costs one request; the manifest that
// comes with it is kept for [Remote.Manifest].
func (r *Remote) Resolve(ctx context.Context, ref manifest.Reference) (ocispec.Descriptor, error) {
	var desc ocispec.Descriptor
	err := r.each(ctx, ref, "resolve", func(e endpoint) (err error) {
		desc, err = r.resolveAt(ctx, e, ref)
		return err
	})
	return desc, err
}

func (r *Remote) resolveAt(ctx context.Context, e endpoint, ref manifest.Reference) (ocispec.Descriptor, error) {
	name := string(ref.Digest)
	if name == "" {
		name = ref.Tag
	}
	raw, header, err := r.manifest(ctx, e, ref, name, func(raw []byte, header http.Header) error {
		return checkResolved(ref, raw, header)
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	doc, err := parseDocument(raw, header.Get("Content-Type"))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: doc.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	r.remember(desc.Digest, raw)
	return desc, nil
}

func checkResolved(ref manifest.Reference, raw []byte, header http.Header) error {
	got := digest.FromBytes(raw)
	want := ref.Digest
	if want == "" {
		// The registry's own word, if it gives one that can be compared.
		want = digest.Digest(header.Get("Docker-Content-Digest"))
		if want.Validate() != nil || want.Algorithm() != digest.SHA256 {
			return nil
		}
	}
	if got != want {
		return reason(ErrDigest, "its manifest came with other bytes (%s) than %s", got, want)
	}
	return nil
}

// Manifest implements [Source].
func (r *Remote) Manifest(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor) ([]byte, error) {
	if raw := r.recall(desc.Digest); raw != nil {
		return raw, nil
	}
	op := "read manifest " + string(desc.Digest) + " of"
	if err := checkDescriptor(desc); err != nil {
		return nil, fail(ctx, r.Name(), op, ref, err)
	}
	var raw []byte
	err := r.each(ctx, ref, op, func(e endpoint) (err error) {
		raw, _, err = r.manifest(ctx, e, ref, string(desc.Digest), func(raw []byte, _ http.Header) error {
			return checkManifest(desc, raw)
		})
		return err
	})
	return raw, err
}

// manifest reads a manifest by tag or digest. Bytes that check rejects are
// asked for again: proxies have been seen to cut and to mix answers.
func (r *Remote) manifest(ctx context.Context, e endpoint, ref manifest.Reference, name string, check func([]byte, http.Header) error) ([]byte, http.Header, error) {
	req := wire.Request{
		Method: http.MethodGet,
		Path:   "manifests/" + name,
		Query:  e.query(),
		Header: http.Header{"Accept": acceptManifests},
		Accept: []int{http.StatusOK},
	}
	for attempt := 0; ; attempt++ {
		resp, raw, err := r.client.ReadAll(ctx, e.target(ref.Repository), req, MaxManifest)
		if err != nil {
			return nil, nil, err
		}
		err = check(raw, resp.Header)
		if err == nil {
			return raw, resp.Header, nil
		}
		if attempt > 0 {
			return nil, nil, fmt.Errorf("%s: %w", e.addr, err)
		}
		if err := r.client.Pause(ctx, e.addr, attempt, err); err != nil {
			return nil, nil, err
		}
	}
}

func (r *Remote) remember(d digest.Digest, raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recent[d] == nil && r.recentSize+len(raw) <= maxRecent {
		r.recent[d] = raw
		r.recentSize += len(raw)
	}
}

func (r *Remote) recall(d digest.Digest) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw := r.recent[d]
	if raw != nil {
		delete(r.recent, d)
		r.recentSize -= len(raw)
	}
	return raw
}

// Blob implements [Source]. The reader goes on by itself after a broken or
// silent connection, asking for the bytes it does not have yet.
func (r *Remote) Blob(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	op := "read blob " + string(desc.Digest) + " of"
	if err := checkDescriptor(desc); err != nil {
		return nil, fail(ctx, r.Name(), op, ref, err)
	}
	if offset < 0 || offset > desc.Size {
		return nil, fail(ctx, r.Name(), op, ref, reason(ErrInvalid, "offset %d is outside of its %d bytes", offset, desc.Size))
	}
	var body *blobReader
	err := r.each(ctx, ref, op, func(e endpoint) error {
		b := &blobReader{
			ctx: ctx, client: r.client, target: e.target(ref.Repository), query: e.query(),
			digest: desc.Digest, size: desc.Size, pos: offset, retries: r.client.Options().Retries,
			wrap: func(err error) error { return fail(ctx, r.Name(), op, ref, err) },
		}
		if err := b.connect(); err != nil {
			return err
		}
		body = b
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r.ahead != nil && desc.Size-offset > 2*segmentLeast {
		return newAheadReader(body, r.ahead), nil
	}
	return body, nil
}
