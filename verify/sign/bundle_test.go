package sign

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Adding cosign's signature to a bundle must leave one spelling only, or a
// byte of the file could change unseen.
func TestCanonical(t *testing.T) {
	for _, name := range cosignKeys {
		loose := read(t, "cosign-"+name+".sigstore.json")
		if err := Check(loose); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "canonical") {
			t.Errorf("%s: cosign's own spelling passes as canonical: %v", name, err)
		}
		first, err := Canonical(loose)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Canonical(first)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: canonical form is not stable (%v):\n%s\n%s", name, err, first, second)
		}
		if err := Check(first); err != nil {
			t.Error(err)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	good, err := Canonical(read(t, "cosign-p256.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the fixture has no %q", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for name, c := range map[string]struct {
		data []byte
		text string
	}{
		"empty":         {nil, "no Sigstore bundle"},
		"text":          {[]byte("hello"), "no Sigstore bundle"},
		"null":          {[]byte("null"), "no Sigstore bundle"},
		"unknown field": {swap(`{"mediaType"`, `{"x":1,"mediaType"`), "no Sigstore bundle"},
		"twice":         {swap(`{"mediaType"`, `{"mediaType":"a","mediaType"`), "no Sigstore bundle"},
		"version":       {swap(`bundle.v0.3+json`, `bundle.v0.2+json`), "media type"},
		"old spelling":  {swap(`bundle.v0.3+json`, `bundle+json;version=0.3`), "media type"},
		"space":         {swap(`{"mediaType"`, `{ "mediaType"`), "canonical"},
		"line":          {append(bytes.Clone(good), '\n'), "canonical"},
		"escape":        {swap(`"mediaType"`, `"media\u0054ype"`), "canonical"},
		"snake case":    {swap(`"mediaType"`, `"media_type"`), "canonical"},
		"base64url":     {swap(`/`, `\/`), "canonical"},
		"padding bits":  {swap(`="`, `"`), "canonical"},
		"deep":          {[]byte(strings.Repeat("[", 1<<16)), "too deep"},
		"long":          {make([]byte, MaxBundle+1), "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Check(c.data); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

func TestParseMessageRefuses(t *testing.T) {
	const (
		head   = `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",`
		key    = `"verificationMaterial":{"publicKey":{"hint":"aGludA=="}}`
		digest = `{"algorithm":"SHA2_256","digest":"uv69Nhia02iLezkV6lXUYeC/z73eEeVLChI5mftr5Q8="}`
	)
	for text, data := range map[string]string{
		"no message signature":            head + key + `}`,
		"no Sigstore bundle":              head + key + `,"messageSignature":5}`,
		"its signature is empty":          head + key + `,"messageSignature":{"messageDigest":` + digest + `}}`,
		"neither a public key's hint nor": head + `"messageSignature":{"messageDigest":` + digest + `,"signature":"AAAA"}}`,
		"its certificate is empty":        head + `"verificationMaterial":{"certificate":{}},"messageSignature":{"messageDigest":` + digest + `,"signature":"AAAA"}}`,
		"not its algorithm":               head + key + `,"messageSignature":{"messageDigest":{"digest":"AAAA"},"signature":"AAAA"}}`,
		"has 3 bytes instead of 32":       head + key + `,"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAA"},"signature":"AAAA"}}`,
		"it uses hash SHA3_256":           head + key + `,"messageSignature":{"messageDigest":{"algorithm":"SHA3_256","digest":"AAAA"},"signature":"AAAA"}}`,
	} {
		if _, err := ParseMessage([]byte(data)); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
}

// A declared digest of no algorithm must not let ECDSA or RSA pass.
func TestNoDigest(t *testing.T) {
	index := read(t, "index.json")
	for _, name := range []string{"p256", "rsa"} {
		m, err := ParseMessage(read(t, "cosign-"+name+".sigstore.json"))
		if err != nil {
			t.Fatal(err)
		}
		m.Hash, m.Sum = 0, nil
		if err := m.VerifyWith(publicKey(t, "cosign-"+name+".pub"), index); err == nil {
			t.Errorf("%s: accepted without a digest", name)
		}
	}
}
