//go:build unix

package hostile

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bundle/install/journal"
)

// Planted secrets, and what of them must not be seen anywhere.
const (
	plantedPassword = "Pl4nted-Passw0rd"
	plantedToken    = "Pl4nted-T0ken"
	plantedKey      = "MIIBPl4ntedPrivateKeyPl4ntedPrivateKey"
	plantedEnv      = "Pl4nted-Env-Secret"
)

// Nothing that a command prints or writes gives away a secret that it was given.
func TestSecretsAreNowhere(t *testing.T) {
	s := newSite(t, 1, 8<<10)
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Clusterfile", `apiVersion: sealer.cloud/v2
kind: Cluster
metadata:
  name: my-cluster
spec:
  image: killed:1
  env:
    - DB_PASSWORD=`+plantedEnv+`
  ssh:
    user: root
    passwd: `+plantedPassword+`
    pk: id_rsa
  hosts:
    - ips: [127.0.0.2]
      roles: [master]
      ssh:
        port: "1"
---
apiVersion: sealer.cloud/v1alpha1
kind: Config
metadata:
  name: db
spec:
  path: etc/db.yaml
  data: |
    password: `+plantedPassword+`
    token: `+plantedToken+`
`)
	write("id_rsa", "-----BEGIN RSA PRIVATE KEY-----\n"+plantedKey+"\n-----END RSA PRIVATE KEY-----\n")
	write("config.json", `{"auths":{"registry.test":{"auth":"`+base64.StdEncoding.EncodeToString([]byte("me:"+plantedPassword))+`","identitytoken":"`+plantedToken+`"}}}`)
	write("ctx/bundle.yaml", "apiVersion: bundle/v1\nkind: Bundle\nname: leaky\nversion: \"1\"\nimages: ["+s.refs[0].String()+"]\nfiles:\n  - {src: etc, dst: etc}\n")
	write("ctx/etc/db.yaml", "password: "+plantedPassword+"\n")
	write("ctx/etc/key.pem", "-----BEGIN PRIVATE KEY-----\n"+plantedKey+"\n-----END PRIVATE KEY-----\n")
	s.env = append(s.env, "BUNDLE_DEBUG_SECRET="+plantedEnv)
	for i, e := range s.env {
		if strings.HasPrefix(e, "BUNDLE_PASSWORD=") {
			s.env[i] = "BUNDLE_PASSWORD=" + plantedPassword
		}
	}
	mirror := s.build[8]
	if !strings.HasPrefix(mirror, "*=") {
		t.Fatalf("%q is no mirror", mirror)
	}
	state := filepath.Join(s.dir, "state")
	// Nothing here may go further than looking: the address is this machine's.
	var said strings.Builder
	for _, args := range [][]string{
		{"keygen", "-o", "planted"},
		{"build", "ctx", "--platform", "linux/amd64", "--mirror", mirror, "--registry-config", "config.json", "--key", "planted.key", "-o", "leaky.tar.zst", "--log-level", "debug"},
		{"build", "ctx", "--platform", "linux/amd64", "--mirror", mirror, "--registry-config", "config.json", "--key", "planted.key", "-o", "no.tar.zst", "--fail-on-secret"},
		{"build", "ctx", "--platform", "linux/amd64", "--mirror", "*=127.0.0.1:1", "--registry-config", "config.json", "--retries", "0", "--unsigned", "-o", "no.tar.zst", "--log-level", "debug"},
		{"sign", "leaky.tar.zst", "--key", "ci.key"}, // the password is another key's
		{"verify", "leaky.tar.zst", "--key", "planted.pub", "-o", "json"},
		{"inspect", "leaky.tar.zst", "-o", "json"},
		{"plan", "leaky.tar.zst", "-f", "Clusterfile", "--state", state, "--insecure-skip-signature", "-o", "json"},
		{"plan", "leaky.tar.zst", "-f", "Clusterfile", "--state", state, "--insecure-skip-signature"},
		{"preflight", "leaky.tar.zst", "-f", "Clusterfile", "--state", state, "--insecure-skip-signature", "-o", "json", "--log-level", "debug"},
		{"install", "leaky.tar.zst", "-f", "Clusterfile", "--insecure-skip-signature", "--yes", "--state", state, "--until", "preflight", "--log-level", "debug"},
		{"install", "leaky.tar.zst", "-m", "127.0.0.2", "-u", "root", "-p", plantedPassword, "--insecure-skip-signature", "--yes", "-e", "TOKEN=" + plantedToken, "--state", state, "--dry-run", "--log-level", "debug"},
		{"status", "-f", "Clusterfile", "--state", state},
	} {
		cmd, out := s.command(t.Context(), args...)
		err := cmd.Run()
		said.WriteString("$ bundle " + args[0] + "\n" + out.String())
		last := strings.TrimSpace(out.String())
		t.Logf("bundle %s: %v: …%s", args[0], err, last[max(0, len(last)-150):])
		for _, secret := range []string{plantedPassword, plantedToken, plantedKey, base64.StdEncoding.EncodeToString([]byte("me:" + plantedPassword))} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("bundle %s (%v) says a secret:\n%s", args[0], err, out)
			}
		}
	}
	if !strings.Contains(said.String(), "etc/db.yaml:1: a password") || !strings.Contains(said.String(), "etc/key.pem:1: a private key") {
		t.Errorf("the secrets that are packed are not told:\n%s", said.String())
	}
	// What was written, but for the bundle that has to hold it and what we wrote.
	ours := map[string]bool{"Clusterfile": true, "id_rsa": true, "config.json": true, "ctx/etc/db.yaml": true, "ctx/etc/key.pem": true, "leaky.tar.zst": true}
	err := filepath.WalkDir(s.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(s.dir, p)
		if err != nil || ours[rel] {
			return err
		}
		data, err := os.ReadFile(p)
		for _, secret := range []string{plantedPassword, plantedToken, plantedKey} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s holds a secret", rel)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What holds secrets or the story of a site is its owner's alone.
func TestModesOfFiles(t *testing.T) {
	s := newSite(t, 1, 8<<10)
	mode := func(p string) fs.FileMode {
		t.Helper()
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if m := mode(filepath.Join(s.dir, "ci.key")); m != 0o600 {
		t.Errorf("a private key has mode %o", m)
	}
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := journal.Open(dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if m := mode(p); m != want {
			t.Errorf("%s has mode %o", p, m)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
