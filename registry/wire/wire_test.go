package wire

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

type noWait struct{ slept *atomic.Int32 }

func (c noWait) Sleep(ctx context.Context, _ time.Duration) error { c.slept.Add(1); return ctx.Err() }
func (noWait) AfterFunc(d time.Duration, f func()) Timer          { return time.AfterFunc(time.Hour, f) }

func options() Options {
	return Options{Clock: noWait{&atomic.Int32{}}, Keychain: authn.NewMultiKeychain(), Retries: 2}
}

// ask sends one request for a blob and returns what came.
func ask(t *testing.T, o Options, addr string) (string, error) {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, body, err := c.ReadAll(t.Context(), Target{Addr: addr, Repository: "app/web"},
		Request{Method: http.MethodGet, Path: "blobs/x", Accept: []int{http.StatusOK}}, 100)
	return string(body), err
}

func hello(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v2/" {
		_, _ = io.WriteString(w, "hello")
	}
}

func secure(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, strings.TrimPrefix(s.URL, "https://")
}

func TestTLS(t *testing.T) {
	s, addr := secure(t)
	t.Run("unknown authority", func(t *testing.T) {
		_, err := ask(t, options(), addr)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "unknown authority") || !strings.Contains(HintOf(err), "--ca FILE") {
			t.Errorf("got error %v with hint %q", err, HintOf(err))
		}
	})
	t.Run("authority from a file", func(t *testing.T) {
		o := options()
		o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		if err := os.WriteFile(o.CAFile, cert, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t, o, addr); err != nil || got != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("not checked for this address", func(t *testing.T) {
		o := options()
		o.InsecureSkipVerify = []string{addr}
		if got, err := ask(t, o, addr); err != nil || got != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("not checked for another address", func(t *testing.T) {
		o := options()
		o.InsecureSkipVerify = []string{"registry.invalid", "127.0.0.1:1"}
		if _, err := ask(t, o, addr); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got error %v, want the certificate to be refused", err)
		}
	})
	for name, content := range map[string]string{"empty": "", "no PEM": "certificate"} {
		t.Run("file of authorities that is "+name, func(t *testing.T) {
			o := options()
			o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(o.CAFile, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), o.CAFile) {
				t.Errorf("got error %v, want one that names the file", err)
			}
		})
	}
	if _, err := New(Options{CAFile: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v", err)
	}
}

func TestPlainHTTPOnLoopbackWithoutAsking(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(hello))
	t.Cleanup(s.Close)
	slept := &atomic.Int32{}
	o := options()
	o.Clock = noWait{slept}
	if got, err := ask(t, o, strings.TrimPrefix(s.URL, "http://")); err != nil || got != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if slept.Load() != 0 {
		t.Errorf("waited %d times to find out that it is plain HTTP", slept.Load())
	}
}

// seen is a transport that notes what would be sent.
type seen struct{ url string }

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.url = r.URL.String()
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func TestSchemeByAddress(t *testing.T) {
	o := options()
	o.PlainHTTP = []string{"plain.example", "ported.example:5000", "http://slashed.example/"}
	o.InsecureSkipVerify = []string{"skip.example"}
	tests := map[string]string{ // request, what is sent; empty is refused
		"https://tls.example/v2/":          "checked https://tls.example/v2/",
		"http://tls.example/v2/":           "",
		"http://10.1.2.3:5000/v2/":         "",
		"https://plain.example/v2/":        "checked http://plain.example/v2/",
		"https://plain.example:81/v2/":     "checked http://plain.example:81/v2/",
		"https://ported.example:5000/v2/":  "checked http://ported.example:5000/v2/",
		"http://ported.example:5001/v2/":   "",
		"https://slashed.example/v2/":      "checked http://slashed.example/v2/",
		"http://localhost:5000/v2/":        "checked http://localhost:5000/v2/",
		"http://[::1]:5000/v2/":            "checked http://[::1]:5000/v2/",
		"https://skip.example/v2/":         "unchecked https://skip.example/v2/",
		"http://localhost.example.com/v2/": "",
	}
	for in, want := range tests {
		checked, unchecked := &seen{}, &seen{}
		g, err := newGuard(o)
		if err != nil {
			t.Fatal(err)
		}
		g.checked, g.unchecked = checked, unchecked
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		got := ""
		switch {
		case checked.url != "":
			got = "checked " + checked.url
		case unchecked.url != "":
			got = "unchecked " + unchecked.url
		}
		if got != want || (want == "") != errors.Is(err, errPlainHTTP) {
			t.Errorf("%s was sent as %q with error %v, want %q", in, got, err, want)
		}
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io", "docker.io": "docker.io",
		"Harbor.Local:443": "harbor.local:443",
	} {
		if got := Host(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	for _, a := range []string{"localhost", "x.localhost:80", "127.0.0.1:5000", "127.9.9.9", "::1", "[::1]:80", "[::ffff:127.0.0.1]:1"} {
		if !IsLoopback(a) {
			t.Errorf("%s is loopback", a)
		}
	}
	for _, a := range []string{"10.0.0.1", "localhost.example", "128.0.0.1:80", "", "registry"} {
		if IsLoopback(a) {
			t.Errorf("%s is not loopback", a)
		}
	}
}

func TestDockerHubIsAskedWhereItsAPIIs(t *testing.T) {
	for addr, want := range map[string]string{"docker.io": "index.docker.io/library/nginx", "quay.io": "quay.io/nginx"} {
		r, err := repository(Target{Addr: addr, Repository: "nginx"})
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v, want %s", addr, r, err, want)
		}
	}
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	for attempt := range 20 {
		d := backoff(attempt)
		limit := 30 * time.Second
		if attempt < 6 {
			limit = 500 * time.Millisecond << attempt
		}
		if d < limit/2 || d > limit {
			t.Errorf("attempt %d waits %s, want between %s and %s", attempt, d, limit/2, limit)
		}
	}
}

func TestRetriesAreReported(t *testing.T) {
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" && n.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		hello(w, r)
	}))
	t.Cleanup(s.Close)
	addr := strings.TrimPrefix(s.URL, "http://")
	var seen []Retry
	o := options()
	o.OnRetry = func(r Retry) { seen = append(seen, r) }
	o.Backoff = func(int) time.Duration { return 7 * time.Second }
	if got, err := ask(t, o, addr); err != nil || got != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	want := Retry{Host: addr, Attempt: 1, Wait: 7 * time.Second, Reason: "status 502"}
	if len(seen) != 1 || seen[0] != want {
		t.Errorf("reported %+v, want %+v", seen, want)
	}
}

func TestNoRetriesWhenNoneAreWanted(t *testing.T) {
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			n.Add(1)
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(s.Close)
	o := options()
	o.Retries = -1
	if _, err := ask(t, o, strings.TrimPrefix(s.URL, "http://")); !errors.Is(err, ErrUnavailable) || n.Load() != 1 {
		t.Errorf("got error %v after %d requests", err, n.Load())
	}
}
