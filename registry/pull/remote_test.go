package pull

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"bundle/manifest"
	"bundle/registry/wire"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
)

// hold serves one manifest under every tag and counts requests by path.
type hold struct {
	raw  []byte
	typ  string
	asks atomic.Int32
	// queries seen
	ns atomic.Value
}

func (h *hold) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/" {
		return
	}
	h.asks.Add(1)
	h.ns.Store(r.URL.Query().Get("ns"))
	if !strings.Contains(r.URL.Path, "/manifests/") || h.raw == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", h.typ)
	_, _ = w.Write(h.raw)
}

const tiny = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`

func TestMirror(t *testing.T) {
	newHold := func(raw string) *hold {
		return &hold{raw: []byte(raw), typ: "application/vnd.oci.image.manifest.v1+json"}
	}
	t.Run("stands in for a host that does not exist", func(t *testing.T) {
		m := newHold(tiny)
		for _, host := range []string{"registry.invalid", "*"} {
			r := newTestRemote(t, RemoteOptions{Mirrors: map[string]string{host: serve(t, m)}})
			d, err := r.Resolve(t.Context(), mustRef(t, "registry.invalid/app/web:1"))
			if err != nil || d.Digest != digest.FromString(tiny) {
				t.Errorf("mirror for %s: got %v, %v", host, d, err)
			}
			if m.ns.Load() != "registry.invalid" {
				t.Errorf("the mirror was told ns=%v, so it cannot tell hosts apart", m.ns.Load())
			}
		}
	})
	t.Run("of its own goes before the one of all", func(t *testing.T) {
		own, all := newHold(tiny), newHold(tiny)
		r := newTestRemote(t, RemoteOptions{Mirrors: map[string]string{"*": serve(t, all), "docker.io": serve(t, own)}})
		if _, err := r.Resolve(t.Context(), mustRef(t, "nginx:1")); err != nil {
			t.Fatal(err)
		}
		if own.asks.Load() != 1 || all.asks.Load() != 0 {
			t.Errorf("docker.io's mirror was asked %d times, the other %d", own.asks.Load(), all.asks.Load())
		}
	})
	t.Run("has a prefix", func(t *testing.T) {
		var path atomic.Value
		addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				path.Store(r.URL.Path)
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		r := newTestRemote(t, RemoteOptions{Mirrors: map[string]string{"quay.io": "http://" + addr + "/proxy/"}, MirrorOnly: true})
		_, err := r.Resolve(t.Context(), mustRef(t, "quay.io/app/web:1"))
		if path.Load() != "/v2/proxy/app/web/manifests/1" || !errors.Is(err, ErrNotFound) {
			t.Errorf("asked for %v, error %v", path.Load(), err)
		}
	})
	t.Run("that lacks the image leaves it to the origin", func(t *testing.T) {
		m, o := newHold(""), newHold(tiny)
		m.raw = nil
		origin := serve(t, o)
		r := newTestRemote(t, RemoteOptions{Mirrors: map[string]string{origin: serve(t, m)}})
		if _, err := r.Resolve(t.Context(), mustRef(t, origin+"/app/web:1")); err != nil {
			t.Fatal(err)
		}
		r = newTestRemote(t, RemoteOptions{Mirrors: map[string]string{origin: serve(t, m)}, MirrorOnly: true})
		before := o.asks.Load()
		if _, err := r.Resolve(t.Context(), mustRef(t, origin+"/app/web:1")); !errors.Is(err, ErrNotFound) {
			t.Errorf("got error %v, want ErrNotFound", err)
		}
		if o.asks.Load() != before {
			t.Error("the origin was asked although only the mirror may be")
		}
	})
	t.Run("that is down is an error", func(t *testing.T) {
		o := newHold(tiny)
		origin := serve(t, o)
		r := newTestRemote(t, RemoteOptions{Mirrors: map[string]string{origin: closedAddr(t)}})
		if _, err := r.Resolve(t.Context(), mustRef(t, origin+"/app/web:1")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got error %v, want ErrUnavailable", err)
		}
		if o.asks.Load() != 0 {
			t.Error("the build went around its mirror")
		}
	})
	t.Run("both without the image are both named", func(t *testing.T) {
		m := newHold("")
		m.raw = nil
		mirror, origin := serve(t, m), closedAddr(t)
		r := newTestRemote(t, RemoteOptions{Mirrors: map[string]string{origin: mirror}})
		_, err := r.Resolve(t.Context(), mustRef(t, origin+"/app/web:1"))
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), mirror) || !strings.Contains(err.Error(), origin+" refused the connection") {
			t.Errorf("got error %v, want one that names %s and %s", err, mirror, origin)
		}
	})
	for _, bad := range [][2]string{{"", "a"}, {"a", ""}, {"a", "u@b"}} {
		if _, err := NewRemote(RemoteOptions{Mirrors: map[string]string{bad[0]: bad[1]}}); err == nil {
			t.Errorf("mirror %q=%q was taken", bad[0], bad[1])
		}
	}
}

// closedAddr is an address where nothing listens.
func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestLocalRegistryIsNotAskedForOverTheNetwork(t *testing.T) {
	r := newTestRemote(t, RemoteOptions{})
	_, err := r.Resolve(t.Context(), mustRef(t, manifest.LocalRegistry+"/pause:3.9"))
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "--from SOURCE") {
		t.Errorf("got error %v, want ErrNotFound with a hint", err)
	}
}

func TestResolveAsksOnce(t *testing.T) {
	h := &hold{raw: []byte(tiny), typ: "application/vnd.oci.image.manifest.v1+json"}
	r := newTestRemote(t, RemoteOptions{})
	ref := mustRef(t, serve(t, h)+"/app/web:1")
	d, err := r.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.Manifest(t.Context(), ref, d)
	if err != nil || string(raw) != tiny {
		t.Fatalf("got %q, %v", raw, err)
	}
	if h.asks.Load() != 1 {
		t.Errorf("%d requests for one manifest; Docker Hub counts each", h.asks.Load())
	}
	if _, err := r.Manifest(t.Context(), ref, d); err != nil || h.asks.Load() != 2 {
		t.Errorf("a second read gave %v after %d requests", err, h.asks.Load())
	}
}

func TestManifestOfOtherBytes(t *testing.T) {
	h := &hold{raw: []byte(tiny), typ: "application/vnd.oci.image.manifest.v1+json"}
	addr := serve(t, h)
	r := newTestRemote(t, RemoteOptions{})
	other := digest.FromString("other")
	_, err := r.Resolve(t.Context(), mustRef(t, addr+"/app/web:1@"+other.String()))
	if !errors.Is(err, ErrDigest) {
		t.Errorf("got error %v, want ErrDigest", err)
	}
	if h.asks.Load() != 2 {
		t.Errorf("asked %d times, want a second try against a proxy's hiccup", h.asks.Load())
	}
}

func TestManifestTooLarge(t *testing.T) {
	h := &hold{raw: make([]byte, MaxManifest+1), typ: "application/vnd.oci.image.manifest.v1+json"}
	_, err := newTestRemote(t, RemoteOptions{}).Resolve(t.Context(), mustRef(t, serve(t, h)+"/app/web:1"))
	if err == nil || !strings.Contains(err.Error(), "more than the 8388608 bytes allowed") {
		t.Errorf("got error %v", err)
	}
}

// tokenServer is a registry with the token flow. Tokens are good for uses
// requests and for the scope they were asked for.
type tokenServer struct {
	inner  http.Handler
	user   string
	uses   int
	issued atomic.Int32
	left   atomic.Int32
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		user, pass, _ := r.BasicAuth()
		if s.user != "" && (user != s.user || pass != "secret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.left.Store(int32(s.uses))
		_ = json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprint("t", s.issued.Add(1))})
		return
	}
	if r.Header.Get("Authorization") != fmt.Sprint("Bearer t", s.issued.Load()) || s.left.Add(-1) < 0 {
		scope := strings.TrimPrefix(r.URL.Path, "/v2/")
		scope, _, _ = strings.Cut(scope, "/manifests")
		scope, _, _ = strings.Cut(scope, "/blobs")
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope="repository:%s:pull"`, r.Host, scope))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.inner.ServeHTTP(w, r)
}

func TestTokenFlow(t *testing.T) {
	blob := noise(20, 500_000)
	t.Run("a token that runs out inside a blob is renewed", func(t *testing.T) {
		b := &blobServer{blob: blob, cut: 100_000}
		s := &tokenServer{inner: b, user: "me", uses: 2}
		addr := serve(t, s)
		o := testHTTP()
		o.Keychain = staticKeychain{addr: {Username: "me", Password: "secret"}}
		got, err := fetch(t, newTestRemote(t, RemoteOptions{HTTP: o}), addr, blob, 0)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, got, blob)
		if s.issued.Load() < 3 {
			t.Errorf("%d tokens were issued, each was good for two requests of five", s.issued.Load())
		}
	})
	t.Run("wrong credentials", func(t *testing.T) {
		s := &tokenServer{inner: &blobServer{blob: blob}, user: "me", uses: 10}
		addr := serve(t, s)
		o := testHTTP()
		o.Keychain = staticKeychain{addr: {Username: "me", Password: "wrong"}}
		_, err := fetch(t, newTestRemote(t, RemoteOptions{HTTP: o}), addr, blob, 0)
		if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "did not accept the credentials") {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		s := &tokenServer{inner: &blobServer{blob: blob}, user: "me", uses: 10}
		addr := serve(t, s)
		_, err := newTestRemote(t, RemoteOptions{}).Resolve(t.Context(), mustRef(t, addr+"/app/web:1"))
		if !errors.Is(err, ErrUnauthorized) {
			t.Errorf("got error %v", err)
		}
		for _, want := range []string{addr, "docker login", "--registry-config"} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
	})
}

func TestRegistryErrors(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		class  error
		want   string
		asks   int32
	}{
		"not found":     {404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, ErrNotFound, "manifest unknown", 1},
		"forbidden":     {403, `{"errors":[{"code":"DENIED","message":"requested access is denied"}]}`, ErrUnauthorized, "requested access is denied", 1},
		"server error":  {500, ``, ErrUnavailable, "500", 4},
		"rate limit":    {429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate\u001b[31m limit"}]}`, ErrUnavailable, "pull rate[31m limit", 4},
		"teapot":        {418, ``, nil, "418", 1},
		"html not json": {404, `<html>` + strings.Repeat("x", 10_000), ErrNotFound, "404", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var asks atomic.Int32
			addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					asks.Add(1)
					w.WriteHeader(tt.status)
					fmt.Fprint(w, tt.body)
				}
			}))
			_, err := newTestRemote(t, RemoteOptions{}).Resolve(t.Context(), mustRef(t, addr+"/app/web:1"))
			if err == nil || tt.class != nil && !errors.Is(err, tt.class) {
				t.Fatalf("got error %v, want %v", err, tt.class)
			}
			for _, want := range []string{tt.want, addr + "/app/web:1"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if len(err.Error()) > 500 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			if asks.Load() != tt.asks {
				t.Errorf("asked %d times, want %d", asks.Load(), tt.asks)
			}
		})
	}
}

func TestNotARegistry(t *testing.T) {
	addr := serve(t, http.NotFoundHandler())
	_, err := newTestRemote(t, RemoteOptions{}).Resolve(t.Context(), mustRef(t, addr+"/app/web:1"))
	if errors.Is(err, ErrNotFound) || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "is not a registry") {
		t.Errorf("got error %v: a web server must not pass for a registry without the image", err)
	}
}

func TestDeadHostIsNotWaitedForAgain(t *testing.T) {
	c := &clock{}
	o := testHTTP()
	o.Clock = c
	r := newTestRemote(t, RemoteOptions{HTTP: o})
	addr := closedAddr(t)
	if _, err := r.Resolve(t.Context(), mustRef(t, addr+"/app/a:1")); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got error %v", err)
	}
	waited := len(c.waits())
	if waited == 0 {
		t.Fatal("the first image was not retried")
	}
	for _, name := range []string{"b", "c", "d"} {
		if _, err := r.Resolve(t.Context(), mustRef(t, addr+"/app/"+name+":1")); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got error %v", err)
		}
	}
	if n := len(c.waits()); n != waited {
		t.Errorf("waited %d times more for a host that is known to be dead", n-waited)
	}
}

func TestRegistryConfigFile(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	check := func(t *testing.T, key func(addr string) string) {
		var seen atomic.Value
		addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			seen.Store(r.Header.Get("Authorization"))
		}))
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key(addr), auth)), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := wire.FileKeychain(file)
		if err != nil {
			t.Fatal(err)
		}
		o := testHTTP()
		o.Keychain = keys
		_, _ = newTestRemote(t, RemoteOptions{HTTP: o}).Resolve(t.Context(), mustRef(t, addr+"/app/web:1"))
		if seen.Load() != "Basic "+auth {
			t.Errorf("the registry saw %v", seen.Load())
		}
	}
	t.Run("by host", func(t *testing.T) { check(t, func(a string) string { return a }) })
	t.Run("by path", func(t *testing.T) { check(t, func(a string) string { return a + "/app" }) })
	t.Run("missing", func(t *testing.T) {
		if _, err := wire.FileKeychain(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not JSON", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte("auths:"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := wire.FileKeychain(file); err == nil || !strings.Contains(err.Error(), "is not a docker configuration") {
			t.Errorf("got %v", err)
		}
	})
}

var _ authn.Keychain = staticKeychain{}
