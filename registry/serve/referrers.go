package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxRemembered bounds how many manifests' subjects are kept in memory.
	maxRemembered = 1 << 16
	// maxRememberedSize is the largest manifest that is, in bytes: a list of
	// referrers repeats its annotations.
	maxRememberedSize = 64 << 10
)

// referrers finds the manifests of a repository that have a subject. It looks
// through the storage driver, so that what was attached in a bundle, pushed to
// the overlay or deleted from either is all the same to it.
type referrers struct {
	driver *bundleDriver
	mu     sync.Mutex
	known  map[digest.Digest]referrer
}

// referrer is a manifest's subject, empty if it has none, and how to describe
// the manifest.
type referrer struct {
	subject digest.Digest
	desc    ocispec.Descriptor
}

func newReferrers(d *bundleDriver) *referrers {
	return &referrers{driver: d, known: map[digest.Digest]referrer{}}
}

// list gives the referrers of subject in the repository, by digest. It is
// false if there is no such repository.
func (rs *referrers) list(ctx context.Context, repo string, subject digest.Digest) ([]ocispec.Descriptor, bool, error) {
	if _, err := rs.driver.Stat(ctx, node{kind: nodeManifests, repo: repo}.path()); err != nil {
		if isNotFound(err) {
			return nil, false, nil
		}
		return nil, false, err
	}
	paths, err := rs.driver.List(ctx, node{kind: nodeRevisionsAlgo, repo: repo}.path())
	if err != nil && !isNotFound(err) {
		return nil, false, err
	}
	found := []ocispec.Descriptor{}
	for _, p := range paths {
		d := parseHex(path.Base(p))
		if d == "" {
			continue
		}
		// A deleted manifest leaves its folder behind.
		if _, err := rs.driver.Stat(ctx, p+"/link"); err != nil {
			continue
		}
		ref, ok := rs.get(ctx, d)
		if ok && ref.subject == subject {
			found = append(found, ref.desc)
		}
	}
	return found, true, nil
}

// get is false for manifests that cannot be read; whoever pulls them hears
// why.
func (rs *referrers) get(ctx context.Context, d digest.Digest) (referrer, bool) {
	rs.mu.Lock()
	ref, ok := rs.known[d]
	rs.mu.Unlock()
	if ok {
		return ref, true
	}
	raw, err := rs.driver.GetContent(ctx, node{kind: nodeBlobData, digest: d}.path())
	if err != nil || len(raw) > maxManifest {
		return referrer{}, false
	}
	var doc document
	if json.Unmarshal(raw, &doc) != nil {
		return referrer{}, false
	}
	if doc.Subject != nil {
		ref = referrer{subject: doc.Subject.Digest, desc: describe(d, int64(len(raw)), doc)}
	}
	if ref.subject == "" || len(raw) <= maxRememberedSize {
		rs.mu.Lock()
		if len(rs.known) >= maxRemembered {
			clear(rs.known)
		}
		rs.known[d] = ref
		rs.mu.Unlock()
	}
	return ref, true
}

func describe(d digest.Digest, size int64, doc document) ocispec.Descriptor {
	desc := ocispec.Descriptor{MediaType: doc.MediaType, Digest: d, Size: size, ArtifactType: doc.ArtifactType, Annotations: doc.Annotations}
	if desc.MediaType == "" {
		desc.MediaType = ocispec.MediaTypeImageManifest
		if doc.Manifests != nil {
			desc.MediaType = ocispec.MediaTypeImageIndex
		}
	}
	if desc.ArtifactType == "" && doc.Config != nil {
		desc.ArtifactType = doc.Config.MediaType
	}
	return desc
}

// serveReferrers answers GET /v2/<name>/referrers/<digest>. A repository that
// nobody knows is 404, so that a client with several mirrors asks the next.
func (h *handler) serveReferrers(w http.ResponseWriter, r *http.Request, t target) {
	if !isRead(r.Method) {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, errcode.ErrorCodeUnsupported)
		return
	}
	subject := digest.Digest(t.ref)
	if err := subject.Validate(); err != nil {
		fail(w, errcode.ErrorCodeDigestInvalid.WithDetail(err.Error()))
		return
	}
	found, ok, err := h.referrers.list(r.Context(), t.name, subject)
	switch {
	case err != nil:
		h.s.options.Logger.Error("referrers cannot be listed", "repository", t.name, "error", err)
		fail(w, errcode.ErrorCodeUnknown)
		return
	case !ok:
		fail(w, errcode.ErrorCodeNameUnknown.WithDetail(map[string]string{"name": t.name}))
		return
	}
	if want := r.URL.Query().Get("artifactType"); want != "" {
		found = slices.DeleteFunc(found, func(d ocispec.Descriptor) bool { return d.ArtifactType != want })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	slices.SortFunc(found, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	body, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: found})
	if err != nil {
		fail(w, errcode.ErrorCodeUnknown)
		return
	}
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the client is gone, or not
	}
}
