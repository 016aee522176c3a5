package pull

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
)

// refill is how many bytes a connection must bring for the next failure to
// be counted from zero again: a long download may break more often than a
// request is retried, a server that gives single bytes may not.
const refill = 64 << 10

// blobReader reads one blob over as many connections as it takes.
type blobReader struct {
	ctx     context.Context
	client  *wire.Client
	target  wire.Target
	query   url.Values
	digest  digest.Digest
	size    int64
	retries int
	wrap    func(error) error

	body    io.ReadCloser
	pos     int64 // next byte to hand out
	gained  int64 // bytes since the connection was made
	tries   int   // failures in a row
	noRange bool  // ranges came back wrong: read from the start and skip
	sized   bool  // the server announced the length, and it was right
	err     error // sticky
}

func (b *blobReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if err != nil {
		if err != io.EOF {
			err = b.wrap(err)
		}
		b.err = err
	}
	return n, err
}

func (b *blobReader) read(p []byte) (int, error) {
	for b.pos < b.size {
		if b.body == nil {
			if err := b.connect(); err != nil {
				return 0, err
			}
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.size-b.pos)])
		b.pos += int64(n)
		b.gained += int64(n)
		if err != nil && b.pos < b.size {
			if err := b.broken(err); err != nil {
				return n, err
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.end()
}

// end makes sure that a server which did not announce a length has no more
// to say.
func (b *blobReader) end() error {
	if b.body == nil || b.sized {
		return io.EOF
	}
	if n, _ := io.ReadFull(b.body, make([]byte, 1)); n > 0 {
		return reason(ErrDigest, "%s sends more than the %d bytes that the manifest announces", b.target.Addr, b.size)
	}
	return io.EOF
}

// broken drops the connection and waits for the next try, if there is one.
func (b *blobReader) broken(cause error) error {
	if cause == io.EOF {
		cause = io.ErrUnexpectedEOF
	}
	_ = b.body.Close()
	b.body = nil
	if b.gained >= refill {
		b.tries = 0
	}
	b.tries++
	return b.client.Pause(b.ctx, b.target.Addr, b.tries-1, cause)
}

// connect asks for the bytes from pos on.
func (b *blobReader) connect() error {
	for {
		ranged := b.pos > 0 && !b.noRange
		// A range that starts at the end is none (RFC 9110, 14.1.2).
		if b.pos == b.size && b.size > 0 {
			b.body, b.sized = http.NoBody, true
			return nil
		}
		req := wire.Request{
			Method: http.MethodGet,
			Path:   "blobs/" + string(b.digest),
			Query:  b.query,
			Header: http.Header{"Accept-Encoding": {"identity"}},
			Accept: []int{http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable},
		}
		if ranged {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.pos))
		}
		resp, err := b.client.Do(b.ctx, b.target, req)
		if err != nil {
			return err
		}
		b.body, b.gained = resp.Body, 0
		switch resp.StatusCode {
		case http.StatusPartialContent:
			if !ranged || !b.continues(resp) {
				_ = resp.Body.Close()
				if b.noRange || !ranged {
					return reason(ErrUnavailable, "%s answers with a part that was not asked for", b.target.Addr)
				}
				b.noRange = true
				continue
			}
			return nil
		case http.StatusRequestedRangeNotSatisfiable:
			_ = resp.Body.Close()
			return reason(ErrDigest, "%s holds fewer than the %d bytes that the manifest announces", b.target.Addr, b.size)
		}
		if resp.ContentLength >= 0 && resp.ContentLength != b.size {
			_ = resp.Body.Close()
			return reason(ErrDigest, "%s holds %d bytes, the manifest announces %d", b.target.Addr, resp.ContentLength, b.size)
		}
		b.sized = resp.ContentLength >= 0
		// The range was ignored: what was read already comes once more.
		if _, err := io.CopyN(io.Discard, resp.Body, b.pos); err != nil {
			if err := b.broken(err); err != nil {
				return err
			}
			continue
		}
		return nil
	}
}

// continues checks that a partial answer begins where it was asked to.
func (b *blobReader) continues(resp *http.Response) bool {
	var first, last int64
	var total string
	if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%s", &first, &last, &total); n != 3 {
		return false
	}
	if first != b.pos || last < first || last >= b.size {
		return false
	}
	if total != "*" && total != fmt.Sprint(b.size) {
		return false
	}
	// A part that ends early is a connection that ends early.
	b.sized = true
	return true
}

// Close drops the connection.
func (b *blobReader) Close() error {
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}
