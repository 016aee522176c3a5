package sign

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// realCosign gives a function that calls the cosign that BUNDLE_COSIGN names,
// in a folder, and without a network where the machine lets us.
func realCosign(t *testing.T) (dir string, run func(args ...string) (string, error)) {
	t.Helper()
	cosign := os.Getenv("BUNDLE_COSIGN")
	if cosign == "" {
		t.Skip("needs the real cosign: run the tests of test/cosign, or set BUNDLE_COSIGN")
	}
	dir = t.TempDir()
	isolated := runtime.GOOS == "linux" && exec.Command("unshare", "-rn", "true").Run() == nil
	return dir, func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		name := cosign
		if isolated {
			name, args = "unshare", append([]string{"-rn", cosign}, args...)
		}
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=pass word", "HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What bundle keygen and bundle sign make, cosign must take: the pair, the
// signature, and for no other index.
func TestRealCosignTakesOurs(t *testing.T) {
	dir, cosign := realCosign(t)
	ctx, index := context.Background(), read(t, "index.json")
	put(t, dir, "index.json", index)
	put(t, dir, "other.json", append(bytes.Clone(index), ' '))
	private, public, err := GenerateKey([]byte("pass word"))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteKeyPair(filepath.Join(dir, "ours"), private, public, false); err != nil {
		t.Fatal(err)
	}
	out, err := cosign("public-key", "--key", "ours.key")
	if err != nil || !strings.Contains(out, string(bytes.TrimSpace(public))) {
		t.Errorf("cosign cannot read our private key: %v\n%s", err, out)
	}
	signers := map[string]string{"ours": filepath.Join(dir, "ours.key")}
	for _, name := range cosignKeys {
		signers[name] = filepath.Join("testdata", "cosign-"+name+".key")
	}
	for name, ref := range signers {
		s, err := LoadSigner(ctx, ref, LoadOptions{Password: password("pass word")})
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := SignIndex(ctx, s, index)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, "1.sigstore.json", bundle)
		put(t, dir, "key.pub", s.Public().PEM())
		verify := []string{"verify-blob", "--key", "key.pub", "--bundle", "1.sigstore.json", "--insecure-ignore-tlog"}
		if out, err := cosign(append(verify, "index.json")...); err != nil || !strings.Contains(out, "Verified OK") {
			t.Errorf("%s: cosign refuses our signature: %v\n%s", name, err, out)
		}
		if out, err := cosign(append(verify, "other.json")...); err == nil {
			t.Errorf("%s: cosign takes our signature for another index:\n%s", name, out)
		}
	}
}

// What cosign makes, we must take, signed with or without a signing config.
func TestRealCosignIsTaken(t *testing.T) {
	dir, cosign := realCosign(t)
	index := read(t, "index.json")
	put(t, dir, "index.json", index)
	for _, args := range [][]string{
		{"generate-key-pair", "--output-key-prefix", "theirs"},
		{"sign-blob", "-y", "--key", "theirs.key", "--use-signing-config=false", "--tlog-upload=false", "--bundle", "1.json", "index.json"},
		{"signing-config", "create", "--out", "config.json"},
		{"sign-blob", "-y", "--key", "theirs.key", "--signing-config", "config.json", "--bundle", "2.json", "index.json"},
	} {
		if out, err := cosign(args...); err != nil {
			t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	keys, err := LoadPublicKeys(context.Background(), filepath.Join(dir, "theirs.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.json", "2.json"} {
		loose, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := Canonical(loose)
		if err != nil {
			t.Fatal(err)
		}
		for _, spelling := range [][]byte{loose, canonical} {
			m, err := ParseMessage(spelling)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.VerifyWith(keys[0], index); err != nil {
				t.Errorf("%s is refused: %v", name, err)
			}
		}
		// cosign must take its own bundle back from us.
		put(t, dir, "back.json", canonical)
		if out, err := cosign("verify-blob", "--key", "theirs.pub", "--bundle", "back.json", "--insecure-ignore-tlog", "index.json"); err != nil {
			t.Errorf("cosign refuses its signature in canonical form: %v\n%s", err, out)
		}
	}
}
