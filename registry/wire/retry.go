package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// retrier repeats requests that failed before their answer began. It sits
// below authentication, so the handshake and token requests are repeated as
// well. An answer that breaks off later is its reader's to repeat.
type retrier struct {
	inner http.RoundTripper
	opts  Options
	// dead holds hosts that used up all retries without one answer. They
	// get a single try until they answer again, so that a list of a hundred
	// images on a dead host does not wait a hundred times.
	dead sync.Map
}

func (t *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		resp, err := t.attempt(req)
		reason, again := t.verdict(req, resp, err)
		if err == nil {
			t.dead.Delete(req.URL.Host)
		}
		if !again {
			return resp, err
		}
		_, dead := t.dead.Load(req.URL.Host)
		if attempt >= t.opts.Retries || dead {
			if err != nil {
				t.dead.Store(req.URL.Host, true)
			}
			return resp, err
		}
		wait := t.opts.Backoff(attempt)
		if resp != nil {
			if after, ok := retryAfter(resp); ok {
				if after > MaxRetryAfter {
					return resp, nil
				}
				wait = max(wait, after)
			}
		}
		next, ok := rewind(req)
		if !ok {
			return resp, err
		}
		if resp != nil {
			drain(resp.Body)
		}
		t.opts.OnRetry(Retry{Host: req.URL.Host, Attempt: attempt + 1, Wait: wait, Reason: reason})
		if err := t.opts.Clock.Sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// verdict tells whether another attempt may end better.
func (t *retrier) verdict(req *http.Request, resp *http.Response, err error) (reason string, again bool) {
	if req.Context().Err() != nil {
		return "", false
	}
	if err != nil {
		return err.Error(), !permanent(err)
	}
	if TemporaryStatus(resp.StatusCode) {
		return fmt.Sprintf("status %d", resp.StatusCode), true
	}
	return "", false
}

// TemporaryStatus tells whether a request with this answer is worth another
// try.
func TemporaryStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// permanent errors come back however often one tries.
func permanent(err error) bool {
	if de, ok := errors.AsType[*net.DNSError](err); ok {
		return de.IsNotFound
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return errors.Is(err, errPlainHTTP)
}

// rewind gives a request that can be sent once more; a body that cannot be
// produced again makes that impossible.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	next := req.Clone(req.Context())
	next.Body = body
	return next, true
}

// retryAfter reads the header in both its forms (RFC 9110, 10.2.3).
func retryAfter(resp *http.Response) (time.Duration, bool) {
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	// Against the server's own clock where it tells it.
	now := time.Now()
	if d, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = d
	}
	return max(0, at.Sub(now)), true
}

// drain lets the connection be used again if little is left in it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// attempt sends req once and gives up when nothing moves for the stall
// timeout, before the answer or within it.
func (t *retrier) attempt(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	watch := &stallWatch{cancel: cancel, after: t.opts.StallTimeout}
	watch.timer = t.opts.Clock.AfterFunc(watch.after, func() { cancel(ErrStalled) })
	sent := req.Clone(ctx)
	if sent.Body != nil && sent.Body != http.NoBody {
		// While an upload moves, the silence of the answer is no stall.
		sent.Body = &watchedBody{ReadCloser: sent.Body, watch: watch}
	}
	resp, err := t.inner.RoundTrip(sent)
	if err != nil {
		watch.stop()
		if errors.Is(context.Cause(ctx), ErrStalled) {
			err = ErrStalled
		}
		return nil, err
	}
	watch.pause()
	resp.Body = &watchedBody{ReadCloser: resp.Body, watch: watch, ctx: ctx, last: true}
	return resp, nil
}

type stallWatch struct {
	timer  Timer
	after  time.Duration
	cancel context.CancelCauseFunc
}

func (w *stallWatch) touch() { w.timer.Reset(w.after) }
func (w *stallWatch) pause() { w.timer.Stop() }
func (w *stallWatch) stop()  { w.timer.Stop(); w.cancel(nil) }

// watchedBody restarts the stall timer with every read that moves bytes.
type watchedBody struct {
	io.ReadCloser
	watch *stallWatch
	ctx   context.Context // set for answers, to tell a stall from a break
	last  bool            // it is the answer: closing it ends the attempt
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.last {
		// Only while somebody waits for bytes: a slow disk behind the reader
		// is no silence of the registry.
		b.watch.touch()
		defer b.watch.pause()
	}
	n, err := b.ReadCloser.Read(p)
	if n > 0 && !b.last {
		b.watch.touch()
	}
	if err != nil && err != io.EOF && b.ctx != nil && errors.Is(context.Cause(b.ctx), ErrStalled) {
		err = ErrStalled
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.last {
		b.watch.stop()
	}
	return err
}
