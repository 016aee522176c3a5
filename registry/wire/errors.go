package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Classes of failures, for errors.Is.
var (
	// ErrNotFound says that the registry answered and has no such thing.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized says that the registry wants other credentials.
	ErrUnauthorized = errors.New("access denied")
	// ErrUnavailable says that no usable answer came: no connection, no
	// trust in the certificate, or only temporary errors until the last try.
	ErrUnavailable = errors.New("unavailable")
	// ErrRefused says that the registry understood the request and will not
	// do it.
	ErrRefused = errors.New("refused by the registry")
)

// ErrStalled is the cause of an attempt that was given up in silence.
var ErrStalled = errors.New("no bytes came for too long")

// errPlainHTTP is why a request over http is not sent.
var errPlainHTTP = errors.New("plain HTTP is not allowed for this address")

// Error is a failed exchange with a registry.
type Error struct {
	// Addr is the host that was asked, with its port if one was written.
	Addr string
	// Class is one of the sentinels of this package.
	Class error
	// Status is the HTTP status, 0 if no answer came.
	Status int
	// Reason completes the sentence "Addr …".
	Reason string
	// Hint says what to try next; empty if nothing is known.
	Hint string
	// Err is the cause, nil for a plain HTTP status.
	Err error
}

// Error gives one sentence without the hint.
func (e *Error) Error() string { return e.Addr + " " + e.Reason }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// HintOf finds the hint of the first [Error] in err's tree.
func HintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}

// statusError reads the body of a response that is no success (bounded) and
// says what it means. It closes the body.
func statusError(addr string, resp *http.Response) error {
	defer resp.Body.Close()
	err := transport.CheckError(resp)
	te, ok := errors.AsType[*transport.Error](err)
	if !ok {
		te = &transport.Error{StatusCode: resp.StatusCode}
	}
	e := fromStatus(addr, te)
	if wait, ok := retryAfter(resp); ok && e.Status == http.StatusTooManyRequests {
		e.Reason += fmt.Sprintf(" and asks to wait %s", wait)
	}
	return e
}

func fromStatus(addr string, te *transport.Error) *Error {
	e := &Error{Addr: addr, Status: te.StatusCode}
	said := diagnosis(te)
	switch te.StatusCode {
	case http.StatusNotFound:
		e.Class, e.Reason = ErrNotFound, "has no such thing (404)"
		e.Hint = "check the spelling of the name and the tag"
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Class, e.Reason = ErrUnauthorized, fmt.Sprintf("denied access (%d)", te.StatusCode)
		e.Hint = "check the name, and the credentials for " + addr + " (docker login, or --registry-config FILE)"
	case http.StatusTooManyRequests:
		e.Class, e.Reason = ErrUnavailable, "limits the rate of requests (429)"
		e.Hint = "log in to raise the limit, or use a mirror (--mirror HOST=ADDR)"
	default:
		e.Class, e.Reason = ErrRefused, fmt.Sprintf("answered %d %s", te.StatusCode, http.StatusText(te.StatusCode))
		if te.StatusCode >= 500 {
			e.Class = ErrUnavailable
		}
	}
	if said != "" {
		e.Reason += ": " + said
	}
	return e
}

// diagnosis is what the registry said, cut to something that fits a line.
func diagnosis(te *transport.Error) string {
	var parts []string
	for _, d := range te.Errors {
		msg := strings.Join(strings.Fields(d.Message), " ")
		if msg == "" {
			msg = string(d.Code)
		}
		parts = append(parts, msg)
	}
	s := strings.Join(parts, "; ")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return printable(s)
}

// printable keeps a registry from writing control characters to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, s)
}

// netError says what a failed round trip means. The end of ctx is passed on
// as it is: an interrupt is no fault of the registry.
func netError(ctx context.Context, addr string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	// A handshake on loopback tries TLS and plain HTTP; that a certificate
	// does not hold says more than what the other attempt got.
	te, answered := errors.AsType[*transport.Error](err)
	if answered && !distrust(err) {
		e := fromStatus(addr, te)
		e.Err = err
		if te.StatusCode == http.StatusNotFound {
			// Only the handshake ends here: /v2/ or the token server is missing.
			e.Class, e.Reason, e.Hint = ErrUnavailable, "is not a registry (404 for /v2/)", "check the address"
		}
		return e
	}
	e := &Error{Addr: addr, Class: ErrUnavailable, Err: err}
	e.Reason, e.Hint = explain(addr, err)
	return e
}

func timedOut(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// distrust tells whether a certificate was refused.
func distrust(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

func explain(addr string, err error) (reason, hint string) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "shows a certificate of an unknown authority",
			"give its authority with --ca FILE, or --insecure-skip-tls-verify " + addr
	}
	if ce, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "shows a certificate that does not hold: " + printable(ce.Err.Error()),
			"check the address and the clock, or give --insecure-skip-tls-verify " + addr
	}
	if de, ok := errors.AsType[*net.DNSError](err); ok && de.IsNotFound {
		return "could not be found: no such host", "check the name and the DNS, or use a mirror (--mirror HOST=ADDR)"
	}
	// An URL may carry a signature that opens a blob; it stays out of messages.
	cause := err
	if ue, ok := errors.AsType[*url.Error](err); ok {
		cause = ue.Err
	}
	switch msg := cause.Error(); {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "speaks plain HTTP, TLS was expected", "if that is right, give --plain-http " + addr
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection", "check the address and whether the registry runs, or use a mirror (--mirror HOST=ADDR)"
	case errors.Is(err, ErrStalled):
		return "went silent", "try again, or use a mirror (--mirror HOST=ADDR)"
	case timedOut(err):
		return "did not answer in time", "check the network, or use a mirror (--mirror HOST=ADDR)"
	case errors.Is(err, errPlainHTTP):
		return "leads to plain HTTP, which is not allowed: " + printable(msg), "if that is right, give --plain-http for that address"
	default:
		return "could not be reached: " + printable(msg), "check the network, or use a mirror (--mirror HOST=ADDR)"
	}
}
