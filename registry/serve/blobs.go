package serve

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
)

// serveBlob answers with a blob of a bundle, and gives false, having written
// nothing, where the distribution project is to answer: for blobs of the
// overlay, unknown ones and malformed digests.
//
// The distribution project would read through a buffer of 4 MiB for each
// client and copy in pieces of 32 KiB; here a checked chunk goes from the
// bundle to the connection in one write.
func (h *handler) serveBlob(w http.ResponseWriter, r *http.Request, t target) bool {
	d := digest.Digest(t.ref)
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return false
	}
	size, ok := h.s.store.size(d)
	if !ok {
		return false
	}
	link := node{kind: nodeLayerLink, repo: t.name, digest: d}.path()
	if _, err := h.s.driver.Stat(r.Context(), link); err != nil {
		return false
	}
	// Several ranges in one request are more work than they are worth, and
	// units other than bytes are nobody's; the whole is a permitted answer.
	if rg := r.Header.Get("Range"); rg != "" && (strings.Contains(rg, ",") || !strings.HasPrefix(rg, "bytes=")) {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	if r.Method == http.MethodGet && (size <= chunkSize || r.Header.Get("Range") != "") {
		// These are checked before the first byte, so there is still time to
		// say what is wrong.
		if err := h.s.store.verify(r.Context(), d); err != nil {
			fail(w, errcode.ErrorCodeUnknown.WithMessage("the blob is damaged in the bundle").WithDetail(d.String()))
			return true
		}
	}
	body, err := h.s.store.open(d)
	if err != nil {
		fail(w, errcode.ErrorCodeUnknown.WithMessage("the blob is damaged in the bundle").WithDetail(d.String()))
		return true
	}
	body.ctx = r.Context()
	defer func() { _ = body.Close() }()
	head := w.Header()
	head.Set("Docker-Distribution-API-Version", "registry/2.0")
	head.Set("Docker-Content-Digest", d.String())
	head.Set("Etag", `"`+d.String()+`"`)
	head.Set("Cache-Control", "max-age=31536000")
	head.Set("Content-Type", "application/octet-stream")
	http.ServeContent(&blobWriter{ResponseWriter: w}, r, "", h.s.driver.lower.started, body)
	if body.err != nil {
		// Not the whole and not a whole part of it must arrive as such.
		panic(http.ErrAbortHandler)
	}
	return true
}

// blobWriter takes a blob in whole chunks from [http.ServeContent].
type blobWriter struct{ http.ResponseWriter }

// ReadFrom is what io.CopyN calls.
func (w *blobWriter) ReadFrom(src io.Reader) (int64, error) {
	if lr, ok := src.(*io.LimitedReader); ok {
		if body, ok := lr.R.(*reader); ok {
			n, err := body.copyTo(w.ResponseWriter, lr.N)
			lr.N -= n
			if errors.Is(err, io.ErrUnexpectedEOF) {
				body.fail(err)
			}
			return n, err
		}
	}
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
}
