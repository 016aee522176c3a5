package kube

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dialError marks a request that never left: sending it again does no harm.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// marked is dial with its errors marked.
func marked(dial Dialer) Dialer {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, dialError{err}
		}
		return c, nil
	}
}

// retrier sends requests again that met an API server which was away for a
// moment. It goes on until the request's context ends where the server is out
// of reach, and for a bounded number of times where it answers with an error.
type retrier struct {
	next http.RoundTripper
	out  *outage
	// request bounds one exchange that is no watch and no log.
	request time.Duration
	now     func() time.Time
}

const (
	firstPause = 100 * time.Millisecond
	longPause  = 3 * time.Second
	// answers is how often an error that the server itself gave is asked
	// again: half a minute altogether.
	answers = 14
)

// RoundTrip implements [http.RoundTripper].
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	step, ok := ctx.Value(stepKey{}).(context.Context)
	if !ok {
		step = ctx
	}
	begin := r.now()
	pause, asked, lost := firstPause, 0, false
	for {
		resp, err := r.once(req)
		v := judge(req, resp, err)
		if !v.outage() {
			r.out.up()
		}
		if lost && resp != nil && resp.StatusCode == http.StatusConflict {
			if mine := r.made(req, resp, begin); mine != nil {
				return mine, nil
			}
		}
		again := v.again && (v.outage() || asked < answers) && ctx.Err() == nil && step.Err() == nil
		next, rewound := rewind(req)
		if !again || !rewound {
			return resp, err
		}
		if v.outage() {
			r.out.down(v.why)
		} else {
			asked++
		}
		lost = lost || v.lost
		if resp != nil {
			_ = resp.Body.Close()
		}
		if over := rests(max(v.wait, pause/2+rand.N(pause/2)), ctx, step); over != nil {
			return nil, cmp.Or(err, fmt.Errorf("%s: %w", v.why, over))
		}
		pause, req = min(2*pause, longPause), next
	}
}

// rests waits, and gives why a context ended before that.
func rests(d time.Duration, a, b context.Context) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-a.Done():
		return context.Cause(a)
	case <-b.Done():
		return context.Cause(b)
	case <-t.C:
		return nil
	}
}

// verdict is what became of one exchange.
type verdict struct {
	again bool
	// away says that the server did not answer at all.
	away bool
	// lost says that the request may have been carried out.
	lost bool
	why  string
	wait time.Duration
}

func (v verdict) outage() bool { return v.away }

// judge says whether an exchange is worth another try.
func judge(req *http.Request, resp *http.Response, err error) verdict {
	if err != nil {
		if req.Context().Err() != nil {
			return verdict{away: true, why: reachReason(err)}
		}
		if _, ok := errors.AsType[dialError](err); ok {
			return verdict{again: true, away: true, why: reachReason(err)}
		}
		if !severed(err) {
			return verdict{why: err.Error()}
		}
		return verdict{again: repeatable(req), away: true, lost: true, why: reachReason(err)}
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return verdict{again: true, why: "it has too many requests", wait: retryAfter(resp)}
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if groupDiscovery(req) || strings.HasSuffix(req.URL.Path, "/log") {
			return verdict{} // an extension or a kubelet that is down, not the server
		}
		text := peek(resp)
		again, lost := passing(resp.StatusCode, text)
		return verdict{again: again && (!lost || repeatable(req)), lost: lost, why: oneLine(text), wait: retryAfter(resp)}
	}
	return verdict{}
}

// passing tells whether an error of the server passes by itself, and whether
// the request may have been carried out nevertheless.
func passing(code int, text string) (again, lost bool) {
	switch {
	case strings.Contains(text, "failed calling webhook"), strings.Contains(text, "conversion webhook for"):
		return true, false // refused before anything was stored
	case strings.Contains(text, "etcdserver:"), strings.Contains(text, "code = Unavailable"),
		strings.Contains(text, "raft proposal dropped"):
		return true, true
	case code == http.StatusServiceUnavailable:
		return true, false
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		return true, true
	}
	return false, false
}

// severed tells whether a connection broke, which another may mend.
func severed(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	s := err.Error()
	for _, part := range []string{
		"connection reset", "broken pipe", "http2: ", "GOAWAY", "server closed idle connection", "use of closed", "i/o timeout",
		"connection refused", "no route to host",
	} {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// repeatable tells whether a request that may have been carried out can be
// sent again. Creating is, because [retrier.made] finds out; a list of
// changes is not.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodPatch:
		return !strings.HasPrefix(req.Header.Get("Content-Type"), "application/json-patch")
	case http.MethodPost:
		return !strings.HasSuffix(req.URL.Path, "/eviction") && !strings.HasSuffix(req.URL.Path, "/binding")
	}
	return true
}

// groupDiscovery tells whether a request asks what one API group has. An
// extension API server that is down fails these for ever.
func groupDiscovery(req *http.Request) bool {
	p := strings.Trim(req.URL.Path, "/")
	return req.Method == http.MethodGet && strings.HasPrefix(p, "apis/") && strings.Count(p, "/") <= 2 ||
		strings.HasPrefix(p, "openapi")
}

// streams tells whether the answer to a request may take any time.
func streams(req *http.Request) bool {
	q := req.URL.Query()
	return q.Get("watch") == "true" || q.Get("watch") == "1" || q.Get("follow") == "true"
}

// once does one exchange, bounded until its body is closed.
func (r *retrier) once(req *http.Request) (*http.Response, error) {
	if streams(req) || r.request <= 0 {
		return r.next.RoundTrip(req)
	}
	ctx, cancel := context.WithTimeout(req.Context(), r.request)
	resp, err := r.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &closer{ReadCloser: resp.Body, done: cancel}
	return resp, nil
}

// closer calls done when the body is closed.
type closer struct {
	io.ReadCloser
	done func()
}

func (c *closer) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

// rewind gives the request with a fresh body.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return req, false
	}
	body, err := req.GetBody()
	if err != nil {
		return req, false
	}
	next := req.Clone(req.Context())
	next.Body = body
	return next, true
}

const maxStatus = 64 << 10

// hold reads the body of a small answer and puts it back.
func hold(resp *http.Response) []byte {
	body := resp.Body
	data, _ := io.ReadAll(io.LimitReader(body, maxStatus))
	resp.Body = &closer{ReadCloser: io.NopCloser(bytes.NewReader(data)), done: func() { _ = body.Close() }}
	return data
}

// peek gives the text of an error.
func peek(resp *http.Response) string {
	data := hold(resp)
	var s metav1.Status
	if json.Unmarshal(data, &s) == nil && s.Message != "" {
		return s.Message
	}
	return string(data)
}

func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, 10*time.Second)
}

// made finds out whether the object that is said to exist is the one whose
// creation went unanswered: then it is younger than our first try, by the
// server's own clock. It gives the answer that was lost, or nil.
func (r *retrier) made(req *http.Request, resp *http.Response, begin time.Time) *http.Response {
	if req.Method != http.MethodPost {
		return nil
	}
	data := hold(resp)
	var s metav1.Status
	if json.Unmarshal(data, &s) != nil || s.Reason != metav1.StatusReasonAlreadyExists || s.Details == nil || s.Details.Name == "" {
		return nil
	}
	get := req.Clone(req.Context())
	get.Method, get.Body, get.GetBody, get.ContentLength = http.MethodGet, nil, nil, 0
	get.URL = req.URL.JoinPath(s.Details.Name)
	get.URL.RawQuery = ""
	get.Header.Del("Content-Type")
	get.Header.Set("Accept", "application/json")
	found, err := r.once(get)
	if err != nil {
		return nil
	}
	object, err := io.ReadAll(io.LimitReader(found.Body, maxFile))
	_ = found.Body.Close()
	var meta metav1.PartialObjectMetadata
	server, dateErr := http.ParseTime(found.Header.Get("Date"))
	if err != nil || dateErr != nil || found.StatusCode != http.StatusOK || json.Unmarshal(object, &meta) != nil {
		return nil
	}
	const rounding = 2 * time.Second
	if server.Sub(meta.CreationTimestamp.Time) > r.now().Sub(begin)+rounding {
		return nil // it was there before
	}
	found.StatusCode, found.Status = http.StatusCreated, "201 Created"
	found.Body = io.NopCloser(bytes.NewReader(object))
	found.ContentLength = int64(len(object))
	_ = resp.Body.Close()
	return found
}

// reachReason is why a server cannot be reached, without the address, which
// the sentence around it has.
func reachReason(err error) string {
	s := err.Error()
	for _, known := range []string{
		"connection refused", "no route to host", "network is unreachable", "connection reset by peer", "no such host", "i/o timeout",
	} {
		if strings.Contains(s, known) {
			return known
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was cut"
	}
	return oneLine(s)
}
