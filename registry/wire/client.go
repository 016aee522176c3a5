package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Client speaks to any number of registries. It is safe for concurrent use.
type Client struct {
	opts  Options
	guard *guard
	base  http.RoundTripper

	mu       sync.Mutex
	sessions map[Target]*session
}

// Target is what a session, and so a token, is for. It is comparable.
type Target struct {
	// Addr is the host with its port, if any; docker.io stands for Docker
	// Hub's API wherever that is.
	Addr string
	// Repository below it.
	Repository string
	// Push asks for the right to write too.
	Push bool
}

type session struct {
	mu     sync.Mutex
	client *http.Client
	base   url.URL
}

// New makes a client. It opens no connection; it fails if a file that o
// names cannot be used.
func New(o Options) (*Client, error) {
	o = o.withDefaults()
	g, err := newGuard(o)
	if err != nil {
		return nil, err
	}
	return &Client{
		opts:     o,
		guard:    g,
		base:     transport.NewUserAgent(&retrier{inner: g, opts: o}, o.UserAgent),
		sessions: map[Target]*session{},
	}, nil
}

// Options gives the options in force, with defaults filled in.
func (c *Client) Options() Options { return c.opts }

// Close drops idle connections.
func (c *Client) Close() { c.guard.close() }

// Request is one request below a repository.
type Request struct {
	Method string
	// Path below /v2/<repository>/, such as "blobs/sha256:…"; or, for
	// upload sessions, URL.
	Path   string
	Query  url.Values
	URL    *url.URL
	Header http.Header
	// Body is sent once, unless GetBody can produce it again.
	Body          io.Reader
	GetBody       func() (io.ReadCloser, error)
	ContentLength int64
	// Accept lists statuses that are an answer; anything else is an error.
	Accept []int
}

// Do sends one request and returns the response if its status is listed in
// r.Accept. Otherwise, and if there is none, the error is an [*Error], or
// the cause of ctx's end. Requests without a body, or with GetBody, are
// repeated as [Options] say.
func (c *Client) Do(ctx context.Context, t Target, r Request) (*http.Response, error) {
	client, base, err := c.session(ctx, t)
	if err != nil {
		return nil, err
	}
	u := r.URL
	if u == nil {
		u = base.JoinPath(r.Path)
	}
	if len(r.Query) > 0 {
		joined := *u
		q := joined.Query()
		for k, v := range r.Query {
			q[k] = v
		}
		joined.RawQuery = q.Encode()
		u = &joined
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), r.Body)
	if err != nil {
		return nil, &Error{Addr: t.Addr, Class: ErrRefused, Reason: "gives an address that is none", Err: err}
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	if r.Body != nil {
		req.ContentLength = r.ContentLength
	}
	if r.GetBody != nil {
		req.GetBody = r.GetBody
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, netError(ctx, t.Addr, err)
	}
	for _, code := range r.Accept {
		if resp.StatusCode == code {
			return resp, nil
		}
	}
	return nil, statusError(t.Addr, resp)
}

// ReadAll is [Client.Do] for small answers: it reads the body whole, at most
// limit bytes, and repeats the request if the body breaks off. A body that
// is longer is an error of class [ErrRefused].
func (c *Client) ReadAll(ctx context.Context, t Target, r Request, limit int64) (*http.Response, []byte, error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.Do(ctx, t, r)
		if err != nil {
			return nil, nil, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
		_ = resp.Body.Close()
		switch {
		case int64(len(body)) > limit:
			return nil, nil, &Error{Addr: t.Addr, Class: ErrRefused, Status: resp.StatusCode,
				Reason: fmt.Sprintf("sends more than the %d bytes allowed here", limit)}
		case err == nil:
			return resp, body, nil
		}
		if err := c.Pause(ctx, t.Addr, attempt, err); err != nil {
			return nil, nil, err
		}
	}
}

// Pause waits before another try after attempt (from 0) ended with cause. It
// returns an error instead when no try is left or ctx ended.
func (c *Client) Pause(ctx context.Context, addr string, attempt int, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if attempt >= c.opts.Retries {
		return netError(ctx, addr, cause)
	}
	wait := c.opts.Backoff(attempt)
	c.opts.OnRetry(Retry{Host: addr, Attempt: attempt + 1, Wait: wait, Reason: printable(cause.Error())})
	return c.opts.Clock.Sleep(ctx, wait)
}

// session returns the authenticated client of t, shaking hands if it is the
// first request for it. A handshake that failed is not remembered.
func (c *Client) session(ctx context.Context, t Target) (*http.Client, *url.URL, error) {
	c.mu.Lock()
	s := c.sessions[t]
	if s == nil {
		s = &session{}
		c.sessions[t] = s
	}
	c.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, &s.base, nil
	}
	repo, err := repository(t)
	if err != nil {
		return nil, nil, err
	}
	auth, err := authn.Resolve(ctx, c.opts.Keychain, repo)
	if err != nil {
		return nil, nil, &Error{Addr: t.Addr, Class: ErrUnauthorized, Err: err,
			Reason: "needs credentials that could not be looked up: " + printable(err.Error()),
			Hint:   "check the docker configuration and its credential helper"}
	}
	action := transport.PullScope
	if t.Push {
		action = transport.PushScope
	}
	rt, err := transport.NewWithContext(ctx, repo.Registry, auth, c.base, []string{repo.Scope(action)})
	if err != nil {
		return nil, nil, handshakeError(ctx, t, auth, err)
	}
	s.client = &http.Client{Transport: rt, CheckRedirect: c.guard.checkRedirect}
	// The layers below settle on the scheme; the one here is what they expect.
	s.base = url.URL{Scheme: "https", Host: repo.RegistryStr(), Path: "/v2/" + repo.RepositoryStr() + "/"}
	return s.client, &s.base, nil
}

func handshakeError(ctx context.Context, t Target, auth authn.Authenticator, err error) error {
	err = netError(ctx, t.Addr, err)
	if e, ok := errors.AsType[*Error](err); ok && errors.Is(e, ErrUnauthorized) && auth != authn.Anonymous {
		e.Reason = strings.Replace(e.Reason, "denied access", "did not accept the credentials configured for it", 1)
	}
	return err
}

func repository(t Target) (name.Repository, error) {
	// docker.io becomes the host that answers its API; any other host is
	// kept, a bare one would be taken for a repository of Docker Hub.
	reg, err := name.NewRegistry(t.Addr)
	if err != nil {
		return name.Repository{}, &Error{Addr: t.Addr, Class: ErrRefused, Reason: "is not the address of a registry", Err: err}
	}
	repo := reg.Repo(t.Repository)
	if reg.RegistryStr() == name.DefaultRegistry && !strings.Contains(t.Repository, "/") {
		repo = reg.Repo("library", t.Repository)
	}
	return repo, nil
}
