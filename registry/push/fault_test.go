package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
)

// sessions is a registry of one blob at a time whose upload sessions
// survive broken connections, which neither of the real ones offers. It
// counts the bytes it takes.
type sessions struct {
	// cut ends each PATCH after so many bytes, without an answer.
	cut int
	// forget answers 404 to the question how far an upload is.
	forget bool
	// claim, if set, is what that question is answered with.
	claim string

	mu       sync.Mutex
	open     map[string][]byte
	stored   map[digest.Digest][]byte
	n        int
	received int
	patches  []string
	commits  int
}

func newSessions() *sessions {
	return &sessions{open: map[string][]byte{}, stored: map[digest.Digest][]byte{}}
}

func (s *sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	here := "/v2/app/web/blobs/uploads/" + id
	switch {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodHead:
		if s.stored[digest.Digest(id)] == nil {
			w.WriteHeader(http.StatusNotFound)
		}
	case r.Method == http.MethodPost:
		s.n++
		w.Header().Set("Location", fmt.Sprintf("%s%d", here, s.n))
		s.open[fmt.Sprint(s.n)] = []byte{}
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPatch:
		s.patches = append(s.patches, r.Header.Get("Content-Range"))
		from := 0
		if h := r.Header.Get("Content-Range"); h != "" {
			fmt.Sscanf(h, "%d-", &from)
		}
		if from != len(s.open[id]) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		body := io.Reader(r.Body)
		if s.cut > 0 {
			body = io.LimitReader(body, int64(s.cut))
		}
		b, err := io.ReadAll(body)
		s.received += len(b)
		s.open[id] = append(s.open[id], b...)
		if err != nil || int64(len(b)) < r.ContentLength {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Location", here)
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodGet:
		if s.forget {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Location", here)
		w.Header().Set("Range", fmt.Sprintf("0-%d", len(s.open[id])-1))
		if s.claim != "" {
			w.Header().Set("Range", s.claim)
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.commits++
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		b = append(s.open[id], b...)
		d := digest.Digest(r.URL.Query().Get("digest"))
		if digest.FromBytes(b) != d {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.stored[d] = b
		w.WriteHeader(http.StatusCreated)
	}
}

// oneLayer is a bundle with an image of one large layer.
func oneLayer(t *testing.T, size int) (*archive.Reader, digest.Digest) {
	m := newMaker(t)
	layer := noise(11, size)
	m.add(archive.KindImage, "quay.io/app/web:1", m.image(`{}`, layer))
	return m.open(), digest.FromBytes(layer)
}

func TestUploadResumesWhereItBroke(t *testing.T) {
	const size = 4 << 20
	b, layer := oneLayer(t, size)
	s := newSessions()
	s.cut = 1 << 20
	var sent atomic.Int64
	mustPush(t, b, serve(t, s), Options{Sent: func(n int64) { sent.Add(n) }})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored[layer] == nil {
		t.Fatal("the layer is not there")
	}
	if s.received != size {
		t.Errorf("%d bytes were taken of a layer of %d: what was kept was sent again", s.received, size)
	}
	if len(s.patches) != 4 || s.patches[1] != fmt.Sprintf("%d-%d", 1<<20, size-1) {
		t.Errorf("requests had the ranges %q", s.patches)
	}
	if want := int64(size + 2); sent.Load() != want {
		t.Errorf("%d bytes were reported in sum, want %d: the layer and the config, each once", sent.Load(), want)
	}
}

func TestUploadBeginsAgainWhereItCannotResume(t *testing.T) {
	for _, claim := range []string{"forget", "0-99999999", "5-10", "0-4194302", "nonsense", "0-0"} {
		t.Run(claim, func(t *testing.T) {
			b, layer := oneLayer(t, 4<<20)
			s := newSessions()
			s.cut, s.claim, s.forget = 1<<20, claim, claim == "forget"
			h := newTap(s)
			h.before = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch && h.of("PATCH upload") > 2 {
					s.mu.Lock()
					s.cut = 0
					s.mu.Unlock()
				}
				return false
			}
			mustPush(t, b, serve(t, h), Options{})
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.stored[layer] == nil {
				t.Error("the layer is not there")
			}
		})
	}
}

func TestUploadGivesUp(t *testing.T) {
	b, layer := oneLayer(t, 4<<20)
	s := newSessions()
	s.cut, s.forget = 1000, true
	addr := serve(t, s)
	_, err := push(t, b, addr, Options{})
	if !errors.Is(err, wire.ErrUnavailable) || !strings.Contains(err.Error(), layer.String()) || !strings.Contains(err.Error(), addr) {
		t.Errorf("got error %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.patches) != 4 {
		t.Errorf("sent %d times, want once and 3 retries", len(s.patches))
	}
}

func TestTemporaryErrorsAreRetried(t *testing.T) {
	f := newFull(t)
	real := distribution(t, "none")
	h := newTap(real)
	var mu sync.Mutex
	failed := map[string]bool{}
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		// The name of a session is not the same twice.
		path, _, _ := strings.Cut(r.URL.Path, "/uploads/")
		key := r.Method + path
		if failed[key] {
			return false
		}
		failed[key] = true
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	mustPush(t, f.open(), serve(t, h), Options{})
	mustHave(t, serve(t, real), "app/web/manifests/1", "*/*", f.bytes[f.web.Digest])
}

func TestRefusalsAreExplained(t *testing.T) {
	tests := map[string]struct {
		status int
		class  error
		want   string
	}{
		"denied":     {http.StatusForbidden, wire.ErrUnauthorized, "credentials for"},
		"no project": {http.StatusNotFound, wire.ErrNotFound, "create the repository or project app/web first"},
		"too large":  {http.StatusRequestEntityTooLarge, wire.ErrRefused, "413"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, _ := oneLayer(t, 10)
			h := newTap(registries["ggcr"](t))
			h.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					w.WriteHeader(tt.status)
				}
				return r.Method == http.MethodPost
			}
			_, err := push(t, b, serve(t, h), Options{})
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %v with %q", err, tt.class, tt.want)
			}
			if f, ok := errors.AsType[*Failures](err); !ok || len(f.List) != 1 || !strings.Contains(err.Error(), "quay.io/app/web:1") {
				t.Errorf("error %v is no table with the image", err)
			}
		})
	}
}

func TestTokenThatRunsOutDuringAnUpload(t *testing.T) {
	b, layer := oneLayer(t, 4<<20)
	s := newSessions()
	var issued, used atomic.Int32
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if u, p, _ := r.BasicAuth(); u != "me" || p != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			used.Store(0)
			fmt.Fprintf(w, `{"token":"t%d"}`, issued.Add(1))
			return
		}
		if r.Header.Get("Authorization") != fmt.Sprint("Bearer t", issued.Load()) || used.Add(1) > 3 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x",scope="repository:app/web:pull,push"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.ServeHTTP(w, r)
	}))
	o := testHTTP()
	o.Keychain = keys{addr: {Username: "me", Password: "secret"}}
	if _, err := push(t, b, addr, Options{HTTP: o, Jobs: 1}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored[layer] == nil {
		t.Error("the layer is not there")
	}
	if issued.Load() < 2 {
		t.Errorf("%d tokens were issued", issued.Load())
	}
}

type keys map[string]authn.AuthConfig

func (k keys) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if c, ok := k[r.RegistryStr()]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}

func TestPushEndsWithItsContext(t *testing.T) {
	b, _ := oneLayer(t, 4<<20)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	h := newTap(registries["ggcr"](t))
	h.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			cancel(cause)
		}
		return false
	}
	to, err := ParseTarget(serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Push(ctx, b, to, Options{HTTP: testHTTP()})
	if !errors.Is(err, cause) {
		t.Errorf("got error %v, want the cause of the end", err)
	}
	if f, ok := errors.AsType[*Failures](err); ok {
		t.Errorf("an interrupt was reported as a failure of images: %v", f)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"h:5000/a", "https://h/a/b/", "", "/", "h//", "h/a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		to, err := ParseTarget(s)
		if err != nil {
			return
		}
		if again, err := ParseTarget(to.String()); err != nil || again != to {
			t.Errorf("%q gives %+v, which gives %+v, %v", s, to, again, err)
		}
	})
}
