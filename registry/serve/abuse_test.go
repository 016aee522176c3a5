package serve

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// talk sends bytes to a server and gives all that it answers.
func talk(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may have closed it before all was sent.
	_, _ = io.WriteString(conn, request)
	answer, _ := io.ReadAll(io.LimitReader(conn, 64<<20))
	return string(answer)
}

func statusOf(answer string) int {
	var code int
	_, _ = fmt.Sscanf(answer, "HTTP/1.1 %d", &code)
	if code == 0 {
		_, _ = fmt.Sscanf(answer, "HTTP/1.0 %d", &code)
	}
	return code
}

// Clients that send their request byte by byte, and never its end, are cut, and
// meanwhile keep nobody else from being served.
func TestSlowClientsKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	content := bulk(1, 100_000)
	f, d := oneLayer(t, content)
	s, err := New([]Bundle{f.bundle()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	var wg sync.WaitGroup
	var cut atomic.Int64
	for range 200 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: a"); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			_ = conn.SetReadDeadline(time.Now().Add(readHeaderTimeout + 20*time.Second))
			_, err := io.Copy(io.Discard, conn)
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				cut.Add(1)
			}
		})
	}
	for range 20 {
		if body, code, whole := fetch("http://" + addr + "/v2/a/one/blobs/" + d.String()); !whole || !bytes.Equal(body, content) {
			t.Fatalf("beside slow clients: %d", code)
		}
	}
	wg.Wait()
	if cut.Load() != 200 {
		t.Errorf("%d of 200 slow clients were cut", cut.Load())
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	f, _ := oneLayer(t, bulk(1, 10))
	s, err := New([]Bundle{f.bundle()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	for name, request := range map[string]string{
		"one header":      "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 8<<20) + "\r\n\r\n",
		"many headers":    "GET /v2/ HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: a\r\n", 1<<20) + "\r\n",
		"a long path":     "GET /v2/" + strings.Repeat("a/", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"a long method":   strings.Repeat("G", 8<<20) + " /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"a long protocol": "GET /v2/ HTTP/" + strings.Repeat("1", 8<<20) + "\r\n\r\n",
	} {
		answer := talk(t, addr, request)
		if code := statusOf(answer); answer != "" && (code < 400 || code > 499) {
			t.Errorf("%s: %.100q", name, answer)
		}
	}
	if resp, err := http.Get("http://" + addr + "/v2/"); err != nil || resp.StatusCode != 200 {
		t.Errorf("it does not answer any more: %v", err)
	}
}

// However a path is written, it leads to what the bundle holds and to nothing
// else.
func TestPathTricks(t *testing.T) {
	f, d := oneLayer(t, bulk(1, 10))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("the secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, writable := range []string{"", filepath.Join(dir, "overlay")} {
		s, err := New([]Bundle{f.bundle()}, Options{Writable: writable})
		if err != nil {
			t.Fatal(err)
		}
		addr, _ := serveOn(t, s)
		for _, path := range []string{
			"/../../../../etc/passwd", "/v2/../../../etc/passwd", "/v2/..%2f..%2f..%2fetc%2fpasswd", "/v2/%2e%2e/%2e%2e/etc/passwd", "/v2/....//....//etc/passwd",
			"/v2/a/one/blobs/../../../../../../etc/passwd", "/v2/a/one/blobs/sha256:../../../etc/passwd", "/v2/a/one/manifests/../../../../secret", "/v2/a/one/manifests/..%2f..%2fsecret",
			"/v2/../secret", "/v2/a/../../secret/manifests/1", "/v2/a%00/manifests/1", "/v2/a/one/manifests/1%00.json", "/v2/a\\..\\..\\secret", "/v2//etc/passwd", "//etc/passwd", "/v2/a/one/blobs/" + strings.ToUpper(d.String()),
			"/v2/a/one/blobs/sha512:" + strings.Repeat("0", 128), "/v2/a/one/blobs/sha256:" + d.Encoded() + "/../../x", "/v2/_catalog/../../secret", "/v2/a/one/tags/list/../../../secret",
			"/v2/a/one/referrers/../../../secret", "file:///etc/passwd", "/v2/file:%2f%2f%2fetc%2fpasswd/manifests/1", "/v2/" + strings.Repeat("../", 50) + "etc/passwd", "/debug/pprof/", "/debug/vars", "/v2/a/one/blobs/uploads/../../../secret", "*",
		} {
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"} {
				answer := talk(t, addr, method+" "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				if code := statusOf(answer); code < 300 && code != 0 || code >= 500 && code != 501 && code != 505 {
					t.Errorf("%s %s: %.200q", method, path, answer)
				}
				if strings.Contains(answer, "root:") || strings.Contains(answer, "the secret") {
					t.Errorf("%s %s gives out a file", method, path)
				}
			}
		}
		// Answers that send a client on must not send it elsewhere.
		for _, path := range []string{"//evil.example/v2/", "/\\evil.example", "/v2//evil.example/.."} {
			answer := talk(t, addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			head, _, _ := strings.Cut(answer, "\r\n\r\n")
			for line := range strings.Lines(head) {
				if v, ok := strings.CutPrefix(strings.ToLower(line), "location:"); ok && (strings.HasPrefix(strings.TrimSpace(v), "//") || strings.HasPrefix(strings.TrimSpace(v), "http://evil")) {
					t.Errorf("%s sends the client to %s", path, v)
				}
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("something was written beside the overlay: %v, %v", entries, err)
	}
}

// No spelling of a request gets past the password.
func TestPasswordCannotBeGoneAround(t *testing.T) {
	f, d := oneLayer(t, []byte("guarded content"))
	s, err := New([]Bundle{f.bundle()}, Options{Htpasswd: htpasswd(t, "alice", "secret"), Writable: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	blob := "/v2/a/one/blobs/" + d.String()
	for name, request := range map[string]string{
		"double slash":         "GET /" + blob + " HTTP/1.1\r\nHost: x\r\n",
		"through healthz":      "GET /healthz/.." + blob + " HTTP/1.1\r\nHost: x\r\n",
		"through healthz, hex": "GET /healthz%2f.." + blob + " HTTP/1.1\r\nHost: x\r\n",
		"healthz as a query":   "GET " + blob + "?/healthz HTTP/1.1\r\nHost: x\r\n",
		"absolute":             "GET http://x" + blob + " HTTP/1.1\r\nHost: x\r\n",
		"host healthz":         "GET " + blob + " HTTP/1.1\r\nHost: /healthz\r\n",
		"rewritten":            "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Original-URL: " + blob + "\r\nX-Rewrite-URL: " + blob + "\r\n",
		"forwarded":            "GET " + blob + " HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: alice\r\nX-Remote-User: alice\r\n",
		"method override":      "POST /healthz HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n",
		"http/1.0":             "GET " + blob + " HTTP/1.0\r\n",
		"no password":          "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2U6\r\n",
		"no user":              "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic OnNlY3JldA==\r\n",
		"user in the address":  "GET http://alice:secret@x" + blob + " HTTP/1.1\r\nHost: x\r\n",
		"bearer":               "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n",
		"digest":               "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Digest username=\"alice\"\r\n",
		"no base64":            "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic alice:secret\r\n",
		"two headers":          "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\nAuthorization: Basic eDp6\r\n",
		"a NUL":                "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2UAOnNlY3JldA==\r\n",
		"a line end":           "GET " + blob + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2UKOnNlY3JldA==\r\n",
		"smuggled":             "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n",
		"upload":               "POST /v2/a/one/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
		"mount":                "POST /v2/b/blobs/uploads/?mount=" + d.String() + "&from=a/one HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
		"deletion":             "DELETE " + blob + " HTTP/1.1\r\nHost: x\r\n",
		"metrics":              "GET /metrics HTTP/1.1\r\nHost: x\r\n",
		"catalog":              "GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n",
	} {
		answer := talk(t, addr, request+"Connection: close\r\n\r\n")
		body := answer[strings.Index(answer+"\r\n\r\n", "\r\n\r\n"):]
		if strings.Contains(body, "guarded content") || strings.Contains(body, "a/one") {
			t.Errorf("%s gets in: %.300q", name, answer)
		}
		if code := statusOf(answer); code == 200 && !strings.Contains(body, `{"status":"ok"}`) || code == 201 || code == 202 || code >= 500 && code != 501 && code != 505 {
			t.Errorf("%s: %.300q", name, answer)
		}
	}
}

// A request for ranges never costs more than the blob.
func TestRangesAreNotAbused(t *testing.T) {
	const size = 2*chunkSize + 5
	content := bulk(3, size)
	f, d := oneLayer(t, content)
	s, err := New([]Bundle{f.bundle()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	for name, header := range map[string]string{
		"many":        "bytes=" + strings.Repeat("0-,", 5000) + "0-",
		"many bytes":  "bytes=" + strings.Repeat("0-0,", 5000) + "1-1",
		"overlapping": "bytes=0-9,5-14,0-100,50-60",
		"suffixes":    "bytes=-1,-2,-3",
		"overflow":    "bytes=0-99999999999999999999999999",
		"overflow 64": "bytes=9223372036854775807-",
		"negative":    "bytes=--1",
		"hex":         "bytes=0x0-0x10",
		"empty":       "bytes=",
		"spaces":      "bytes= 0 - 0 ",
		"nothing":     "bytes=-0",
		"no unit":     "0-10",
	} {
		answer := talk(t, addr, "GET /v2/a/one/blobs/"+d.String()+" HTTP/1.1\r\nHost: x\r\nRange: "+header+"\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || len(answer) > size+4096 {
			t.Errorf("%s: %d bytes, %v", name, len(answer), err)
		}
		switch resp.StatusCode {
		case 200:
			if !bytes.Equal(body, content) {
				t.Errorf("%s: 200 with %d other bytes", name, len(body))
			}
		case 206:
			var from, to, all int
			if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &all); n != 3 || all != size || to >= size || !bytes.Equal(body, content[from:to+1]) {
				t.Errorf("%s: 206 %s with %d bytes", name, resp.Header.Get("Content-Range"), len(body))
			}
		case 400, 416:
		default:
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
}

// Five hundred clients at once get the right bytes, each.
func TestFiveHundredClients(t *testing.T) {
	const size = 3*chunkSize + 11
	content := bulk(4, size)
	f, d := oneLayer(t, content)
	s, err := New([]Bundle{f.bundle()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	var wg sync.WaitGroup
	var wrong atomic.Int64
	begin := make(chan struct{})
	for i := range 500 {
		tr := &http.Transport{} // a connection of its own
		wg.Go(func() {
			defer tr.CloseIdleConnections()
			<-begin
			from := i * 997 % (size - 1000)
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/v2/a/one/blobs/"+d.String(), nil)
			if err != nil {
				wrong.Add(1)
				return
			}
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+999))
			resp, err := tr.RoundTrip(req)
			if err != nil {
				wrong.Add(1)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 206 || !bytes.Equal(body, content[from:from+1000]) {
				wrong.Add(1)
			}
		})
	}
	close(begin)
	wg.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d of 500 clients did not get their bytes", wrong.Load())
	}
}

// Only what keeps its secrets when the key is lost later, and cannot be changed
// on the way, is spoken.
func TestTLSIsModern(t *testing.T) {
	cfg, ca, err := OwnCertificate(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := LoadCertificate(filepath.Join(filepath.Dir(ca), certFile), filepath.Join(filepath.Dir(ca), keyFile))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := oneLayer(t, bulk(1, 10))
	for name, c := range map[string]*tls.Config{"own": cfg, "given": pair} {
		s, err := New([]Bundle{f.bundle()}, Options{TLS: c})
		if err != nil {
			t.Fatal(err)
		}
		addr, _ := serveOn(t, s)
		roots := trusting(t, ca).TLSClientConfig.RootCAs
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
			if conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, MinVersion: version, MaxVersion: version}); err == nil {
				_ = conn.Close()
				t.Errorf("%s: %s was accepted", name, tls.VersionName(version))
			}
		}
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if suite.SupportedVersions[0] == tls.VersionTLS13 {
				continue
			}
			modern := strings.HasPrefix(suite.Name, "TLS_ECDHE_ECDSA") && (strings.Contains(suite.Name, "GCM") || strings.Contains(suite.Name, "POLY1305"))
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != modern {
				t.Errorf("%s: %s: %v", name, suite.Name, err)
			}
		}
	}
}

// A stick that is pulled out, or cannot be read any more, takes its own bundle
// along and no other.
func TestStickIsPulledOut(t *testing.T) {
	other := newFake("other")
	other.tagged(t, "quay.io/b/two:1", "two")
	content := bulk(5, 6*chunkSize)
	f, d := oneLayer(t, content)
	path := f.file(t)
	for name, break_ := range map[string]func(t *testing.T, stick *stick){
		"reads fail":  func(_ *testing.T, s *stick) { s.broken.Store(true) },
		"it is empty": func(t *testing.T, _ *stick) { truncate(t, path, 0) },
		"it is cut":   func(t *testing.T, _ *stick) { truncate(t, path, 2*chunkSize) },
	} {
		t.Run(name, func(t *testing.T) {
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}()
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			st := &stick{r: file}
			r, err := archive.NewReader(st, int64(len(whole)))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Load(); err != nil {
				t.Fatal(err)
			}
			var log syncBuffer
			var told atomic.Int64
			s, err := New([]Bundle{{Name: "stick.tar.zst", Content: Archive(r)}, other.bundle()}, Options{
				Logger:   slog.New(slog.NewTextHandler(&log, nil)),
				OnDamage: func(string, digest.Digest, error) { told.Add(1) },
			})
			if err != nil {
				t.Fatal(err)
			}
			addr, _ := serveOn(t, s)
			url := "http://" + addr
			blob := url + "/v2/a/one/blobs/" + d.String()
			// In the middle of a transfer.
			resp, err := http.Get(blob)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			break_(t, st)
			if n, err := io.Copy(io.Discard, resp.Body); err == nil && n+1000 == int64(len(content)) {
				t.Log("the transfer was faster") // all of it was under way by then
			}
			for range 3 {
				if body, code, whole := fetch(blob); whole {
					t.Errorf("status %d and %d bytes of a stick that is gone", code, len(body))
				}
				if err := pull(t, url, "b/two:1"); err != nil {
					t.Errorf("the other bundle does not answer: %v", err)
				}
			}
			if !strings.Contains(log.String(), "stick.tar.zst") {
				t.Errorf("nobody says which stick:\n%s", log.String())
			}
		})
	}
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

// stick is a medium that can be pulled out.
type stick struct {
	r      io.ReaderAt
	broken atomic.Bool
}

func (s *stick) ReadAt(p []byte, off int64) (int, error) {
	if s.broken.Load() {
		return 0, errNoMedium
	}
	return s.r.ReadAt(p, off)
}
