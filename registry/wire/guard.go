package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// guard is the lowest layer: it decides for each request which scheme and
// which trust it gets, by the address it goes to. Redirects pass through it
// as well, so no other layer has to ask.
type guard struct {
	checked, unchecked http.RoundTripper
	plain, skip        addrSet
	// spoke remembers loopback addresses that answered over plain HTTP, so
	// that TLS is probed once for each, not once for each repository.
	spoke sync.Map
}

// maxCAFile bounds what is read as a file of authorities.
const maxCAFile = 4 << 20

func newGuard(o Options) (*guard, error) {
	var pool *x509.CertPool
	if o.CAFile != "" {
		var err error
		if pool, err = loadCA(o.CAFile); err != nil {
			return nil, err
		}
	}
	build := func(skip bool) *http.Transport {
		return &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: pool, InsecureSkipVerify: skip, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   30 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       90 * time.Second,
			ExpectContinueTimeout: time.Second,
			// A blob is what the registry stores; a transport that unpacks
			// on the way would change its bytes.
			DisableCompression: true,
		}
	}
	return &guard{
		checked:   build(false),
		unchecked: build(true),
		plain:     newAddrSet(o.PlainHTTP),
		skip:      newAddrSet(o.InsecureSkipVerify),
	}, nil
}

func loadCA(path string) (*x509.CertPool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate authorities: %w", err)
	}
	if info.Size() > maxCAFile {
		return nil, fmt.Errorf("%s is too large for a file of certificate authorities (%d bytes)", path, info.Size())
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	addr := req.URL.Host
	_, spoke := g.spoke.Load(addr)
	switch {
	case req.URL.Scheme == "https" && (spoke || g.plain.has(addr)):
		req = req.Clone(req.Context())
		req.URL.Scheme = "http"
	case req.URL.Scheme == "http" && !g.mayBePlain(addr):
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", addr, errPlainHTTP)
	}
	rt := g.checked
	if g.skip.has(addr) {
		rt = g.unchecked
	}
	resp, err := rt.RoundTrip(req)
	// A TLS server answers a plain request with 400, which is not speaking it.
	if err == nil && req.URL.Scheme == "http" && resp.StatusCode != http.StatusBadRequest && !spoke {
		g.spoke.Store(addr, true)
	}
	return resp, err
}

func (g *guard) mayBePlain(addr string) bool {
	return IsLoopback(addr) || g.plain.has(addr)
}

// checkRedirect keeps an answer that began under TLS under TLS.
func (g *guard) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return fmt.Errorf("%s redirects without end", via[0].URL.Host)
	}
	if req.URL.Scheme == "http" && !g.mayBePlain(req.URL.Host) {
		return fmt.Errorf("redirect to %s: %w", req.URL.Host, errPlainHTTP)
	}
	return nil
}

func (g *guard) close() {
	for _, rt := range []http.RoundTripper{g.checked, g.unchecked} {
		if t, ok := rt.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}
