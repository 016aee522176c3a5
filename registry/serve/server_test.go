package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

func htpasswd(t *testing.T, user, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, fmt.Appendf(nil, "# users\n%s:%s\n", user, h), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPasswordGuardsEverything(t *testing.T) {
	f := newFake("b")
	d := f.tagged(t, "quay.io/a/one:1", "x")
	_, hs := start(t, Options{Htpasswd: htpasswd(t, "alice", "secret")}, f)
	for _, path := range []string{
		"/v2/", "/v2/_catalog", "/v2/a/one/tags/list", "/v2/a/one/manifests/1", "/metrics",
		"/v2/a/one/referrers/" + d.Digest.String(), "/v2/a/one/blobs/" + digestsIn(mustGet(f, d.Digest))[0], "/v2/no/such/manifests/1", "/",
	} {
		resp, _ := get(t, hs, "GET", path, "Accept", acceptAll)
		if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != `Basic realm="bundle"` {
			t.Errorf("%s without a password: %d %q", path, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
	if resp, _ := get(t, hs, "GET", "/healthz"); resp.StatusCode != 200 {
		t.Errorf("health needs a password: %d", resp.StatusCode)
	}
	if _, err := remote.Image(on(t, hs, "a/one:1"), remote.WithAuth(&authn.Basic{Username: "alice", Password: "wrong"})); err == nil {
		t.Error("a wrong password opened")
	}
	for range 2 { // the second time without bcrypt
		img, err := remote.Image(on(t, hs, "a/one:1"), remote.WithAuth(&authn.Basic{Username: "alice", Password: "secret"}))
		if err != nil {
			t.Fatal(err)
		}
		if err := readAll(img); err != nil {
			t.Error(err)
		}
	}
	if _, err := remote.Image(on(t, hs, "a/one:1"), remote.WithAuth(&authn.Basic{Username: "alice", Password: "secret2"})); err == nil {
		t.Error("a wrong password opened after the right one")
	}
}

func TestPasswordFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("no colon here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake("b")
	for _, file := range []string{filepath.Join(dir, "missing"), bad} {
		if _, err := New([]Bundle{f.bundle()}, Options{Htpasswd: file}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
		t.Error("a password file was made up")
	}
	// One that disappears later lets nobody in.
	file := htpasswd(t, "a", "b")
	_, hs := start(t, Options{Htpasswd: file}, f)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", hs.URL+"/v2/", nil)
	req.SetBasicAuth("a", "b")
	resp, err := hs.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("%d without a password file", resp.StatusCode)
	}
}

func TestNegativeTimesAreRefused(t *testing.T) {
	if _, err := New(nil, Options{Stall: -1}); !errors.Is(err, ErrOptions) {
		t.Errorf("err = %v", err)
	}
}

// syncBuffer is a log to be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestLogGoesToTheLoggerAndNowhereElse(t *testing.T) {
	// The distribution project logs to the process's logrus unless the
	// request's context says otherwise.
	std := logrus.StandardLogger()
	var global syncBuffer
	out, level := std.Out, std.Level
	std.SetOutput(&global)
	std.SetLevel(logrus.TraceLevel)
	t.Cleanup(func() { std.SetOutput(out); std.SetLevel(level) })

	for _, debug := range []bool{false, true} {
		var log syncBuffer
		opts := &slog.HandlerOptions{}
		if debug {
			opts.Level = slog.LevelDebug
		}
		f := newFake("b")
		f.tagged(t, "quay.io/a/one:1", "x")
		_, hs := start(t, Options{Logger: slog.New(slog.NewTextHandler(&log, opts)), Writable: t.TempDir(), Htpasswd: htpasswd(t, "a", "b")}, f)
		auth := []string{"Authorization", "Basic YTpi", "Accept", acceptAll, "User-Agent", "tester/1"}
		get(t, hs, "GET", "/v2/a/one/manifests/1", auth...)
		get(t, hs, "GET", "/v2/a/one/manifests/none", auth...)
		get(t, hs, "GET", "/v2/_catalog", auth...)
		get(t, hs, "GET", "/v2/_catalog")
		send(t, hs, "POST", "/v2/a/one/blobs/uploads/", nil, auth...)
		hs.Close()
		got := log.String()
		if n := strings.Count(got, "msg=request "); n != 5 {
			t.Errorf("%d lines for 5 requests:\n%s", n, got)
		}
		for _, want := range []string{"uri=/v2/a/one/manifests/1", "status=404", "status=401", "agent=tester/1"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
		if has := strings.Contains(got, "component=distribution"); has != debug {
			t.Errorf("debug %v, but the distribution project's own words: %v\n%s", debug, has, got)
		}
	}
	if g := global.String(); g != "" {
		t.Errorf("the process's logger was told:\n%s", g)
	}
}

func TestMetricsAndHealth(t *testing.T) {
	f, _ := world(t)
	s, hs := start(t, Options{}, f)
	if err := pull(t, hs.URL, "pause:3.9"); err != nil {
		t.Fatal(err)
	}
	if resp, body := get(t, hs, "GET", "/healthz"); resp.StatusCode != 200 || strings.TrimSpace(string(body)) != `{"status":"ok"}` {
		t.Errorf("health: %d %s", resp.StatusCode, body)
	}
	if resp, _ := get(t, hs, "GET", "/metrics"); resp.StatusCode != 200 {
		t.Errorf("metrics: %d", resp.StatusCode)
	}
	hs.Close() // and with it wait until every request was counted
	rec := httptest.NewRecorder()
	s.Metrics().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	body := rec.Body.String()
	for _, want := range []string{
		`bundle_registry_requests_total{code="200",kind="manifest",method="GET"} 1`,
		`bundle_registry_requests_total{code="200",kind="blob",method="GET"} 2`,
		"bundle_registry_blobs_verified_total 3", "bundle_registry_damage_total 0", "bundle_registry_repositories 9",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%.2000s", want, body)
		}
	}
	// A second server in the process has numbers of its own.
	s2, hs2 := start(t, Options{NoStatus: true}, f)
	if resp, _ := get(t, hs2, "GET", "/metrics"); resp.StatusCode != 404 {
		t.Errorf("NoStatus: %d", resp.StatusCode)
	}
	rec = httptest.NewRecorder()
	s2.Metrics().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if !strings.Contains(rec.Body.String(), "bundle_registry_blobs_verified_total 0") {
		t.Errorf("the second server's numbers:\n%.2000s", rec.Body)
	}
	// A medium that is gone makes the server unwell, and says which.
	sg, err := New([]Bundle{{Name: "stick", Content: goneFake{f}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sg.Close() }()
	rec = httptest.NewRecorder()
	sg.Health().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), `"stick":"no medium"`) {
		t.Errorf("health of a bundle on a medium that is gone: %d %s", rec.Code, rec.Body)
	}
	// Names of bundles and files are for those who have the password.
	sl, err := New([]Bundle{{Name: "stick", Content: goneFake{f}}}, Options{Htpasswd: htpasswd(t, "alice", "secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sl.Close() }()
	for password, want := range map[string]string{
		"": `{"status":"unavailable"}`, "wrong": `{"status":"unavailable"}`,
		"secret": `{"status":"unavailable","problems":{"stick":"no medium"}}`,
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil)
		if password != "" {
			r.SetBasicAuth("alice", password)
		}
		rec := httptest.NewRecorder()
		sl.Handler().ServeHTTP(rec, r)
		if rec.Code != 503 || strings.TrimSpace(rec.Body.String()) != want {
			t.Errorf("health with the password %q: %d %s", password, rec.Code, rec.Body)
		}
	}
}

// onRequest is a log that only tells when a request is done with.
type onRequest chan struct{}

func (onRequest) Enabled(context.Context, slog.Level) bool { return true }
func (c onRequest) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c onRequest) WithGroup(string) slog.Handler          { return c }
func (c onRequest) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "request" {
		c <- struct{}{}
	}
	return nil
}

// TestStalledClientIsCut shows that a client that stops reading does not keep
// its connection for ever.
func TestStalledClientIsCut(t *testing.T) {
	content := bulk(1, 64<<20)
	f, d := oneLayer(t, content)
	answered := make(chan struct{}, 1)
	s, err := New([]Bundle{f.bundle()}, Options{Stall: 200 * time.Millisecond, Logger: slog.New(onRequest(answered))})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET /v2/a/one/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n", d); err != nil {
		t.Fatal(err)
	}
	// Nothing is read until the server has given up.
	<-answered
	n, _ := io.Copy(io.Discard, conn)
	if n >= int64(len(content)) {
		t.Errorf("the stalled client got all %d bytes", n)
	}
}

func TestShutdownLetsTransfersFinish(t *testing.T) {
	content := bulk(2, 32<<20)
	f, d := oneLayer(t, content)
	s, err := New([]Bundle{f.bundle()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := serveOn(t, s)
	resp, err := http.Get("http://" + addr + "/v2/a/one/blobs/" + d.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	done := make(chan struct{})
	go func() { stop(); close(done) }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(body, content) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	<-done
	if _, err := http.Get("http://" + addr + "/v2/"); err == nil {
		t.Error("it still answers")
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	s, err := New([]Bundle{newFake("b").bundle()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("err = %v", err)
	}
}
