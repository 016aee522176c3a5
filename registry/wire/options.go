package wire

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Defaults of [Options].
const (
	DefaultRetries      = 5
	DefaultStallTimeout = 60 * time.Second
	// MaxRetryAfter bounds how long a registry can make us wait. One that
	// asks for more gets its answer reported at once instead.
	MaxRetryAfter = 5 * time.Minute
)

// Options says how registries are spoken to. The zero value uses the
// docker configuration of the user, TLS with the system's authorities, and
// the defaults above.
type Options struct {
	// Keychain finds credentials; nil is go-containerregistry's default:
	// the docker (or podman) configuration with its credential helpers. See
	// [FileKeychain] for a configuration file given by name.
	Keychain authn.Keychain
	// PlainHTTP lists addresses (host or host:port) that are spoken to
	// without TLS. Loopback addresses may be without asking.
	PlainHTTP []string
	// CAFile is a PEM file of authorities believed besides the system's.
	CAFile string
	// InsecureSkipVerify lists addresses whose certificate is not checked.
	InsecureSkipVerify []string
	// Retries is how often a failed request is sent again; 0 means
	// [DefaultRetries], less than 0 never.
	Retries int
	// StallTimeout is how long a connection may stay silent before the
	// attempt is given up; 0 means [DefaultStallTimeout].
	StallTimeout time.Duration
	// Backoff gives the wait before retry number attempt, counted from 0;
	// nil doubles from half a second to 30 s, with jitter.
	Backoff func(attempt int) time.Duration
	// Clock is the time; nil is the real one.
	Clock Clock
	// UserAgent is put before go-containerregistry's own.
	UserAgent string
	// OnRetry is told of every attempt that will be repeated. It may be
	// called from several goroutines at once.
	OnRetry func(Retry)
}

// Retry describes an attempt that failed and will be repeated.
type Retry struct {
	// Host that was asked.
	Host string
	// Attempt that failed, counted from 1.
	Attempt int
	// Wait before the next one.
	Wait time.Duration
	// Reason in a few words.
	Reason string
}

// Clock is the part of time that waits. Tests replace it.
type Clock interface {
	// Sleep waits for d, or returns the cause of ctx's end.
	Sleep(ctx context.Context, d time.Duration) error
	// AfterFunc calls f in its own goroutine after d.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is what [Clock.AfterFunc] returns; see [time.Timer].
type Timer interface {
	Reset(d time.Duration) bool
	Stop() bool
}

type realClock struct{}

func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// backoff doubles from half a second to 30 s and draws from the upper half
// of each interval, so that many workers that failed together do not come
// back together.
func backoff(attempt int) time.Duration {
	const first, limit = 500 * time.Millisecond, 30 * time.Second
	d := limit
	if attempt < 6 {
		d = first << attempt
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)))
}

func (o Options) withDefaults() Options {
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	switch {
	case o.Retries == 0:
		o.Retries = DefaultRetries
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = DefaultStallTimeout
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	if o.Clock == nil {
		o.Clock = realClock{}
	}
	if o.OnRetry == nil {
		o.OnRetry = func(Retry) {}
	}
	return o
}
