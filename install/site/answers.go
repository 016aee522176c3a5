package site

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"bundle/install/host"
)

// askTimeout bounds one question to a registry.
const askTimeout = 10 * time.Second

// dial is where a server's own registry answers, as seen from it.
func (s *Site) dial(h host.Host) target {
	t := target{addr: s.addr("127.0.0.1"), names: s.certificateNames(h.Name())}
	switch {
	case s.o.Listen != "":
		t.addr = s.addr(s.o.Listen)
	case s.isServer(h.Name()):
		t.addr = s.addr(h.Name())
	}
	return t
}

// target is where to ask, and what the certificate has to cover.
type target struct {
	addr  string
	names []string
}

// answers tells whether a registry with our authority's certificate answers at
// the target to what a node would ask, seen from the host.
func (s *Site) answers(ctx context.Context, h host.Host, c *secrets, t target) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return h.DialContext(ctx, "tcp", t.addr) },
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: c.pool, ServerName: t.names[0],
			VerifyConnection: func(state tls.ConnectionState) error {
				for _, n := range t.names {
					if err := state.PeerCertificates[0].VerifyHostname(n); err != nil {
						return err
					}
				}
				return nil
			},
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.names[0]+"/v2/", nil)
	if err != nil {
		return err
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password.Reveal())
	}
	resp, err := tr.RoundTrip(req)
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return errors.New("what answers there has a certificate of another authority")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nothing answers within %s", askTimeout)
	case err != nil:
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return errors.New("it does not take the password")
	}
	return fmt.Errorf("it answers %s", resp.Status)
}

// reach asks every server's registry from a host. One that answers is enough
// for a node to work; the others are told about.
func (s *Site) reach(ctx context.Context, h host.Host, c *secrets) (silent []string, err error) {
	servers := s.serversFor(h.Name())
	for _, server := range servers {
		t := target{addr: s.addr(server), names: s.certificateNames(server)}
		if e := s.answers(ctx, h, c, t); e != nil {
			silent = append(silent, server)
			err = fmt.Errorf("%s: %w", t.addr, e)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	if len(silent) < len(servers) {
		slices.Sort(silent)
		return silent, nil
	}
	return nil, &Error{
		Host: h.Name(), Text: fmt.Sprintf("the registry does not answer at %v", err), Err: ErrUnreachable,
		hint: fmt.Sprintf("a firewall may keep port %d from this host, or the registry may have stopped", s.o.Registry.Port),
	}
}
