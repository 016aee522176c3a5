package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server answers each request with the next of some handlers, the last one
// for ever.
func server(t *testing.T, handlers ...http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		handlers[min(i, len(handlers)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	return s, &n
}

func say(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func retrying(out *outage) *retrier {
	if out == nil {
		out = &outage{say: func(string) {}, now: time.Now}
	}
	return &retrier{next: &http.Transport{DialContext: marked(nil), DisableKeepAlives: true}, out: out, request: 10 * time.Second, now: time.Now}
}

func send(t *testing.T, r http.RoundTripper, method, url, body string, header ...string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

const status = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"%","code":500}`

func TestPassingTroubleIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		first  http.HandlerFunc
	}{
		"no leader":      {"GET", say(500, strings.Replace(status, "%", "etcdserver: leader changed", 1))},
		"etcd timeout":   {"PUT", say(500, strings.Replace(status, "%", "etcdserver: request timed out", 1))},
		"webhook":        {"POST", say(500, strings.Replace(status, "%", `Internal error occurred: failed calling webhook \"x\": connection refused`, 1))},
		"shutting down":  {"POST", say(503, strings.Replace(status, "%", "apiserver is shutting down", 1))},
		"too many":       {"GET", say(429, "slow down")},
		"gateway":        {"GET", say(502, "bad gateway")},
		"cut off":        {"GET", cut},
		"cut off, write": {"PUT", cut},
		"cut off, patch": {"PATCH", cut},
	} {
		s, n := server(t, c.first, c.first, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			say(200, "got "+string(body))(w, r)
		})
		code, text, err := send(t, retrying(nil), c.method, s.URL+"/api/v1/nodes", "hello")
		if err != nil || code != 200 || text != "got hello" || n.Load() != 3 {
			t.Errorf("%s: %d %q %v after %d requests", name, code, text, err, n.Load())
		}
	}
}

func TestWhatHelpsNobodyIsNotTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, kind string
		first              http.HandlerFunc
	}{
		"not found":      {"GET", "/api/v1/nodes/x", "", say(404, "no")},
		"forbidden":      {"POST", "/api/v1/nodes", "", say(403, "no")},
		"a bug":          {"GET", "/api/v1/nodes", "", say(500, strings.Replace(status, "%", "runtime error: nil", 1))},
		"dead extension": {"GET", "/apis/metrics.k8s.io/v1beta1", "", say(503, "service unavailable")},
		"list of edits":  {"PATCH", "/api/v1/nodes/x", "application/json-patch+json", cut},
		"eviction":       {"POST", "/api/v1/namespaces/a/pods/x/eviction", "", cut},
		"log":            {"GET", "/api/v1/namespaces/a/pods/x/log", "", say(502, "kubelet is away")},
	} {
		s, n := server(t, c.first)
		code, _, err := send(t, retrying(nil), c.method, s.URL+c.path, "hello", "Content-Type", c.kind)
		if n.Load() != 1 {
			t.Errorf("%s: %d requests, gave %d %v", name, n.Load(), code, err)
		}
	}
}

func TestLostAnswerOfACreationIsFound(t *testing.T) {
	const exists = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"AlreadyExists","details":{"name":"a","kind":"configmaps"},"code":409}`
	for name, c := range map[string]struct {
		age  time.Duration
		want int
	}{"ours": {0, 201}, "somebody's": {time.Hour, 409}} {
		s, n := server(t, cut, say(409, exists), func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" || r.URL.Path != "/api/v1/namespaces/x/configmaps/a" || r.ContentLength > 0 {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			say(200, `{"metadata":{"name":"a","creationTimestamp":"`+time.Now().Add(-c.age).UTC().Format(time.RFC3339)+`"}}`)(w, r)
		})
		code, text, err := send(t, retrying(nil), "POST", s.URL+"/api/v1/namespaces/x/configmaps?fieldManager=bundle", "{}")
		if err != nil || code != c.want || n.Load() != 3 || !strings.Contains(text, `"a"`) {
			t.Errorf("%s: %d %q %v after %d requests", name, code, text, err, n.Load())
		}
	}
}

func TestOutageIsToldOnceAndEnds(t *testing.T) {
	var mu sync.Mutex
	var said []string
	clock := time.Unix(0, 0)
	out := &outage{say: func(s string) { mu.Lock(); said = append(said, s); mu.Unlock() }, now: func() time.Time { clock = clock.Add(3 * time.Second); return clock }}
	r := retrying(out)
	n := 0
	r.next = roundTripper(func(req *http.Request) (*http.Response, error) {
		if n++; n < 4 {
			return nil, dialError{&net.OpError{Op: "dial", Err: errors.New("connect: connection refused")}}
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(nil)), Request: req}, nil
	})
	if code, _, err := send(t, r, "POST", "https://10.0.0.1:6443/api", ""); err != nil || code != 200 {
		t.Fatalf("%d %v", code, err)
	}
	if len(said) != 2 || said[0] != "the API server does not answer (connection refused); trying again" ||
		!strings.HasPrefix(said[1], "the API server answers again after ") {
		t.Errorf("said %q", said)
	}
	if away, _ := out.state(); away != 0 {
		t.Errorf("still away for %s", away)
	}
}

func TestOutageEndsWithTheContext(t *testing.T) {
	r := retrying(nil)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	r.next = roundTripper(func(*http.Request) (*http.Response, error) {
		if n++; n == 2 {
			cancel()
		}
		return nil, dialError{errors.New("connect: connection refused")}
	})
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://10.0.0.1:6443/api", nil)
	if _, err := r.RoundTrip(req); err == nil || n != 2 {
		t.Errorf("%v after %d tries", err, n)
	}
	if away, why := r.out.state(); away == 0 || why != "connection refused" {
		t.Errorf("away %s, %s", away, why)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A library that knows no context must not hold a step up that is over.
func TestNothingIsSentAgainOnceTheStepIsOver(t *testing.T) {
	step, cancel := context.WithCancel(t.Context())
	r := retrying(nil)
	n := 0
	r.next = roundTripper(func(*http.Request) (*http.Response, error) {
		if n++; n == 2 {
			cancel()
		}
		return nil, dialError{errors.New("connect: connection refused")}
	})
	b := &bound{next: r, step: step, late: t.Context()}
	for range 2 {
		if _, _, err := send(t, b, "GET", "https://10.0.0.1:6443/api", ""); err == nil {
			t.Error("no error")
		}
	}
	if n != 3 {
		t.Errorf("%d requests, want 2 and then 1", n)
	}
}
