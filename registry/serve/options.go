package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
)

// Options changes how a [Server] serves. The zero value serves read-only, in
// plain HTTP, to everybody, with metrics and health on the same listener, and
// logs nothing.
type Options struct {
	// Logger hears of every request (Info), of damage (Error) and of what the
	// distribution project has to say. Nil discards all that.
	Logger *slog.Logger
	// Writable is a folder for an overlay that takes pushes and remembers
	// deletions; it is made if need be, and must not be shared by two servers
	// that run at once. Empty refuses all writes.
	Writable string
	// Htpasswd is a file of bcrypt entries; with it every request needs a user
	// and a password, except for /healthz. The file is read again when it
	// changes. Empty asks nobody for a password.
	Htpasswd string
	// Realm is what a client shows when it asks for the password; empty means
	// "bundle".
	Realm string
	// TLS makes the server speak HTTPS only, see [OwnCertificate] and
	// [LoadCertificate]. Nil means plain HTTP.
	TLS *tls.Config
	// LocalNames are registry names, as in containerd's ?ns=, that mean this
	// server and not an upstream. sea.hub:5000 is always one.
	LocalNames []string
	// NoStatus leaves /metrics and /healthz out of the handler, for servers
	// that mount [Server.Metrics] and [Server.Health] elsewhere.
	NoStatus bool
	// Home, if set, answers GET / to those who may pull: a page for people. Nil
	// answers 404 there.
	Home http.Handler
	// Stall is how long a client may take to accept or to send any byte at all
	// before its connection is cut; 0 means one minute.
	Stall time.Duration
	// Grace is how long transfers under way may go on after the context of
	// Serve was cancelled; 0 means ten seconds.
	Grace time.Duration
	// OnDamage, if set, hears of every piece of a bundle found damaged while
	// serving, from many goroutines at once.
	OnDamage func(bundle string, d digest.Digest, err error)
}

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Realm == "" {
		o.Realm = "bundle"
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Stall < 0 || o.Grace < 0 {
		return o, fmt.Errorf("%w: a time limit is negative", ErrOptions)
	}
	return o, nil
}
