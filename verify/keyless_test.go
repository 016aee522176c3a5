package verify

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"bundle/internal/authority"
)

// Certificates must be believed only for the right person, from the right
// issuer, at the right time, and with nothing but the given root.
func TestKeyless(t *testing.T) {
	const who, issuer = "release@example.com", "https://issuer.example.com"
	index := []byte("index")
	plain, stamped, logged, other := authority.New(t), authority.New(t), authority.New(t), authority.New(t)
	stamped.Stamps, logged.Stamps, logged.Log = true, true, true
	now, past := time.Now().Add(-time.Minute), time.Now().Add(-30*time.Minute)
	for name, c := range map[string]struct {
		sig             []byte
		subject, issuer string
		root            *authority.Authority
		text            string
	}{
		"now":            {plain.Sign(index, who, issuer, now), who, issuer, plain, ""},
		"expired":        {plain.Sign(index, who, issuer, past), who, issuer, plain, "certificate expired at"},
		"stamped":        {stamped.Sign(index, who, issuer, past), who, issuer, stamped, ""},
		"not stamped":    {plain.Sign(index, who, issuer, now), who, issuer, stamped, "does not pass as"},
		"log wanted":     {stamped.Sign(index, who, issuer, past), who, issuer, logged, "log inclusion"},
		"other person":   {plain.Sign(index, "eve@example.com", issuer, now), who, issuer, plain, "was made by eve@example.com (" + issuer + ")"},
		"other issuer":   {plain.Sign(index, who, "https://evil.example.com", now), who, issuer, plain, "https://evil.example.com"},
		"other root":     {other.Sign(index, who, issuer, now), who, issuer, plain, "does not pass as"},
		"other index":    {plain.Sign([]byte("other"), who, issuer, now), who, issuer, plain, "signs another index"},
		"no bundle":      {[]byte("{}"), who, issuer, plain, "cannot be used"},
		"no certificate": {[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"MAA="}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"G7wGAPV5BZrNx1BO/sEcFH/FmZyhxU3idTXXChUwVR0="},"signature":"MAA="}}`), who, issuer, plain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			policy, err := Keyless(Identity{Subject: c.subject, Issuer: c.issuer, TrustedRoot: c.root.TrustedRoot()})
			if err != nil {
				t.Fatal(err)
			}
			got := policy.Evaluate(context.Background(), index, []Evidence{{Name: "x", Data: c.sig}})
			good := c.text == "" && name != "no certificate"
			if good != (got.Status == StatusVerified) {
				t.Fatalf("%+v", got)
			}
			if good && (len(got.Signers) != 1 || got.Signers[0].Identity != who || got.Signers[0].Issuer != issuer || len(got.Signers[0].KeyID) != 64) {
				t.Errorf("signers %+v", got.Signers)
			}
			if !good && (len(got.Reasons) != 1 || !strings.Contains(got.Reasons[0], c.text)) {
				t.Errorf("reasons %q, want %q", got.Reasons, c.text)
			}
		})
	}
}

// As with the public Sigstore: the log says when it was signed, and that it was
// signed in public.
func TestKeylessInTheLog(t *testing.T) {
	const who, issuer = "release@example.com", "https://issuer.example.com"
	index, past := []byte("index"), time.Now().Add(-30*time.Minute)
	a, other := authority.New(t), authority.New(t)
	a.Log, a.Logs, other.Logs = true, true, true
	root := a.TrustedRoot()
	check := func(sig []byte) Signature {
		t.Helper()
		policy, err := Keyless(Identity{Subject: who, Issuer: issuer, TrustedRoot: root})
		if err != nil {
			t.Fatal(err)
		}
		return policy.Evaluate(t.Context(), index, []Evidence{{Name: "x", Data: sig}})
	}
	good := a.Sign(index, who, issuer, past)
	if got := check(good); got.Status != StatusVerified {
		t.Fatalf("%+v", got)
	}
	if got := check(other.Sign(index, who, issuer, past)); got.Status == StatusVerified {
		t.Error("a log that is not in the root is believed")
	}
	// Longer ago; the certificate has ended since.
	late := a.Sign(index, who, issuer, past.Add(-time.Hour))
	if got := check(late); got.Status != StatusVerified {
		t.Errorf("it was in the log in time: %+v", got)
	}
	type entry = map[string]any
	for name, change := range map[string]func(e entry){
		"another time":    func(e entry) { e["integratedTime"] = "1700000000" },
		"another body":    func(e entry) { b := e["canonicalizedBody"].([]byte); b[bytes.Index(b, []byte("0.0.1"))] = '1' },
		"another promise": func(e entry) { e["inclusionPromise"] = entry{"signedEntryTimestamp": []byte("MAA=")} },
		"no promise":      func(e entry) { delete(e, "inclusionPromise") },
		"no proof":        func(e entry) { delete(e, "inclusionProof") },
		"another root":    func(e entry) { e["inclusionProof"].(entry)["rootHash"] = make([]byte, 32) },
		"another checkpoint": func(e entry) {
			c := e["inclusionProof"].(entry)["checkpoint"].(entry)
			c["envelope"] = strings.Replace(c["envelope"].(string), "log.invalid - 1", "log.invalid - 2", 1)
		},
		"another log": func(e entry) { e["logId"] = entry{"keyId": make([]byte, 32)} },
	} {
		a.Entry = change
		if got := check(a.Sign(index, who, issuer, past)); got.Status == StatusVerified {
			t.Errorf("%s: it is believed", name)
		}
	}
	// The entry of another signature.
	var taken entry
	a.Entry = func(e entry) { taken = e }
	a.Sign([]byte("other"), who, issuer, past)
	a.Entry = func(e entry) { clear(e); maps.Copy(e, taken) }
	if got := check(a.Sign(index, who, issuer, past)); got.Status == StatusVerified {
		t.Error("the log entry of another index is believed")
	}
}

func TestKeylessNeeds(t *testing.T) {
	a := authority.New(t)
	for text, id := range map[string]Identity{
		"belong together":             {Subject: "x", TrustedRoot: a.TrustedRoot()},
		"needs a trusted root":        {Subject: "x", Issuer: "y"},
		"not Sigstore's trusted_root": {Subject: "x", Issuer: "y", TrustedRoot: []byte("{}")},
		"no certificate authority":    {Subject: "x", Issuer: "y", TrustedRoot: []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)},
		"is longer than":              {Subject: "x", Issuer: "y", TrustedRoot: make([]byte, maxTrustedRoot+1)},
	} {
		if _, err := Keyless(id); !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
}

// A key must not be taken for a certificate, nor the other way round.
func TestKeysAreNotIdentities(t *testing.T) {
	s, a := signer(t), authority.New(t)
	b := standard(t)
	b.finish()
	p := b.plan()
	keyless, err := Keyless(Identity{Subject: "me@example.com", Issuer: "https://i.example.com", TrustedRoot: a.TrustedRoot()})
	if err != nil {
		t.Fatal(err)
	}
	byKey := b.writePlan(p, s)
	if _, err := both(t, byKey, Options{Policy: keyless}); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "only certificate identities are trusted") {
		t.Errorf("error %v", err)
	}
	beside := []Evidence{{Name: "beside.json", Data: a.Sign(p.IndexBytes(), "me@example.com", "https://i.example.com", time.Now().Add(-time.Minute))}}
	byBoth, err := both(t, byKey, Options{Policy: keyless, Detached: beside})
	if err != nil || byBoth.Signature.Signers[0].Identity != "me@example.com" {
		t.Errorf("%+v, error %v", byBoth.Signature, err)
	}
	bare := b.commit(p)
	if _, err := both(t, bare, Options{Policy: Keys(s.Public()), Detached: beside}); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "only public keys are trusted") {
		t.Errorf("error %v", err)
	}
}

func TestClaims(t *testing.T) {
	s, a := signer(t), authority.New(t)
	b := standard(t)
	b.finish()
	p := b.plan()
	index := p.IndexBytes()
	cert := a.Sign(index, "me@example.com\x1b[2J", "https://i.example.com", time.Now())
	claims := Claims(index, [][]byte{signIndex(t, s, index), signIndex(t, s, []byte("other")), cert, []byte("{}"),
		bytes.Replace(cert, []byte(`"rawBytes":"MII`), []byte(`"rawBytes":"AAA`), 1)})
	for i, want := range []Claim{
		{Name: "signatures/1.sigstore.json", KeyID: s.Public().ID(), ThisIndex: true},
		{Name: "signatures/2.sigstore.json", KeyID: s.Public().ID()},
		{Name: "signatures/3.sigstore.json", ThisIndex: true, Identity: "me@example.com?[2J", Issuer: "https://i.example.com"},
		{Name: "signatures/4.sigstore.json", Problem: "it has media type \"\", not application/vnd.dev.sigstore.bundle.v0.3+json"},
		{Name: "signatures/5.sigstore.json", ThisIndex: true, Problem: "its certificate cannot be read"},
	} {
		got := claims[i]
		if i == 2 {
			if got.NotAfter == nil || got.NotBefore == nil || len(got.KeyID) != 64 {
				t.Errorf("claim %+v", got)
			}
			got.NotAfter, got.NotBefore, got.KeyID = nil, nil, ""
		}
		if got != want {
			t.Errorf("claim %+v, want %+v", got, want)
		}
	}
}
