package sign

import (
	"bytes"
	"context"
	"testing"
)

// FuzzSignature feeds hostile Sigstore bundles: none may panic, none but the
// real one may verify, and what passes as canonical must have one spelling.
func FuzzSignature(f *testing.F) {
	index := read(f, "index.json")
	key := publicKey(f, "cosign-p256.pub")
	for _, name := range cosignKeys {
		loose := read(f, "cosign-"+name+".sigstore.json")
		f.Add(loose)
		canonical, err := Canonical(loose)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(canonical)
	}
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"MAA="}},"messageSignature":{}}`))
	f.Add([]byte(`{"dsseEnvelope":{},"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`))
	good, err := ParseMessage(read(f, "cosign-p256.sigstore.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if canonical, err := Canonical(data); err == nil {
			if err := Check(canonical); err != nil {
				t.Fatalf("canonical form is not stable: %v\n%q\n%q", err, data, canonical)
			}
		}
		if e, err := ParseEnvelope(data); err == nil && e.VerifyWith(key) == nil {
			t.Fatalf("a forged envelope verifies: %q", data)
		}
		m, err := ParseMessage(data)
		if err != nil {
			return
		}
		if m.VerifyWith(key, index) == nil && !bytes.Equal(m.Signature, good.Signature) {
			t.Fatalf("a forged signature verifies: %q", data)
		}
	})
}

// FuzzKey feeds hostile key files to both parsers.
func FuzzKey(f *testing.F) {
	for _, name := range append(cosignKeys, "empty") {
		f.Add(read(f, "cosign-"+name+".pub"))
	}
	f.Add(read(f, "openssl-sm2.pub"))
	f.Add(read(f, "openssl-sm2.key"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if keys, err := ParsePublicKeys("fuzz.pub", data); err == nil {
			for _, k := range keys {
				again, err := ParsePublicKeys("again.pub", k.PEM())
				if err != nil || again[0].ID() != k.ID() {
					t.Fatalf("a key does not survive its own PEM: %v", err)
				}
				_ = k.Verify([]byte("x"), data, 0)
			}
		}
		if key, err := parsePrivateKey(context.Background(), "fuzz.key", data, LoadOptions{}); err == nil {
			_, _ = NewSigner("fuzz.key", key)
		}
	})
}
