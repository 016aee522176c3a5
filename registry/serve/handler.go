package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// handler stands before the distribution project's registry. It does what
// that has not: names on behalf of another registry, referrers, and blobs
// straight from a bundle.
type handler struct {
	s         *Server
	auth      *authenticator
	entry     *logrus.Entry
	local     func(ns string) bool
	referrers *referrers
}

func newHandler(s *Server, a *authenticator, entry *logrus.Entry) http.Handler {
	h := &handler{s: s, auth: a, entry: entry, local: localNames(s.options.LocalNames), referrers: newReferrers(s.driver)}
	return s.status.observe(h, s.options)
}

// targetKind is what a path of the distribution API is about.
type targetKind int

const (
	targetOther targetKind = iota
	targetManifest
	targetBlob
	targetUpload
	targetTags
	targetReferrers
)

// target is a path of the distribution API taken apart.
type target struct {
	kind targetKind
	name string
	ref  string // tag or digest
	tail string // what follows the name
}

// parseTarget reads p from its end, for a repository may be called "tags" or
// "manifests" too.
func parseTarget(p string) target {
	rest, ok := strings.CutPrefix(p, "/v2/")
	if !ok {
		return target{}
	}
	parts := strings.Split(rest, "/")
	n := len(parts)
	cut := func(kind targetKind, at int, ref string) target {
		if at < 1 {
			return target{}
		}
		return target{kind: kind, name: strings.Join(parts[:at], "/"), ref: ref, tail: "/" + strings.Join(parts[at:], "/")}
	}
	last := parts[n-1]
	switch {
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return cut(targetUpload, n-3, last)
	case n >= 3 && parts[n-2] == "blobs":
		return cut(targetBlob, n-2, last)
	case n >= 3 && parts[n-2] == "manifests":
		return cut(targetManifest, n-2, last)
	case n >= 3 && parts[n-2] == "referrers":
		return cut(targetReferrers, n-2, last)
	case n >= 3 && parts[n-2] == "tags" && last == "list":
		return cut(targetTags, n-2, "")
	}
	return target{}
}

// namesOtherDigest tells whether a write is about a digest that is not a
// sha256.
func namesOtherDigest(r *http.Request, t target) bool {
	q := r.URL.Query()
	for _, d := range []string{q.Get("digest"), q.Get("mount"), t.ref} {
		if a, _, ok := strings.Cut(d, ":"); ok && a != algorithm {
			return true
		}
	}
	return false
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.s.options.NoStatus && r.URL.Path == "/healthz" {
		// Whoever watches the service has no password; one that is sent counts.
		known := h.auth == nil || r.Header.Get("Authorization") != "" && h.auth.allow(r) == nil
		h.s.status.health(w, r, known)
		return
	}
	if err := h.auth.allow(r); err != nil {
		h.refuse(w, r, err)
		return
	}
	if !h.s.options.NoStatus && r.URL.Path == "/metrics" {
		h.s.status.metrics.ServeHTTP(w, r)
		return
	}
	if home := h.s.options.Home; home != nil && r.URL.Path == "/" && isRead(r.Method) {
		home.ServeHTTP(w, r)
		return
	}
	if h.s.driver.upper == nil && !isRead(r.Method) {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, errcode.ErrorCodeUnsupported.WithMessage("this registry is read-only"))
		return
	}
	t := parseTarget(r.URL.Path)
	if t.kind == targetOther {
		h.app(w, r)
		return
	}
	if name := resolve(t.name, r.URL.Query().Get("ns"), h.local); name != t.name {
		t.name = name
		u := *r.URL
		u.Path, u.RawPath = "/v2/"+name+t.tail, ""
		r2 := *r
		r2.URL = &u
		r = &r2
	}
	if _, err := reference.WithName(t.name); err != nil || (!isRead(r.Method) && !listable.MatchString(t.name)) {
		fail(w, errcode.ErrorCodeNameInvalid.WithDetail(map[string]string{"name": t.name}))
		return
	}
	if !isRead(r.Method) && namesOtherDigest(r, t) {
		// The distribution project would take the blob and then not find it.
		fail(w, errcode.ErrorCodeDigestInvalid.WithMessage("only sha256 digests are supported"))
		return
	}
	switch {
	case t.kind == targetReferrers:
		h.serveReferrers(w, r, t)
	case t.kind == targetBlob && isRead(r.Method) && h.serveBlob(w, r, t):
	case t.kind == targetManifest && r.Method == http.MethodPut:
		h.putManifest(w, r)
	case t.kind == targetManifest && isRead(r.Method):
		h.app(w, acceptManifests(r))
	default:
		h.app(w, r)
	}
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var challenge auth.Challenge
	if errors.As(err, &challenge) {
		challenge.SetHeaders(r, w)
		fail(w, errcode.ErrorCodeUnauthorized)
		return
	}
	h.s.options.Logger.Error("the password file cannot be used", "error", err)
	fail(w, errcode.ErrorCodeUnavailable)
}

// app hands the request to the distribution project.
func (h *handler) app(w http.ResponseWriter, r *http.Request) {
	h.s.app.ServeHTTP(w, r.WithContext(logContext{r.Context(), h.entry}))
}

// acceptManifests lets a client that names no media type, or any, have the
// manifest as it is. The distribution project takes it for a client that knows
// no OCI manifests and answers 404.
func acceptManifests(r *http.Request) *http.Request {
	accept := r.Header.Values("Accept")
	if len(accept) > 0 && !strings.Contains(strings.Join(accept, ","), "*/*") {
		return r
	}
	r = r.Clone(r.Context())
	r.Header["Accept"] = append(accept, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList)
	return r
}

// putManifest adds what the distribution project leaves out: the answer says
// that the subject of the manifest was understood, so that the client need
// not keep a list of referrers under a tag.
func (h *handler) putManifest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	if err != nil {
		fail(w, errcode.ErrorCodeManifestInvalid.WithDetail("the manifest was cut off"))
		return
	}
	var doc document
	if len(body) <= maxManifest && json.Unmarshal(body, &doc) == nil && doc.Subject != nil && doc.Subject.Digest.Validate() == nil {
		w = &subjectWriter{ResponseWriter: w, subject: doc.Subject.Digest}
	}
	r2 := *r
	r2.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	h.app(w, &r2)
}

type subjectWriter struct {
	http.ResponseWriter
	subject digest.Digest
}

func (w *subjectWriter) WriteHeader(status int) {
	if status == http.StatusCreated {
		w.Header().Set("OCI-Subject", w.subject.String())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *subjectWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// fail answers with an error in the form of the distribution specification.
func fail(w http.ResponseWriter, err error) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	// The only error left is that of a client that is gone.
	_ = errcode.ServeJSON(w, err)
}
