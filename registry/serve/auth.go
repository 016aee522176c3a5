package serve

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // the "htpasswd" access controller
	"github.com/sirupsen/logrus"
)

const (
	// credentialTTL is how long a password that was right is taken for right
	// without bcrypt, which costs some 50 ms of CPU a time on purpose. It is
	// also how long a changed password file may take to be noticed.
	credentialTTL = 30 * time.Second
	// maxCredentials bounds how many are remembered.
	maxCredentials = 4096
)

// authenticator asks the distribution project's htpasswd controller who may
// come in. It stands before everything the server answers, also what the
// distribution project has no part in. Nil lets everybody in.
type authenticator struct {
	controller auth.AccessController
	entry      *logrus.Entry
	key        [32]byte
	slots      chan struct{} // bounds the bcrypt runs under way

	mu    sync.Mutex
	known map[[32]byte]time.Time // HMAC of the header → until when
}

func newAuth(file, realm string, entry *logrus.Entry) (*authenticator, error) {
	if file == "" {
		return nil, nil
	}
	// The controller would make a missing file, with a password that it logs.
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: the password file: %w", ErrOptions, err)
	}
	_ = f.Close()
	c, err := auth.GetAccessController("htpasswd", map[string]any{"realm": realm, "path": file})
	if err != nil {
		return nil, fmt.Errorf("%w: the password file %s: %w", ErrOptions, file, err)
	}
	a := &authenticator{
		controller: c,
		entry:      entry,
		slots:      make(chan struct{}, runtime.GOMAXPROCS(0)),
		known:      map[[32]byte]time.Time{},
	}
	_, _ = rand.Read(a.key[:])
	// A file that cannot be parsed is an error now, not at the first request.
	r, err := http.NewRequestWithContext(logContext{context.Background(), entry}, http.MethodGet, "/v2/", nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth("", "")
	var challenge auth.Challenge
	if _, err := c.Authorized(r); err != nil && !errors.As(err, &challenge) {
		return nil, fmt.Errorf("%w: the password file %s: %w", ErrOptions, file, err)
	}
	return a, nil
}

// allow gives nil, or an error that may be an [auth.Challenge].
func (a *authenticator) allow(r *http.Request) error {
	if a == nil {
		return nil
	}
	header := r.Header.Get("Authorization")
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write([]byte(header))
	id := [32]byte(mac.Sum(nil))
	a.mu.Lock()
	until, ok := a.known[id]
	a.mu.Unlock()
	if ok && time.Now().Before(until) {
		return nil
	}
	if header != "" {
		select {
		case a.slots <- struct{}{}:
			defer func() { <-a.slots }()
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	if _, err := a.controller.Authorized(r.WithContext(logContext{r.Context(), a.entry})); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxCredentials {
		clear(a.known)
	}
	a.known[id] = time.Now().Add(credentialTTL)
	return nil
}
