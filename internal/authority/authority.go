// Package authority is a private Sigstore for tests: it certifies identities,
// stamps times, and writes the trusted root that believes it.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Authority is a private Sigstore: a certificate authority and, if the test
// wants one, a timestamp authority. It has no network and no logs.
type Authority struct {
	// Stamps gives signatures a timestamp; Log makes the trusted root ask for a
	// log entry, which no signature has.
	Stamps, Log bool

	t         testing.TB
	root      *x509.Certificate
	rootKey   *ecdsa.PrivateKey
	stamp     *x509.Certificate
	stampKey  *ecdsa.PrivateKey
	notBefore time.Time
}

// New makes an authority; what fails ends the test.
func New(t testing.TB) *Authority {
	a := &Authority{t: t, notBefore: time.Now().Add(-time.Hour)}
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

func (a *Authority) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *Authority) certify(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
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

// TrustedRoot writes the authority's trusted_root.json.
func (a *Authority) TrustedRoot() []byte {
	a.t.Helper()
	end := a.notBefore.Add(240 * time.Hour)
	cas := []root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: a.root, URI: "https://ca.invalid", ValidityPeriodStart: a.root.NotBefore, ValidityPeriodEnd: end}}
	var stamps []root.TimestampingAuthority
	if a.Stamps {
		stamps = append(stamps, &root.SigstoreTimestampingAuthority{Root: a.root, Leaf: a.stamp, URI: "https://tsa.invalid", ValidityPeriodStart: a.root.NotBefore, ValidityPeriodEnd: end})
	}
	logs := map[string]*root.TransparencyLog{}
	if a.Log {
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

// Sign makes a Sigstore bundle over the bytes of an index, with a certificate
// that is valid for ten minutes from then on.
func (a *Authority) Sign(index []byte, subject, issuer string, from time.Time) []byte {
	a.t.Helper()
	sum := sha256.Sum256(index)
	material, sig := a.certified(sum, subject, issuer, from)
	return a.encode(m{"mediaType": mediaType, "verificationMaterial": material,
		"messageSignature": m{"messageDigest": m{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": sig}})
}

// SignEnvelope makes a Sigstore bundle with a DSSE envelope.
func (a *Authority) SignEnvelope(payloadType string, payload []byte, subject, issuer string, from time.Time) []byte {
	a.t.Helper()
	material, sig := a.certified(sha256.Sum256(dsse.PAE(payloadType, payload)), subject, issuer, from)
	return a.encode(m{"mediaType": mediaType, "verificationMaterial": material,
		"dsseEnvelope": m{"payloadType": payloadType, "payload": payload, "signatures": []m{{"sig": sig}}}})
}

const mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

type m = map[string]any

func (a *Authority) encode(v m) []byte {
	a.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// certified signs a sum with a new key and its certificate.
func (a *Authority) certified(sum [sha256.Size]byte, subject, issuer string, from time.Time) (material m, sig []byte) {
	a.t.Helper()
	issued, err := asn1.MarshalWithParams(issuer, "utf8")
	if err != nil {
		a.t.Fatal(err)
	}
	key := a.key()
	leaf := a.certify(&x509.Certificate{EmailAddresses: []string{subject}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, NotBefore: from, NotAfter: from.Add(10 * time.Minute),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issued}}}, a.root, key)
	if sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
		a.t.Fatal(err)
	}
	material = m{"certificate": m{"rawBytes": leaf.Raw}}
	if a.Stamps {
		over := sha256.Sum256(sig)
		t := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: over[:], Time: from.Add(time.Minute), Policy: asn1.ObjectIdentifier{1, 2, 3, 4, 1}, AddTSACertificate: true}
		response, err := t.CreateResponseWithOpts(a.stamp, a.stampKey, crypto.SHA256)
		if err != nil {
			a.t.Fatal(err)
		}
		material["timestampVerificationData"] = m{"rfc3161Timestamps": []m{{"signedTimestamp": response}}}
	}
	return material, sig
}
