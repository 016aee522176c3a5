package pull

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bundle/registry/wire"

	"github.com/google/go-containerregistry/pkg/authn"
)

// blobServer serves one blob and breaks in ways that tests choose. It counts
// what it sends, so that a test can tell a resumed download from one that
// began again.
type blobServer struct {
	blob []byte
	// each is asked before each answer to a blob request, n from 1; it may
	// answer itself and return true.
	each func(n int, w http.ResponseWriter, r *http.Request) bool
	// cut, if not 0, ends every answer after so many bytes.
	cut int
	// ignoreRange answers every request with the whole blob.
	ignoreRange bool

	mu     sync.Mutex
	n      int
	ranges []string
	// sent counts before the bytes go out: a client may have them, and ask
	// for the count, before Write returns.
	sent atomic.Int64
}

func (s *blobServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/blobs/") {
		w.WriteHeader(http.StatusOK)
		return
	}
	s.mu.Lock()
	s.n++
	n := s.n
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.mu.Unlock()
	if s.each != nil && s.each(n, w, r) {
		return
	}
	from := 0
	if h := r.Header.Get("Range"); h != "" && !s.ignoreRange {
		fmt.Sscanf(h, "bytes=%d-", &from)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.blob)-1, len(s.blob)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(s.blob)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	rest := s.blob[from:]
	if s.cut > 0 && s.cut < len(rest) {
		s.sent.Add(int64(s.cut))
		_, _ = w.Write(rest[:s.cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	s.sent.Add(int64(len(rest)))
	_, _ = w.Write(rest)
}

func fetch(t *testing.T, r *Remote, addr string, blob []byte, offset int64) ([]byte, error) {
	t.Helper()
	body, err := r.Blob(t.Context(), mustRef(t, addr+"/app/web:1"), blobDesc(blob), offset)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func TestBlobResumesWhereItBroke(t *testing.T) {
	blob := noise(1, 1<<20)
	s := &blobServer{blob: blob, cut: 100_000}
	addr := serve(t, s)
	got, err := fetch(t, newTestRemote(t, RemoteOptions{}), addr, blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, blob)
	if s.n < 10 {
		t.Errorf("the server was asked %d times, the connection should have broken about 10 times", s.n)
	}
	// Bytes in flight when a connection breaks may be sent twice, received
	// ones may not.
	if sent := s.sent.Load(); sent > int64(len(blob))+int64(len(blob))/10 {
		t.Errorf("%d bytes were sent for a blob of %d: what was received was fetched again", sent, len(blob))
	}
	for i, h := range s.ranges {
		if (i == 0) != (h == "") {
			t.Errorf("request %d has Range %q", i+1, h)
		}
	}
}

func TestBlobStartsAtOffset(t *testing.T) {
	blob := noise(2, 200_000)
	s := &blobServer{blob: blob}
	got, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, 150_000)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, blob[150_000:])
	if s.sent.Load() != 50_000 {
		t.Errorf("%d bytes were sent, 50000 were missing", s.sent.Load())
	}
}

func TestBlobWhenRangesAreIgnored(t *testing.T) {
	blob := noise(3, 300_000)
	s := &blobServer{blob: blob, ignoreRange: true}
	s.each = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:200_000])
		panic(http.ErrAbortHandler)
	}
	got, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, blob)
	if s.ranges[1] == "" {
		t.Error("the second request did not even try a range")
	}
}

func TestBlobWhenRangesAreWrong(t *testing.T) {
	blob := noise(4, 300_000)
	for _, bad := range []string{"", "bytes 0-99/300000", "bytes 100-99/300000", "bytes 100000-299999/5", "bytes x-y/z"} {
		t.Run(bad, func(t *testing.T) {
			s := &blobServer{blob: blob}
			s.each = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				if bad != "" {
					w.Header().Set("Content-Range", bad)
				}
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(noise(99, 200_000))
				return true
			}
			got, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, 100_000)
			if err != nil {
				t.Fatal(err)
			}
			sameBytes(t, got, blob[100_000:])
		})
	}
}

func TestBlobOfAnotherLength(t *testing.T) {
	blob := noise(5, 10_000)
	tests := map[string]struct {
		each func(n int, w http.ResponseWriter, r *http.Request) bool
		from int64
		want string
	}{
		"longer, announced": {func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write(make([]byte, 20_000))
			return true
		}, 0, "sends more than the 10000 bytes"},
		"longer, by length": {func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "20000")
			_, _ = w.Write(make([]byte, 20_000))
			return true
		}, 0, "holds 20000 bytes, the manifest announces 10000"},
		"shorter": {func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write(make([]byte, 500))
			return true
		}, 0, "holds 500 bytes, the manifest announces 10000"},
		"range beyond its end": {func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}, 9_000, "holds fewer than the 10000 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &blobServer{blob: blob, each: tt.each}
			got, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, tt.from)
			if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want ErrDigest with %q", err, tt.want)
			}
			if len(got) > len(blob) {
				t.Errorf("%d bytes were handed out of a blob of %d", len(got), len(blob))
			}
		})
	}
}

func TestBlobOfOtherBytesIsLeftToTheCaller(t *testing.T) {
	blob := noise(6, 10_000)
	s := &blobServer{blob: noise(7, 10_000)}
	got, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, 0)
	if err != nil || len(got) != len(blob) {
		t.Errorf("got %d bytes and error %v, want the bytes as they came", len(got), err)
	}
}

func TestBlobThatStalls(t *testing.T) {
	blob := noise(8, 200_000)
	c := &clock{armed: make(chan struct{}, 1)}
	s := &blobServer{blob: blob}
	stalled := make(chan struct{})
	s.each = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:100_000])
		_ = http.NewResponseController(w).Flush()
		close(stalled)
		<-r.Context().Done()
		return true
	}
	addr := serve(t, s)
	o := testHTTP()
	o.Clock = c
	r := newTestRemote(t, RemoteOptions{HTTP: o})
	body, err := r.Blob(t.Context(), mustRef(t, addr+"/app/web:1"), blobDesc(blob), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	first := make([]byte, 100_000)
	if _, err := io.ReadFull(body, first); err != nil {
		t.Fatal(err)
	}
	<-stalled
	// Nobody reads, so nobody waits: a timer must not run.
	c.fire()
	select {
	case <-c.armed: // from a read before
	default:
	}
	go func() {
		<-c.armed
		c.fire()
	}()
	rest, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, append(first, rest...), blob)
	if want := "bytes=100000-"; len(s.ranges) != 2 || s.ranges[1] != want {
		t.Errorf("requests had the ranges %q, want the second to be %q", s.ranges, want)
	}
}

func TestBlobGivesUp(t *testing.T) {
	blob := noise(9, 200_000)
	t.Run("after retries without progress", func(t *testing.T) {
		s := &blobServer{blob: blob, cut: 10}
		addr := serve(t, s)
		_, err := fetch(t, newTestRemote(t, RemoteOptions{}), addr, blob, 0)
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got error %v, want ErrUnavailable", err)
		}
		if s.n != 4 {
			t.Errorf("asked %d times, want once and 3 retries", s.n)
		}
		for _, want := range []string{addr + "/app/web:1", blobDesc(blob).Digest.String()} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name %s", err, want)
			}
		}
	})
	t.Run("when it is not there", func(t *testing.T) {
		s := &blobServer{blob: blob, each: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		}}
		_, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, 0)
		if !errors.Is(err, ErrNotFound) || s.n != 1 {
			t.Errorf("got error %v after %d requests, want ErrNotFound at once", err, s.n)
		}
	})
}

func TestBlobWaitsAsLongAsTheRegistrySays(t *testing.T) {
	blob := noise(10, 1000)
	c := &clock{}
	s := &blobServer{blob: blob, each: func(n int, w http.ResponseWriter, _ *http.Request) bool {
		switch n {
		case 1:
			w.Header().Set("Retry-After", "40")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.Header().Set("Date", "Wed, 21 Oct 2026 07:28:00 GMT")
			w.Header().Set("Retry-After", "Wed, 21 Oct 2026 07:29:30 GMT")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			return false
		}
		return true
	}}
	o := testHTTP()
	o.Clock = c
	got, err := fetch(t, newTestRemote(t, RemoteOptions{HTTP: o}), serve(t, s), blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, blob)
	if w := c.waits(); len(w) != 2 || w[0] != 40*time.Second || w[1] != 90*time.Second {
		t.Errorf("waited %v, want [40s 1m30s]", w)
	}
}

func TestBlobDoesNotWaitForHours(t *testing.T) {
	blob := noise(10, 1000)
	s := &blobServer{blob: blob, each: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "21600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}}
	_, err := fetch(t, newTestRemote(t, RemoteOptions{}), serve(t, s), blob, 0)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "asks to wait 6h0m0s") || s.n != 1 {
		t.Errorf("got error %v after %d requests, want the wait in the message after one", err, s.n)
	}
}

func TestBlobRedirectKeepsCredentialsHome(t *testing.T) {
	blob := noise(11, 300_000)
	var leaked atomic.Value
	store := &blobServer{blob: blob, cut: 100_000}
	elsewhere := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get("Authorization"); h != "" {
			leaked.Store(h)
		}
		r.URL.Path = "/v2/x/blobs/" + r.URL.Path
		store.ServeHTTP(w, r)
	}))
	var asked atomic.Int32
	home := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "me" || pass != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="home"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			asked.Add(1)
			http.Redirect(w, r, "http://"+elsewhere+"/signed?token=x", http.StatusTemporaryRedirect)
		}
	}))
	o := testHTTP()
	o.Keychain = staticKeychain{home: {Username: "me", Password: "secret"}}
	got, err := fetch(t, newTestRemote(t, RemoteOptions{HTTP: o}), home, blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, blob)
	if v := leaked.Load(); v != nil {
		t.Errorf("the other host saw Authorization %q", v)
	}
	if asked.Load() < 3 {
		t.Errorf("home was asked %d times; a signed address may have run out, so each attempt must ask it", asked.Load())
	}
}

func TestRedirectToPlainHTTPIsRefused(t *testing.T) {
	r := newTestRemote(t, RemoteOptions{})
	blob := noise(12, 10)
	home := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "http://registry.invalid/x?secret=token", http.StatusFound)
		}
	}))
	_, err := fetch(t, r, home, blob, 0)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "plain HTTP") {
		t.Errorf("got error %v, want one about plain HTTP", err)
	}
	if err != nil && strings.Contains(err.Error(), "secret=token") {
		t.Errorf("the error shows the signed address: %v", err)
	}
}

// staticKeychain holds credentials by registry.
type staticKeychain map[string]authn.AuthConfig

func (k staticKeychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if c, ok := k[r.RegistryStr()]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}

var _ wire.Timer = (*timer)(nil)
