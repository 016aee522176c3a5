package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unpack gives the files of an archive.
func unpack(t *testing.T, data []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 || !strings.HasPrefix(h.Name, prefix) {
			t.Errorf("%s has the mode %o", h.Name, h.Mode)
		}
		files[strings.TrimPrefix(h.Name, prefix)] = string(b)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever was planted anywhere is not in the archive, and what helps is.
func TestSecretsStayHere(t *testing.T) {
	dir := t.TempDir()
	planted := []string{
		"hunter2pw", "S3cr3tValue", "abcdef.0123456789abcdef", "eyJhbGciOi", "MIIEowIBAAKCAQEA", "wJalrXUtnFEMI",
	}
	put(t, filepath.Join(dir, "logs", "10.0.0.1.log"), strings.Join([]string{
		"pulling registry.k8s.io/pause:3.9",
		"ssh said: hunter2pw",
		"kubeadm join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:00",
		"Authorization: Bearer eyJhbGciOi",
		"-----BEGIN RSA PRIVATE KEY-----", "MIIEowIBAAKCAQEA", "-----END RSA PRIVATE KEY-----",
		"aws_secret_access_key = wJalrXUtnFEMI",
		"the disk is full",
	}, "\n")+"\n")
	put(t, filepath.Join(dir, "Clusterfile"), "spec:\n  ssh:\n    user: root\n    passwd: S3cr3tValue\n  masters: {}\n")
	put(t, filepath.Join(dir, "registry-ca.key"), "MIIEowIBAAKCAQEA")
	var b bytes.Buffer
	entries, err := Write(&b, Options{Cluster: "c", State: dir, Clusterfile: filepath.Join(dir, "Clusterfile"), Version: "v\n", Secrets: []string{"hunter2pw", "", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, b.Bytes())
	for name, text := range files {
		for _, s := range planted {
			if strings.Contains(text, s) {
				t.Errorf("%s holds %q:\n%s", name, s, text)
			}
		}
	}
	log := files["logs/10.0.0.1.log"]
	for _, want := range []string{"pulling registry.k8s.io/pause:3.9", "ssh said: " + mask, "--token " + mask, "sha256:00", "the disk is full\n", "(a private key was left out here)"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if !strings.Contains(files["Clusterfile"], "user: root") {
		t.Errorf("the Clusterfile lost what is no secret:\n%s", files["Clusterfile"])
	}
	if _, ok := files["registry-ca.key"]; ok {
		t.Error("a file that nobody asked for is in the archive")
	}
	told := map[string]Entry{}
	for _, e := range entries {
		told[e.Name] = e
	}
	if told["logs/10.0.0.1.log"].Redacted < 6 || told["status.txt"].Missing == "" {
		t.Errorf("%+v", entries)
	}
}

// A secret behind more of them than a finder lists is found all the same.
func TestManySecretsAreAllRedacted(t *testing.T) {
	var b strings.Builder
	for range 500 {
		b.WriteString("password: aVeryBadOne1\n")
	}
	got, n := newRedactor(nil).text("x", []byte(b.String()))
	if n != 500 || bytes.Contains(got, []byte("aVeryBadOne1")) {
		t.Errorf("%d lines of 500 were redacted", n)
	}
}

func TestLongLogsAreCutAtALine(t *testing.T) {
	p := filepath.Join(t.TempDir(), "log")
	put(t, p, strings.Repeat("0123456789\n", 10))
	got, err := tail(p, 25)
	if err != nil || string(got) != "(88 bytes before this were left out)\n0123456789\n0123456789\n" {
		t.Errorf("%q, %v", got, err)
	}
}

type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("no space")
	}
	return len(b), nil
}

func TestFullDiskIsAnError(t *testing.T) {
	for room := range 200 {
		if _, err := Write(&full{room: room}, Options{}); err == nil {
			t.Fatalf("an archive in %d bytes is taken for written", room)
		}
	}
}
