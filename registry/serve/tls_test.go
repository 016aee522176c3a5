package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// serveTLS runs the server on loopback and gives its address and a function
// that stops it and waits.
func serveOn(t *testing.T, s *Server) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func trusting(t *testing.T, ca string) *http.Transport {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in ca.crt")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
}

func TestPullOverTLSWithOwnAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	cfg, ca, err := OwnCertificate(dir, []string{"registry.example", "10.1.2.3", ""})
	if err != nil {
		t.Fatal(err)
	}
	f := newFake("b")
	f.random(t, "quay.io/a/one:1", 3<<20, 2)
	s, err := New([]Bundle{f.bundle()}, Options{TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveOn(t, s)
	tr := trusting(t, ca)
	t.Cleanup(tr.CloseIdleConnections)
	ref, err := name.ParseReference(addr + "/a/one:1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref, remote.WithTransport(tr))
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(img); err != nil {
		t.Error(err)
	}
	// A damaged blob must be cut on HTTP/2 as well, where there is no
	// connection to close.
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	for id := range f.blobs {
		if id.Encoded() == d.Hex {
			f.spoil(id, len(f.blobs[id])-1)
		}
	}
	rc, err := layers[0].Compressed()
	if err == nil {
		_, err = rc.Read(make([]byte, 1))
		for err == nil {
			_, err = rc.Read(make([]byte, 1<<16))
		}
		_ = rc.Close()
		if err.Error() == "EOF" {
			t.Error("the damaged blob came whole over HTTP/2")
		}
	}
	// Old protocol versions are refused.
	old, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: tr.TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		_ = old.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

func TestOwnCertificateIsKeptAndMadeAnewWhenItMust(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	load := func(names ...string) (*x509.Certificate, []byte) {
		t.Helper()
		o := &ownTLS{dir: dir, names: names, now: func() time.Time { return now }}
		if err := o.load(); err != nil {
			t.Fatal(err)
		}
		ca, err := os.ReadFile(filepath.Join(dir, caFile))
		if err != nil {
			t.Fatal(err)
		}
		return o.leaf.Leaf, ca
	}
	first, ca := load("a.example", "10.0.0.1")
	if err := first.VerifyHostname("a.example"); err != nil {
		t.Error(err)
	}
	if err := first.VerifyHostname("10.0.0.1"); err != nil {
		t.Error(err)
	}
	if first.IsCA || len(first.ExtKeyUsage) != 1 {
		t.Error("the server's certificate could do more than serve")
	}
	for _, n := range []string{caFile, caKeyFile, certFile, keyFile} {
		info, err := os.Stat(filepath.Join(dir, n))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", n, info.Mode(), err)
		}
	}
	if again, _ := load("a.example"); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("a good certificate was replaced")
	}
	named, ca2 := load("a.example", "b.example")
	if named.VerifyHostname("b.example") != nil || string(ca2) != string(ca) {
		t.Error("a new name needs a new certificate of the same authority")
	}
	now = named.NotAfter.Add(-renewBefore + time.Hour)
	renewed, ca3 := load("a.example")
	if !renewed.NotAfter.After(named.NotAfter) || string(ca3) != string(ca) {
		t.Error("the certificate was not renewed before its end")
	}
	// A running server renews too.
	o := &ownTLS{dir: dir, names: []string{"a.example"}, now: func() time.Time { return now }}
	if err := o.load(); err != nil {
		t.Fatal(err)
	}
	now = renewed.NotAfter.Add(-time.Hour)
	got, err := o.certificate(nil)
	if err != nil || !got.Leaf.NotAfter.After(renewed.NotAfter) {
		t.Errorf("while running: %v", err)
	}
	// At the end of the authority everything is made anew.
	now = now.Add(caLifetime)
	_, ca4 := load("a.example")
	if string(ca4) == string(ca) {
		t.Error("an expired authority was kept")
	}
	// A crash between key and certificate leaves a pair that does not fit.
	if err := os.Remove(filepath.Join(dir, certFile)); err != nil {
		t.Fatal(err)
	}
	if l, _ := load("a.example"); l.VerifyHostname("a.example") != nil {
		t.Error("half a pair was not replaced")
	}
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadCertificate(filepath.Join(dir, "c"), filepath.Join(dir, "k")); !errors.Is(err, ErrOptions) {
		t.Errorf("no files: %v", err)
	}
	if _, _, err := OwnCertificate(dir, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCertificate(filepath.Join(dir, certFile), filepath.Join(dir, keyFile)); err != nil {
		t.Errorf("a pair of ours: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, caFile), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Somebody's file is not overwritten.
	if _, _, err := OwnCertificate(dir, nil); !errors.Is(err, ErrOptions) {
		t.Errorf("rubbish in ca.crt: %v", err)
	}
	if _, _, err := OwnCertificate(filepath.Join(dir, caFile, "x"), nil); !errors.Is(err, ErrOptions) {
		t.Errorf("a folder that cannot be: %v", err)
	}
}
