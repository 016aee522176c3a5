package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// authority is a private Sigstore: a certificate authority and, if the test
// wants one, a timestamp authority. It has no network and no logs.
type authority struct {
	t          *testing.T
	root       *x509.Certificate
	rootKey    *ecdsa.PrivateKey
	stamp      *x509.Certificate
	stampKey   *ecdsa.PrivateKey
	notBefore  time.Time
	withStamps bool
	withLog    bool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, notBefore: time.Now().Add(-time.Hour)}
	a.rootKey = a.key()
	a.root = a.certify(&x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: a.notBefore.Add(-24 * time.Hour), NotAfter: a.notBefore.Add(240 * time.Hour)}, nil, a.rootKey)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	a.stampKey = a.key()
	a.stamp = a.certify(&x509.Certificate{Subject: pkix.Name{CommonName: "tsa"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
		NotBefore:       a.notBefore.Add(-24 * time.Hour), NotAfter: a.notBefore.Add(240 * time.Hour)}, a.root, a.stampKey)
	return a
}

func (a *authority) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) certify(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.rootKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// trustedRoot writes the authority's trusted_root.json.
func (a *authority) trustedRoot() []byte {
	a.t.Helper()
	end := a.notBefore.Add(240 * time.Hour)
	cas := []root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: a.root, URI: "https://ca.invalid", ValidityPeriodStart: a.root.NotBefore, ValidityPeriodEnd: end}}
	var stamps []root.TimestampingAuthority
	if a.withStamps {
		stamps = append(stamps, &root.SigstoreTimestampingAuthority{Root: a.root, Leaf: a.stamp, URI: "https://tsa.invalid", ValidityPeriodStart: a.root.NotBefore, ValidityPeriodEnd: end})
	}
	logs := map[string]*root.TransparencyLog{}
	if a.withLog {
		der, err := x509.MarshalPKIXPublicKey(a.rootKey.Public())
		if err != nil {
			a.t.Fatal(err)
		}
		id := sha256.Sum256(der)
		logs["log"] = &root.TransparencyLog{BaseURL: "https://log.invalid", ID: id[:], HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			PublicKey: a.rootKey.Public(), ValidityPeriodStart: a.root.NotBefore, ValidityPeriodEnd: end}
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, cas, nil, stamps, logs)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := tr.MarshalJSON()
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// sign makes a Sigstore bundle with a certificate that is valid for ten
// minutes from then on.
func (a *authority) sign(index []byte, subject, issuer string, from time.Time) []byte {
	a.t.Helper()
	issued, err := asn1.MarshalWithParams(issuer, "utf8")
	if err != nil {
		a.t.Fatal(err)
	}
	key := a.key()
	leaf := a.certify(&x509.Certificate{EmailAddresses: []string{subject}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, NotBefore: from, NotAfter: from.Add(10 * time.Minute),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issued}}}, a.root, key)
	sum := sha256.Sum256(index)
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		a.t.Fatal(err)
	}
	type m = map[string]any
	material := m{"certificate": m{"rawBytes": leaf.Raw}}
	if a.withStamps {
		over := sha256.Sum256(sig)
		t := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: over[:], Time: from.Add(time.Minute), Policy: asn1.ObjectIdentifier{1, 2, 3, 4, 1}, AddTSACertificate: true}
		response, err := t.CreateResponseWithOpts(a.stamp, a.stampKey, crypto.SHA256)
		if err != nil {
			a.t.Fatal(err)
		}
		material["timestampVerificationData"] = m{"rfc3161Timestamps": []m{{"signedTimestamp": response}}}
	}
	raw, err := json.Marshal(m{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material,
		"messageSignature": m{"messageDigest": m{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": sig}})
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// Certificates must be believed only for the right person, from the right
// issuer, at the right time, and with nothing but the given root.
func TestKeyless(t *testing.T) {
	const who, issuer = "release@example.com", "https://issuer.example.com"
	index := []byte("index")
	plain, stamped, logged, other := newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t)
	stamped.withStamps, logged.withStamps, logged.withLog = true, true, true
	now, past := time.Now().Add(-time.Minute), time.Now().Add(-30*time.Minute)
	for name, c := range map[string]struct {
		sig             []byte
		subject, issuer string
		root            *authority
		text            string
	}{
		"now":            {plain.sign(index, who, issuer, now), who, issuer, plain, ""},
		"expired":        {plain.sign(index, who, issuer, past), who, issuer, plain, "certificate expired at"},
		"stamped":        {stamped.sign(index, who, issuer, past), who, issuer, stamped, ""},
		"not stamped":    {plain.sign(index, who, issuer, now), who, issuer, stamped, "does not pass as"},
		"log wanted":     {stamped.sign(index, who, issuer, past), who, issuer, logged, "log inclusion"},
		"other person":   {plain.sign(index, "eve@example.com", issuer, now), who, issuer, plain, "was made by eve@example.com (" + issuer + ")"},
		"other issuer":   {plain.sign(index, who, "https://evil.example.com", now), who, issuer, plain, "https://evil.example.com"},
		"other root":     {other.sign(index, who, issuer, now), who, issuer, plain, "does not pass as"},
		"other index":    {plain.sign([]byte("other"), who, issuer, now), who, issuer, plain, "signs another index"},
		"no bundle":      {[]byte("{}"), who, issuer, plain, "cannot be used"},
		"no certificate": {[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"MAA="}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"G7wGAPV5BZrNx1BO/sEcFH/FmZyhxU3idTXXChUwVR0="},"signature":"MAA="}}`), who, issuer, plain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			policy, err := Keyless(Identity{Subject: c.subject, Issuer: c.issuer, TrustedRoot: c.root.trustedRoot()})
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

func TestKeylessNeeds(t *testing.T) {
	a := newAuthority(t)
	for text, id := range map[string]Identity{
		"belong together":             {Subject: "x", TrustedRoot: a.trustedRoot()},
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
	s, a := signer(t), newAuthority(t)
	b := standard(t)
	b.finish()
	p := b.plan()
	keyless, err := Keyless(Identity{Subject: "me@example.com", Issuer: "https://i.example.com", TrustedRoot: a.trustedRoot()})
	if err != nil {
		t.Fatal(err)
	}
	byKey := b.writePlan(p, s)
	if _, err := both(t, byKey, Options{Policy: keyless}); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "only certificate identities are trusted") {
		t.Errorf("error %v", err)
	}
	beside := []Evidence{{Name: "beside.json", Data: a.sign(p.IndexBytes(), "me@example.com", "https://i.example.com", time.Now().Add(-time.Minute))}}
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
	s, a := signer(t), newAuthority(t)
	b := standard(t)
	b.finish()
	p := b.plan()
	index := p.IndexBytes()
	cert := a.sign(index, "me@example.com\x1b[2J", "https://i.example.com", time.Now())
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
