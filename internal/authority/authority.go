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
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strconv"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Authority is a private Sigstore: a certificate authority and, if the test
// wants them, a timestamp authority and a transparency log. It has no network.
type Authority struct {
	// Stamps gives signatures a timestamp, Logs those over an index a log entry.
	Stamps, Logs bool
	// Log makes the trusted root ask for a log entry.
	Log bool
	// Entry, if set, changes a log entry before it is attached.
	Entry func(entry map[string]any)

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
		id := a.logID()
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
	if a.Logs {
		entry := a.logEntry(sum, sig, material["certificate"].(m)["rawBytes"].([]byte), from.Add(time.Minute))
		if a.Entry != nil {
			a.Entry(entry)
		}
		material["tlogEntries"] = []m{entry}
	}
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

// logID is what a log is known by: the digest of its key.
func (a *Authority) logID() [sha256.Size]byte {
	a.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(a.rootKey.Public())
	if err != nil {
		a.t.Fatal(err)
	}
	return sha256.Sum256(der)
}

// logEntry is one of Rekor v1, the only one of its log: kind hashedrekord, with
// the log's promise, and its proof in a signed checkpoint.
func (a *Authority) logEntry(sum [sha256.Size]byte, sig, certificate []byte, when time.Time) m {
	a.t.Helper()
	body := a.encode(m{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": m{
		"data": m{"hash": m{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}},
		"signature": m{"content": sig, "publicKey": m{
			"content": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})}},
	}})
	id := a.logID()
	promise := a.logSign(a.encode(m{"body": body, "integratedTime": when.Unix(), "logIndex": 0, "logID": hex.EncodeToString(id[:])}))
	root := sha256.Sum256(append([]byte{0}, body...))
	note := "log.invalid - 1\n1\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
	signed := base64.StdEncoding.EncodeToString(append(id[:4:4], a.logSign([]byte(note))...))
	return m{
		"logIndex": "0", "logId": m{"keyId": id[:]}, "kindVersion": m{"kind": "hashedrekord", "version": "0.0.1"},
		"integratedTime": strconv.FormatInt(when.Unix(), 10), "canonicalizedBody": body,
		"inclusionPromise": m{"signedEntryTimestamp": promise},
		"inclusionProof": m{"logIndex": "0", "rootHash": root[:], "treeSize": "1", "hashes": []string{},
			"checkpoint": m{"envelope": note + "\n\u2014 log.invalid " + signed + "\n"}},
	}
}

func (a *Authority) logSign(data []byte) []byte {
	a.t.Helper()
	sum := sha256.Sum256(data)
	sig, err := a.rootKey.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		a.t.Fatal(err)
	}
	return sig
}
