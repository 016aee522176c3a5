package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"bundle/archive"
	"bundle/internal/upstream"
	"bundle/manifest"
	"bundle/pack"
	"bundle/registry/serve"
)

// build makes a bundle of two images for two platforms, of which the first is
// an index.
func build(t *testing.T) (*archive.Reader, *manifest.Contents) {
	t.Helper()
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	names := []string{"registry.k8s.io/pause:3.9", "example.com/team/app:1.0"}
	var refs []manifest.Reference
	for _, n := range names {
		ref, err := manifest.ParseReference(n)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	if _, err := reg.Populate(t.Context(), refs, []string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "b.tar.zst")
	b, err := pack.Prepare(t.Context(), pack.Options{
		Images: names, Name: "b", Version: "1", Output: out, Platforms: []string{"linux/amd64"},
		Registry: pack.RegistryOptions{Mirrors: map[string]string{"*": reg.Addr()}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := archive.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	c, _, err := pack.ReadContents(r)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// TestRegistryProvesItself with its own certificate and a password, and each
// way in which it can fail says why.
func TestRegistryProvesItself(t *testing.T) {
	r, c := build(t)
	images, err := ImagesOf(r)
	if err != nil {
		t.Fatal(err)
	}
	img, ok := SampleOf(c)
	if !ok {
		t.Fatal("no image to pull")
	}
	for _, i := range c.Images {
		if images[i.Digest] != i.Name || i.Size < img.Size {
			t.Errorf("%s is not known by %s, or is smaller than the sample", i.Name, i.Digest)
		}
	}
	if len(images) <= 2*len(c.Images) {
		t.Errorf("only %d digests: an index has manifests below it, and each has a config", len(images))
	}

	dir := t.TempDir()
	conf, ca, err := serve.OwnCertificate(dir, []string{"sea.hub"})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	htpasswd := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(htpasswd, []byte("node:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := serve.New([]serve.Bundle{{Name: "b", Content: serve.Archive(r)}}, serve.Options{TLS: conf, Htpasswd: htpasswd})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-served })
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	good := Pull{Host: "127.0.0.1", Name: "sea.hub:" + port, TLS: &tls.Config{RootCAs: pool}, Username: "node", Password: "secret", Image: img}
	if a := PullSample(t.Context(), good); a.Err != "" || a.Image != img.Name || a.Host != "127.0.0.1" {
		t.Errorf("answer is %+v", a)
	}

	for name, tt := range map[string]struct {
		change func(*Pull)
		want   string
	}{
		"wrong password": {func(p *Pull) { p.Password = "no" }, "it answers 401 Unauthorized"},
		"wrong CA":       {func(p *Pull) { p.TLS = &tls.Config{RootCAs: x509.NewCertPool()} }, "certificate"},
		"wrong name":     {func(p *Pull) { p.Name = "other.hub:" + port }, "certificate is valid for"},
		"plain HTTP":     {func(p *Pull) { p.TLS = nil }, "it answers 400 Bad Request"},
		"missing image":  {func(p *Pull) { p.Image.Digest = pause }, "it answers 404 Not Found"},
		"down":           {func(p *Pull) { p.Name = "sea.hub:1" }, "connection refused"},
		"no image":       {func(p *Pull) { p.Image.Name = ":" }, "not an image reference"},
		"no port":        {func(p *Pull) { p.Name, p.Dial = "sea.hub", refuse }, "dials 127.0.0.1:443"},
		"no port, HTTP":  {func(p *Pull) { p.Name, p.Dial, p.TLS = "sea.hub", refuse, nil }, "dials 127.0.0.1:80"},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			tt.change(&p)
			if a := PullSample(t.Context(), p); !strings.Contains(a.Err, tt.want) {
				t.Errorf("error is %q, want %q", a.Err, tt.want)
			}
		})
	}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	if a := PullSample(canceled, good); a.Err != "context canceled" {
		t.Errorf("error is %q", a.Err)
	}
}

func refuse(_ context.Context, _, address string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Err: net.UnknownNetworkError("dials " + address)}
}

// TestRegistryWithOtherBytes is not believed.
func TestRegistryWithOtherBytes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	size := 10
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, size))
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	p := Pull{Host: "127.0.0.1", Name: l.Addr().String(), Image: manifest.Image{Name: "a/b:c", Digest: pause}}
	if a := PullSample(t.Context(), p); !strings.HasPrefix(a.Err, "the manifest that came has the digest sha256:") {
		t.Errorf("error is %q", a.Err)
	}
	size = maxManifest + 1
	if a := PullSample(t.Context(), p); a.Err != "its answer is too long for a manifest" {
		t.Errorf("error is %q", a.Err)
	}
}
