package pull

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"bundle/manifest"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Limits of what may be attached to one manifest.
const (
	maxAttached      = 1000
	maxReferrerPages = 50
)

// cosignTags are the suffixes under which cosign finds what it attached.
var cosignTags = [...]string{".sig", ".att", ".sbom"}

// attachedTag is the tag cosign gives to something about d; without suffix
// it is the referrers tag schema of the OCI distribution specification.
func attachedTag(d digest.Digest, suffix string) string {
	return string(d.Algorithm()) + "-" + d.Encoded() + suffix
}

// Attached implements [Source]: cosign's tags, then the referrers API, or
// the tag that stands in for it where a registry does not have the API.
func (r *Remote) Attached(ctx context.Context, ref manifest.Reference, desc ocispec.Descriptor) ([]Attachment, error) {
	const op = "list what is attached to"
	e, ok, err := r.holder(ctx, ref, desc.Digest)
	if err != nil || !ok {
		return nil, fail(ctx, r.Name(), op, ref, err)
	}
	// All at once: over a long way each of these questions takes its time.
	var (
		g     errgroup.Group
		tags  [len(cosignTags)]*ocispec.Descriptor
		index []ocispec.Descriptor
	)
	for i, suffix := range cosignTags {
		g.Go(func() error {
			tag := attachedTag(desc.Digest, suffix)
			found, err := r.resolveAt(ctx, e, manifest.Reference{Registry: ref.Registry, Repository: ref.Repository, Tag: tag})
			if err == nil {
				tags[i] = &found
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
			return nil
		})
	}
	g.Go(func() error {
		var ok bool
		var err error
		index, ok, err = r.referrers(ctx, e, ref, desc.Digest)
		if err == nil && !ok {
			index, err = r.referrersTag(ctx, e, ref, desc.Digest)
		}
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, fail(ctx, r.Name(), op, ref, err)
	}
	list := newAttachments(desc.Digest)
	for i, found := range tags {
		if found != nil {
			list.add(Attachment{Descriptor: *found, Tag: attachedTag(desc.Digest, cosignTags[i])})
		}
	}
	for _, d := range index {
		list.add(Attachment{Descriptor: d})
	}
	if len(list.all) > maxAttached {
		return nil, fail(ctx, r.Name(), op, ref,
			reason(ErrInvalid, "%d manifests refer to it, %d are allowed", len(list.all), maxAttached))
	}
	return list.all, nil
}

// holder finds the endpoint that has the manifest d. What is attached is
// asked for there and nowhere else: a mirror has an image with its
// signatures or without, and an origin that cannot be reached must not fail
// an image that is complete.
func (r *Remote) holder(ctx context.Context, ref manifest.Reference, d digest.Digest) (endpoint, bool, error) {
	endpoints := r.endpoints(ref.Registry)
	if len(endpoints) == 1 {
		return endpoints[0], true, nil
	}
	for _, e := range endpoints {
		resp, err := r.client.Do(ctx, e.target(ref.Repository), wire.Request{
			Method: http.MethodHead,
			Path:   "manifests/" + string(d),
			Query:  e.query(),
			Header: http.Header{"Accept": acceptManifests},
			Accept: []int{http.StatusOK},
		})
		if err == nil {
			_ = resp.Body.Close()
			return e, true, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return endpoint{}, false, err
		}
	}
	return endpoint{}, false, nil
}

// referrers asks the API; ok is false where a registry does not have it.
func (r *Remote) referrers(ctx context.Context, e endpoint, ref manifest.Reference, d digest.Digest) (list []ocispec.Descriptor, ok bool, err error) {
	if _, known := r.noReferrers.Load(e.target(ref.Repository)); known {
		return nil, false, nil
	}
	req := wire.Request{
		Method: http.MethodGet,
		Path:   "referrers/" + string(d),
		Query:  e.query(),
		Header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}},
		Accept: []int{http.StatusOK},
	}
	for range maxReferrerPages {
		resp, raw, err := r.client.ReadAll(ctx, e.target(ref.Repository), req, MaxManifest)
		if err != nil {
			// Everything that is an answer says "I do not know this path" in
			// some registry; access denied too, as the manifest was readable.
			if we, isWire := errors.AsType[*wire.Error](err); isWire && we.Status >= 400 && we.Status < 500 && !wire.TemporaryStatus(we.Status) {
				r.noReferrers.Store(e.target(ref.Repository), true)
				return nil, false, nil
			}
			return nil, false, err
		}
		doc, err := parseDocument(raw, resp.Header.Get("Content-Type"))
		if err != nil || !doc.index {
			r.noReferrers.Store(e.target(ref.Repository), true)
			return nil, false, nil
		}
		list = append(list, doc.Manifests...)
		next, more := nextPage(resp)
		if !more {
			return list, true, nil
		}
		req.URL, req.Query = next, nil
	}
	return nil, false, reason(ErrInvalid, "%s lists its referrers on more than %d pages", e.addr, maxReferrerPages)
}

// nextPage follows a Link header (RFC 8288) that stays on the same host.
func nextPage(resp *http.Response) (*url.URL, bool) {
	link := resp.Header.Get("Link")
	var target string
	for i := 0; i < len(link); i++ {
		if link[i] == '>' && len(link) > 0 && link[0] == '<' {
			target = link[1:i]
			break
		}
	}
	if target == "" || resp.Request == nil {
		return nil, false
	}
	u, err := resp.Request.URL.Parse(target)
	if err != nil || u.Host != resp.Request.URL.Host {
		return nil, false
	}
	return u, true
}

func (r *Remote) referrersTag(ctx context.Context, e endpoint, ref manifest.Reference, d digest.Digest) ([]ocispec.Descriptor, error) {
	raw, header, err := r.manifest(ctx, e, ref, attachedTag(d, ""), func([]byte, http.Header) error { return nil })
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(raw, header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	return doc.Manifests, nil
}

// attachments collects each manifest once; what has a tag comes first and
// keeps it.
type attachments struct {
	subject digest.Digest
	seen    map[digest.Digest]bool
	all     []Attachment
}

func newAttachments(subject digest.Digest) *attachments {
	return &attachments{subject: subject, seen: map[digest.Digest]bool{}}
}

func (l *attachments) add(a Attachment) {
	if l.seen[a.Digest] {
		return
	}
	l.seen[a.Digest] = true
	a.Subject = l.subject
	l.all = append(l.all, a)
}
