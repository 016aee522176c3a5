package host

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func newECDSA(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFirstKeyIsPinnedAndToldOnce(t *testing.T) {
	s := newServer(t)
	target := s.start()
	o := options(t)
	var told []NewHostKey
	o.OnNewHostKey = func(k NewHostKey) { told = append(told, k) }
	for range 2 {
		_ = mustDial(t, target, o).Close()
	}
	key := s.hostKeys[0].PublicKey()
	want := NewHostKey{
		Host: "10.0.0.7", Address: s.addr.String(), Type: "ssh-ed25519",
		Fingerprint: ssh.FingerprintSHA256(key), File: o.KnownHosts,
	}
	if len(told) != 1 || told[0] != want {
		t.Errorf("told %+v, want %+v once", told, want)
	}
	line := knownhosts.Line([]string{s.addr.String()}, key) + "\n"
	if got, err := os.ReadFile(o.KnownHosts); err != nil || string(got) != line {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if st, _ := os.Stat(o.KnownHosts); st.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v", st.Mode())
	}
}

func TestChangedKeyIsRefusedWithAWayOut(t *testing.T) {
	for name, key := range map[string]func(*testing.T) ssh.Signer{"same kind": newSigner, "other kind": newECDSA} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			target := s.start()
			o := options(t)
			_ = mustDial(t, target, o).Close()
			pinned := ssh.FingerprintSHA256(s.hostKeys[0].PublicKey())
			s.hostKeys = []ssh.Signer{key(t)}
			before := s.count()
			_, err := Dial(t.Context(), target, o)
			var e *Error
			if !errors.Is(err, ErrHostKey) || !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if s.count() != before+1 {
				t.Error("a wrong key was tried again")
			}
			for _, want := range []string{"10.0.0.7 shows the", ssh.FingerprintSHA256(s.hostKeys[0].PublicKey()), pinned, "line 1 of " + o.KnownHosts} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing from %q", want, err)
				}
			}
			if strings.Contains(err.Error(), "\n") || !strings.Contains(e.Hint(), "ssh-keygen -lf") || !strings.Contains(e.Hint(), "ssh-keygen -R") || e.Object() != "10.0.0.7" {
				t.Errorf("the error is %q, its hint %q", err, e.Hint())
			}
			// The hint works: that file and that name, for OpenSSH's own tool.
			if data, _ := os.ReadFile(o.KnownHosts); !strings.HasPrefix(string(data), knownhosts.Normalize(s.addr.String())+" ") ||
				!strings.Contains(e.Hint(), quote(knownhosts.Normalize(s.addr.String()))) {
				t.Errorf("the file holds %q, the hint is %q", data, e.Hint())
			}
		})
	}
}

func TestHostWithSeveralKeysShowsThePinnedOne(t *testing.T) {
	s := newServer(t)
	s.hostKeys = []ssh.Signer{newSigner(t), newECDSA(t)}
	target := s.start()
	o := options(t)
	for _, k := range s.hostKeys {
		if err := os.MkdirAll(filepath.Dir(o.KnownHosts), 0o700); err != nil {
			t.Fatal(err)
		}
		// No end of line, as people leave it.
		if err := os.WriteFile(o.KnownHosts, []byte("# ours\n"+knownhosts.Line([]string{s.addr.String()}, k.PublicKey())), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Strict = true
		_ = mustDial(t, target, o).Close()
	}
}

func TestStrictRefusesUnknownKeys(t *testing.T) {
	s := newServer(t)
	target := s.start()
	o := options(t)
	o.Strict = true
	_, err := Dial(t.Context(), target, o)
	if !errors.Is(err, ErrHostKey) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(s.hostKeys[0].PublicKey())) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(o.KnownHosts); err == nil {
		t.Error("the key was pinned")
	}
}

func TestRevokedKeyIsRefused(t *testing.T) {
	s := newServer(t)
	target := s.start()
	o := options(t)
	_ = os.MkdirAll(filepath.Dir(o.KnownHosts), 0o700)
	line := "@revoked * " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.hostKeys[0].PublicKey()))) + "\n"
	if err := os.WriteFile(o.KnownHosts, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), target, o); !errors.Is(err, ErrHostKey) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v", err)
	}
}

func TestUnusableFileOfKeysIsSaid(t *testing.T) {
	s := newServer(t)
	target := s.start()
	o := options(t)
	_ = os.MkdirAll(filepath.Dir(o.KnownHosts), 0o700)
	if err := os.WriteFile(o.KnownHosts, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), target, o); !errors.Is(err, ErrHostKey) || !strings.Contains(err.Error(), o.KnownHosts+":1") {
		t.Errorf("garbage gives %v", err)
	}
	o.KnownHosts = t.TempDir()
	if _, err := Dial(t.Context(), target, o); !errors.Is(err, ErrHostKey) || !strings.Contains(err.Error(), o.KnownHosts) {
		t.Errorf("a folder gives %v", err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.KnownHosts = filepath.Join(blocked, "known_hosts")
	if _, err := Dial(t.Context(), target, o); !errors.Is(err, ErrHostKey) {
		t.Errorf("a folder that cannot be made gives %v", err)
	}
}

// Many hosts at once each find their line in the file afterwards.
func TestManyHostsArePinnedAtOnce(t *testing.T) {
	o := options(t).withDefaults()
	var wg sync.WaitGroup
	keys := make([]ssh.PublicKey, 40)
	for i := range keys {
		keys[i] = newSigner(t).PublicKey()
		wg.Go(func() {
			// A ring of its own has no lock with the others but the file's.
			ring := &keyring{path: o.KnownHosts}
			if err := ring.pin(fmt.Sprintf("10.0.0.%d:22", i), keys[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, k := range keys {
		if err := keyringAt(o.KnownHosts).check(fmt.Sprintf("10.0.0.%d:22", i), k); err != nil {
			t.Errorf("host %d: %v", i, err)
		}
	}
	var ke *knownhosts.KeyError
	if err := keyringAt(o.KnownHosts).pin("10.0.0.1:22", keys[2]); !errors.As(err, &ke) || len(ke.Want) != 1 {
		t.Errorf("another key for a pinned host gives %v", err)
	}
}

// FuzzKnownHosts: whatever the file holds, a key is pinned or refused, and
// what was in the file stays.
func FuzzKnownHosts(f *testing.F) {
	key := `10.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIbAUYdfzaaZQMjAGzRcKzOCxUEpBmyRDqrDQ6nOtDcc`
	f.Add([]byte(key + "\n"))
	f.Add([]byte("# comment\n\n@revoked " + key))
	f.Add([]byte("|1|abc|def " + key + "\n\xff"))
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(signer.Public())
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "known_hosts")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		ring := &keyring{path: path}
		pinned, err := ring.pinned("10.0.0.1:22")
		if err == nil {
			_ = keyAlgorithms(pinned)
		}
		err = ring.pin("10.0.0.1:22", pub)
		after, readErr := os.ReadFile(path)
		if readErr != nil || !strings.HasPrefix(string(after), string(data)) {
			t.Fatalf("%q became %q, %v", data, after, readErr)
		}
		if err == nil && ring.check("10.0.0.1:22", pub) != nil {
			t.Fatalf("%q: the pinned key is not there in %q", data, after)
		}
	})
}

func TestNoKeyIsNoKey(t *testing.T) {
	if (noKey{}).Verify(nil, nil) == nil || (noKey{}).Type() == "" {
		t.Error("a key that is none verifies")
	}
	if compareKey(newECDSA(t).PublicKey()) == compareKey(noKey{}) {
		t.Error("the hint names no kind")
	}
}
