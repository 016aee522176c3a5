package receipt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/verify"
	"bundle/verify/sign"
)

func signer(t testing.TB) *sign.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.NewSigner("operator", key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func example(index []byte) Receipt {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return Receipt{
		Operation: Install, Time: at, Tool: "1.0", Operator: Operator{"alice", "jump"}, Outcome: OK,
		Bundles: []Bundle{{Name: "shop", Version: "1.2.0", IndexDigest: digest.FromBytes(index),
			Signature: &verify.Signature{Status: verify.StatusVerified, Signers: []verify.Signer{{KeyID: "k", Identity: "ci"}},
				Policy: &verify.PolicyResult{Name: "site", Serial: 2, Digest: digest.FromString("policy"), Roles: []verify.RoleResult{}}},
			Content: &Content{Status: verify.ContentWhole, Blobs: 3, Bytes: 1 << 40}}},
		Cluster: &Cluster{Name: "c", Started: at, Finished: at, Runs: 1, Steps: []Step{{ID: "a", Status: "done", Hosts: []string{"10.0.0.1"}, Started: at, Finished: at}},
			Acceptance: []Item{{"nodes", "pass", "all"}}, Images: []Image{{"pause", "sha256:x", 3, true}}},
	}
}

// A receipt must come back as it was made, and only from the right key and
// unchanged.
func TestReceipt(t *testing.T) {
	ctx, s, other := context.Background(), signer(t), signer(t)
	want := example([]byte("index"))
	data, err := Sign(ctx, s, want)
	if err != nil {
		t.Fatal(err)
	}
	keys := []*sign.PublicKey{other.Public(), s.Public()}
	got, key, err := Check(data, keys)
	if err != nil || key.ID() != s.Public().ID() || !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v\nwant %+v\nkey %v, error %v", got, want, key, err)
	}
	if _, _, err := Check(data, keys[:1]); !errors.Is(err, ErrUntrusted) {
		t.Errorf("another key: %v", err)
	}
	// One bit of the payload, in base64.
	i := bytes.Index(data, []byte(`"payload":"`)) + 40
	bad := bytes.Clone(data)
	bad[i] ^= 1
	if _, _, err := Check(bad, keys); !errors.Is(err, ErrUntrusted) && !errors.Is(err, ErrReceipt) {
		t.Errorf("a changed receipt: %v", err)
	}
	index, err := sign.SignIndex(ctx, s, []byte("index"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Check(index, keys); !errors.Is(err, ErrReceipt) {
		t.Errorf("a signature: %v", err)
	}
	for text, change := range map[string]func(r *Receipt){
		"names no bundle":     func(r *Receipt) { r.Bundles = nil },
		"index cannot":        func(r *Receipt) { r.Bundles[0].IndexDigest = "" },
		"cannot be read":      func(r *Receipt) { r.Bundles[0].IndexDigest = digest.SHA512.FromString("index") },
		`about "bake"`:        func(r *Receipt) { r.Operation = "bake" },
		`the outcome "great"`: func(r *Receipt) { r.Outcome = "great" },
	} {
		r := example([]byte("index"))
		change(&r)
		if _, err := Sign(ctx, s, r); !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	// What is signed and is no receipt must not pass as one.
	for text, payload := range map[string]any{
		"of type":       statement{statementType, want.subjects(), "https://example.com/x", want},
		"subjects":      statement{statementType, nil, PredicateType, want},
		"names no":      statement{statementType, nil, PredicateType, Receipt{}},
		"no JSON of":    []int{1},
		"its subjects ": statement{statementType, []subject{{"shop:1.2.0", map[string]string{"sha256": "x"}}}, PredicateType, want},
	} {
		raw, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		data, err := sign.SignEnvelope(ctx, s, payloadType, raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Check(data, keys); !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
}

// TestRealCosignReceipt has the real cosign check a receipt: anybody can, with
// the index that it is about.
func TestRealCosignReceipt(t *testing.T) {
	cosign := os.Getenv("BUNDLE_COSIGN")
	if cosign == "" {
		t.Skip("needs the real cosign: run the tests of test/cosign, or set BUNDLE_COSIGN")
	}
	dir, s := t.TempDir(), signer(t)
	data, err := Sign(t.Context(), s, example([]byte("index")))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"receipt.json": data, "op.pub": s.Public().PEM(), "index.json": []byte("index"), "other.json": []byte("other")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for index, good := range map[string]bool{"index.json": true, "other.json": false} {
		cmd := exec.CommandContext(t.Context(), cosign, "verify-blob-attestation", "--key", "op.pub", "--bundle", "receipt.json",
			"--type", PredicateType, "--insecure-ignore-tlog", index)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "HTTPS_PROXY=http://127.0.0.1:9")
		if out, err := cmd.CombinedOutput(); (err == nil) != good {
			t.Errorf("%s: %v\n%s", index, err, out)
		}
	}
}

// FuzzReceipt reads hostile statements, as a signer could make them.
func FuzzReceipt(f *testing.F) {
	r := example([]byte("index"))
	raw, err := json.Marshal(statement{statementType, r.subjects(), PredicateType, r})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://bundle.invalid/receipt/v1","predicate":{"bundles":[{"indexDigest":"x"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parse(data); err == nil && r.check() != nil {
			t.Fatal("a receipt that cannot be was taken")
		} else if err != nil && !errors.Is(err, ErrReceipt) {
			t.Fatal(err)
		}
	})
}
