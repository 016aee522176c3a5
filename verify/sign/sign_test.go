package sign

import (
	"bytes"
	"context"
	"crypto"
	//lint:ignore SA1019 an unsupported kind of key is what is tested
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var cosignKeys = []string{"p256", "p384", "ed25519", "rsa"}

func password(s string) PasswordFunc {
	return func(context.Context, string) ([]byte, error) { return []byte(s), nil }
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func publicKey(t testing.TB, name string) *PublicKey {
	t.Helper()
	keys, err := ParsePublicKeys(name, read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

// A bundle that cosign signed must be accepted, and only for its own bytes
// and by its own key.
func TestCosignSignatures(t *testing.T) {
	index := read(t, "index.json")
	stranger := publicKey(t, "cosign-empty.pub")
	for _, name := range cosignKeys {
		t.Run(name, func(t *testing.T) {
			key := publicKey(t, "cosign-"+name+".pub")
			m, err := ParseMessage(read(t, "cosign-"+name+".sigstore.json"))
			if err != nil {
				t.Fatal(err)
			}
			if m.Hint != key.Hint() {
				t.Errorf("hint %s, and the key's is %s", m.Hint, key.Hint())
			}
			if err := m.VerifyWith(key, index); err != nil {
				t.Errorf("cosign's signature is refused: %v", err)
			}
			if m.VerifyWith(key, append(index, ' ')) == nil {
				t.Error("cosign's signature is accepted over other bytes")
			}
			m.Hint = ""
			if m.VerifyWith(stranger, index) == nil {
				t.Error("cosign's signature is accepted with another key")
			}
		})
	}
}

// Keys that cosign made must sign, and always give the same bytes, for two
// builds of one lock must not differ.
func TestCosignKeysSign(t *testing.T) {
	ctx, index := context.Background(), read(t, "index.json")
	for _, name := range cosignKeys {
		t.Run(name, func(t *testing.T) {
			s, err := LoadSigner(ctx, filepath.Join("testdata", "cosign-"+name+".key"), LoadOptions{Password: password("pass word")})
			if err != nil {
				t.Fatal(err)
			}
			if want := publicKey(t, "cosign-"+name+".pub").ID(); s.Public().ID() != want {
				t.Errorf("key ID %s, want %s", s.Public().ID(), want)
			}
			one, err := SignIndex(ctx, s, index)
			if err != nil {
				t.Fatal(err)
			}
			two, err := SignIndex(ctx, s, index)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(one, two) {
				t.Error("two signatures of the same index differ")
			}
			if err := Check(one); err != nil {
				t.Errorf("our own bundle is not canonical: %v", err)
			}
			m, err := ParseMessage(one)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.VerifyWith(s.Public(), index); err != nil {
				t.Error(err)
			}
			if m.Hash != crypto.SHA256 {
				t.Errorf("hash %v; cosign verify-blob checks with SHA-256", m.Hash)
			}
		})
	}
}

func TestLoadSignerForms(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := x509.ParsePKCS8PrivateKey(mustOpen(t, "cosign-rsa.key", "pass word"))
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(k any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	_, edKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.ReplaceAll(read(t, "cosign-p256.key"), []byte("SIGSTORE"), []byte("COSIGN"))
	damaged := bytes.Replace(read(t, "cosign-p256.key"), []byte("eyJrZGYi"), []byte("eyJrZGYj"), 1)
	for _, c := range []struct {
		name, pass string
		data       []byte
		class      error
		text       string
	}{
		{name: "pkcs8.key", data: encode("PRIVATE KEY", pkcs8(p256))},
		{name: "ed.key", data: encode("PRIVATE KEY", pkcs8(edKey))},
		{name: "sec1.key", data: encode("EC PRIVATE KEY", sec1)},
		{name: "openssl.key", data: append(encode("EC PARAMETERS", []byte{6, 8}), encode("EC PRIVATE KEY", sec1)...)},
		{name: "pkcs1.key", data: encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey.(*rsa.PrivateKey)))},
		{name: "cosign1.key", data: old, pass: "pass word"},
		{name: "empty.key", data: read(t, "cosign-empty.key")},
		{name: "empty-asked.key", data: read(t, "cosign-empty.key"), pass: "ignored"},
		{name: "wrong.key", data: old, pass: "other", class: ErrPassword, text: "the password does not open"},
		{name: "unasked.key", data: old, class: ErrPassword, text: "is encrypted and no password was given"},
		{name: "damaged.key", data: damaged, pass: "pass word", class: ErrKey, text: "cannot be read"},
		{name: "half.key", data: read(t, "cosign-p256.pub"), class: ErrKey, text: "signing takes the private one"},
		{name: "p224.key", data: encode("PRIVATE KEY", pkcs8(p224)), class: ErrKey, text: "curve P-224"},
		{name: "none.key", data: []byte("hello"), class: ErrKey, text: "no PEM private key"},
		{name: "void.key", data: nil, class: ErrKey, text: "no PEM private key"},
		{name: "cert.key", data: encode("CERTIFICATE", []byte{1}), class: ErrKey, text: "a certificate"},
		{name: "ssh.key", data: encode("OPENSSH PRIVATE KEY", []byte{1}), class: ErrKey, text: "ssh-keygen"},
		{name: "pkcs8enc.key", data: encode("ENCRYPTED PRIVATE KEY", []byte{1}), class: ErrKey, text: "cosign import-key-pair"},
		{name: "dek.key", data: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}, Bytes: []byte{1}}), class: ErrKey, text: "another tool"},
		{name: "odd.key", data: encode("SOMETHING", []byte{1}), class: ErrKey, text: `"SOMETHING"`},
		{name: "broken.key", data: encode("PRIVATE KEY", []byte{1, 2, 3}), class: ErrKey, text: "damaged or of an unknown kind"},
		{name: "two.key", data: append(encode("PRIVATE KEY", pkcs8(p256)), encode("PRIVATE KEY", pkcs8(edKey))...), class: ErrKey, text: "something besides"},
		{name: "long.key", data: make([]byte, maxKeyFile+1), class: ErrKey, text: "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name)
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			o := LoadOptions{Warn: func(s string) { t.Errorf("needless warning: %s", s) }}
			if c.pass != "" {
				o.Password = password(c.pass)
			}
			s, err := LoadSigner(ctx, path, o)
			if c.class == nil {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := SignIndex(ctx, s, []byte("x")); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, c.class) {
				t.Fatalf("error %v, want class %v", err, c.class)
			}
			if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q names not %q and the file", err, c.text)
			}
		})
	}
}

// A password that is at hand must be the only one that is tried: each try
// costs every build a scrypt.
func TestPasswordAtHand(t *testing.T) {
	ctx := context.Background()
	empty, locked := filepath.Join("testdata", "cosign-empty.key"), filepath.Join("testdata", "cosign-p256.key")
	for _, c := range []struct{ ref, pass, text string }{
		{locked, "pass word", ""},
		{empty, "", ""},
		{empty, "pass word", "the password does not open"},
		{locked, "", "the password, which is empty, does not open"},
	} {
		_, err := LoadSigner(ctx, c.ref, LoadOptions{Password: password(c.pass), AtHand: true})
		if c.text == "" && err != nil || c.text != "" && (!errors.Is(err, ErrPassword) || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s with %q: %v", c.ref, c.pass, err)
		}
	}
}

// mustOpen gives the PKCS#8 bytes of an encrypted fixture.
func mustOpen(t *testing.T, name, pass string) []byte {
	t.Helper()
	block, _ := pem.Decode(read(t, name))
	der, err := decrypt(context.Background(), name, block.Bytes, LoadOptions{Password: password(pass)})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestLoadSignerPlaces(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	data := read(t, "cosign-empty.key")
	t.Setenv("BUNDLE_TEST_KEY", string(data))
	t.Setenv("BUNDLE_TEST_KEY_LINE", strings.ReplaceAll(string(data), "\n", `\n`))
	t.Setenv("BUNDLE_TEST_LONG", strings.Repeat("x", maxKeyFile+1))
	for _, ref := range []string{"env://BUNDLE_TEST_KEY", "env://BUNDLE_TEST_KEY_LINE"} {
		if _, err := LoadSigner(ctx, ref, LoadOptions{}); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for ref, text := range map[string]string{
		"env://BUNDLE_TEST_UNSET":      "is not set",
		"env://BUNDLE_TEST_LONG":       "too long",
		filepath.Join(dir, "none.key"): "does not exist",
		dir:                            "is a folder",
		"":                             "no key is named",
		"nosuchkms://key":              "no key service for nosuchkms://key is built in",
	} {
		if _, err := LoadSigner(ctx, ref, LoadOptions{}); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: error %v, want %q", ref, err, text)
		}
	}
}

// A person must be told that others can read the private key, and never be
// bothered about a public one.
func TestOpenFileWarns(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "open.key")
	if err := os.WriteFile(path, read(t, "cosign-empty.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	var warning string
	if _, err := LoadSigner(ctx, path, LoadOptions{Warn: func(s string) { warning = s }}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(warning, "0644") || !strings.Contains(warning, "chmod 600 "+path) {
		t.Errorf("warning %q", warning)
	}
}

func TestPublicKeys(t *testing.T) {
	ctx := context.Background()
	keys, err := LoadPublicKeys(ctx, filepath.Join("testdata", "cosign-p256.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(keys[0].PEM(), read(t, "cosign-p256.pub")) {
		t.Errorf("PEM differs from cosign's:\n%s", keys[0].PEM())
	}
	both := append(read(t, "cosign-p256.pub"), read(t, "cosign-rsa.pub")...)
	keys, err = ParsePublicKeys("both.pub", both)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if a, b := keys[0].Algorithm(), keys[1].Algorithm(); a != "ECDSA P-256" || b != "RSA 3072" {
		t.Errorf("algorithms %s, %s", a, b)
	}
	if got := publicKey(t, "cosign-ed25519.pub").Algorithm(); got != "Ed25519" {
		t.Errorf("algorithm %s", got)
	}
	weak := &rsa.PublicKey{N: keys[1].key.(*rsa.PublicKey).N, E: 65537}
	weak.N = weak.N.Rsh(weak.N, 3072-1024)
	if _, err := NewPublicKey("weak.pub", weak); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("a weak key: %v", err)
	}
	if _, err := NewPublicKey("dsa.pub", &dsa.PublicKey{}); !errors.Is(err, ErrKey) {
		t.Errorf("a DSA key: %v", err)
	}
	for text, data := range map[string][]byte{
		"holds no PEM public key":  []byte("ssh-ed25519 AAAA"),
		"holds a private key":      read(t, "cosign-p256.key"),
		"not a public key":         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}),
		"cannot be read":           pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}),
		"after its last PEM block": append(read(t, "cosign-p256.pub"), "rest"...),
		"more than 256 keys":       bytes.Repeat(read(t, "cosign-p256.pub"), maxPublicKeys+1),
	} {
		if _, err := ParsePublicKeys("x.pub", data); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
	if _, err := LoadPublicKeys(ctx, "nosuchkms://key"); !errors.Is(err, ErrKey) {
		t.Errorf("error %v", err)
	}
	if _, err := LoadPublicKeys(ctx, "testdata/none.pub"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestKeyPairFiles(t *testing.T) {
	for _, pass := range []string{"", "geheim"} {
		private, public, err := GenerateKey([]byte(pass))
		if err != nil {
			t.Fatal(err)
		}
		prefix := filepath.Join(t.TempDir(), "release")
		if err := WriteKeyPair(prefix, private, public, false); err != nil {
			t.Fatal(err)
		}
		for name, mode := range map[string]os.FileMode{prefix + ".key": 0o600, prefix + ".pub": 0o644} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != mode {
				t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
			}
		}
		s, err := LoadSigner(context.Background(), prefix+".key", LoadOptions{Password: password(pass)})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Public().PEM(), public) {
			t.Error("the two halves do not belong together")
		}
		if err := WriteKeyPair(prefix, []byte("x"), []byte("y"), false); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), prefix+".key exists") {
			t.Errorf("a key pair is overwritten: %v", err)
		}
		if got, _ := os.ReadFile(prefix + ".key"); !bytes.Equal(got, private) {
			t.Error("the private key was touched")
		}
		if err := os.Remove(prefix + ".key"); err != nil {
			t.Fatal(err)
		}
		if err := WriteKeyPair(prefix, []byte("x"), []byte("y"), false); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), prefix+".pub exists") {
			t.Errorf("a public key is overwritten: %v", err)
		}
		if err := WriteKeyPair(prefix, []byte("x"), []byte("y"), true); err != nil {
			t.Errorf("force: %v", err)
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(prefix), ".*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	if err := WriteKeyPair(filepath.Join(t.TempDir(), "no", "folder"), nil, nil, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestSignIndexStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := LoadSigner(context.Background(), "testdata/cosign-empty.key", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := SignIndex(ctx, s, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := NewSigner("odd", odd{}); !errors.Is(err, ErrKey) {
		t.Errorf("error %v", err)
	}
}

type odd struct{ crypto.Signer }

// SM2 keys must work like the others, in our files and in OpenSSL's, and a
// signature must not pass for another message, key or kind of key.
func TestSM2(t *testing.T) {
	ctx, index := context.Background(), read(t, "index.json")
	openssl := publicKey(t, "openssl-sm2.pub")
	if err := openssl.Verify(index, read(t, "openssl-sm2.sig"), 0); err != nil {
		t.Errorf("OpenSSL's signature is refused: %v", err)
	}
	if openssl.Verify(append(bytes.Clone(index), ' '), read(t, "openssl-sm2.sig"), 0) == nil {
		t.Error("OpenSSL's signature is accepted over other bytes")
	}
	if !bytes.Equal(openssl.PEM(), read(t, "openssl-sm2.pub")) || openssl.Algorithm() != "SM2" {
		t.Errorf("%s\n%s", openssl.Algorithm(), openssl.PEM())
	}
	private, public, err := GenerateSM2([]byte("pass word"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := WriteKeyPair(filepath.Join(dir, "sm2"), private, public, false); err != nil {
		t.Fatal(err)
	}
	keys, err := ParsePublicKeys("sm2.pub", public)
	if err != nil {
		t.Fatal(err)
	}
	for ref, key := range map[string]*PublicKey{
		filepath.Join(dir, "sm2.key"):                keys[0],
		filepath.Join("testdata", "openssl-sm2.key"): openssl,
	} {
		s, err := LoadSigner(ctx, ref, LoadOptions{Password: password("pass word")})
		if err != nil {
			t.Fatal(err)
		}
		if s.Public().ID() != key.ID() {
			t.Errorf("%s: key %s, want %s", ref, s.Public().ID(), key.ID())
		}
		b, err := SignIndex(ctx, s, index)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(b); err != nil {
			t.Error(err)
		}
		m, err := ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.VerifyWith(key, index); err != nil {
			t.Error(err)
		}
		if m.Covers([]byte("other")) || m.VerifyWith(key, []byte("other")) == nil {
			t.Error("it passes for another index")
		}
		m.Hint = ""
		if m.VerifyWith(publicKey(t, "cosign-p256.pub"), index) == nil {
			t.Error("it passes with an ECDSA key")
		}
		e, err := SignEnvelope(ctx, s, "text/plain", []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		env, err := ParseEnvelope(e)
		if err != nil || env.VerifyWith(key) != nil {
			t.Errorf("envelope: %v", err)
		}
	}
	for _, at := range []int{30, 60, 90} {
		block, _ := pem.Decode(public)
		block.Bytes[at] ^= 1
		if at == 60 {
			block.Bytes = append(block.Bytes, 0)
		}
		if _, err := ParsePublicKeys("bad.pub", pem.EncodeToMemory(block)); !errors.Is(err, ErrKey) {
			t.Errorf("a damaged key (%d): %v", at, err)
		}
	}
}

// An envelope must bind its payload to its type, and have exactly one
// signature.
func TestEnvelope(t *testing.T) {
	ctx := context.Background()
	for _, name := range cosignKeys {
		s, err := LoadSigner(ctx, filepath.Join("testdata", "cosign-"+name+".key"), LoadOptions{Password: password("pass word")})
		if err != nil {
			t.Fatal(err)
		}
		data, err := SignEnvelope(ctx, s, "text/plain", []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(data); err != nil {
			t.Error(err)
		}
		for want, change := range map[string]func(e *Envelope){
			"":         func(*Envelope) {},
			"payload":  func(e *Envelope) { e.Payload = []byte("hellp") },
			"type":     func(e *Envelope) { e.PayloadType = "text/plaim" },
			"boundary": func(e *Envelope) { e.PayloadType, e.Payload = "text/plai", []byte("nhello") },
			"hint":     func(e *Envelope) { e.Hint = publicKey(t, "cosign-empty.pub").Hint() },
		} {
			e, err := ParseEnvelope(data)
			if err != nil {
				t.Fatal(err)
			}
			change(e)
			if err := e.VerifyWith(s.Public()); (err == nil) != (want == "") {
				t.Errorf("%s: another %s: %v", name, want, err)
			}
		}
	}
	const head = `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}}`
	for text, data := range map[string]string{
		"no DSSE envelope":                head + "}",
		"0 signatures instead of one":     head + `,"dsseEnvelope":{"payload":"aGk=","payloadType":"x"}}`,
		"2 signatures instead of one":     head + `,"dsseEnvelope":{"payload":"aGk=","payloadType":"x","signatures":[{"sig":"aGk="},{"sig":"aGk="}]}}`,
		"its signature is empty":          head + `,"dsseEnvelope":{"payload":"aGk=","payloadType":"x","signatures":[{}]}}`,
		"no Sigstore bundle in JSON":      head,
		"neither a public key's hint nor": `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payload":"aGk=","payloadType":"x","signatures":[{"sig":"aGk="}]}}`,
	} {
		if _, err := ParseEnvelope([]byte(data)); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
}
