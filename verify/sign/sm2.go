package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"github.com/emmansun/gmsm/sm2"
)

// SM2 with SM3 (GB/T 32918, GB/T 32905), keys as GB/T 35276 and RFC 5915 have
// them, signatures in ASN.1 over the message with the standard's default user
// ID, as OpenSSL's and GmSSL's tools make them where they are told that ID.
type sm2Scheme struct{}

var (
	oidEC  = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSM2 = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
)

var errSM2 = errors.New("the SM2 key is damaged")

// spki is a SubjectPublicKeyInfo, pkcs8 a PrivateKeyInfo, sec1 an
// ECPrivateKey.
type spki struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

type pkcs8 struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

type sec1 struct {
	Version int
	Key     []byte
	Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

func (sm2Scheme) algorithm() string { return "SM2" }

func (sm2Scheme) owns(key any) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k != nil && k.Curve == sm2.P256()
	case *sm2.PrivateKey:
		return true
	}
	return false
}

// isSM2 tells whether an algorithm is an elliptic curve key on SM2's curve.
func isSM2(a pkix.AlgorithmIdentifier) bool {
	var curve asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(a.Parameters.FullBytes, &curve)
	return a.Algorithm.Equal(oidEC) && err == nil && len(rest) == 0 && curve.Equal(oidSM2)
}

func algorithmSM2() (pkix.AlgorithmIdentifier, error) {
	curve, err := asn1.Marshal(oidSM2)
	return pkix.AlgorithmIdentifier{Algorithm: oidEC, Parameters: asn1.RawValue{FullBytes: curve}}, err
}

func (s sm2Scheme) parsePublic(der []byte) (crypto.PublicKey, error) {
	var info spki
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 || !isSM2(info.Algorithm) {
		return nil, errOtherScheme
	}
	key, err := sm2.NewPublicKey(info.Key.RightAlign())
	if err != nil {
		return nil, errSM2
	}
	// One key has one spelling, for its ID is the sum of that.
	if canonical, err := s.marshalPublic(key); err != nil || !bytes.Equal(canonical, der) {
		return nil, errSM2
	}
	return key, nil
}

func (sm2Scheme) marshalPublic(key crypto.PublicKey) ([]byte, error) {
	k := key.(*ecdsa.PublicKey)
	a, err := algorithmSM2()
	if err != nil {
		return nil, err
	}
	point := elliptic.Marshal(k.Curve, k.X, k.Y) //lint:ignore SA1019 crypto/ecdh does not know the curve
	return asn1.Marshal(spki{a, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
}

func (sm2Scheme) parsePrivate(der []byte) (crypto.Signer, error) {
	var info pkcs8
	if _, err := asn1.Unmarshal(der, &info); err != nil || !isSM2(info.Algorithm) {
		return nil, errOtherScheme
	}
	var inner sec1
	if rest, err := asn1.Unmarshal(info.Key, &inner); err != nil || len(rest) > 0 || inner.Version != 1 {
		return nil, errSM2
	}
	key, err := sm2.NewPrivateKey(inner.Key)
	if err != nil {
		return nil, errSM2
	}
	return key, nil
}

func (sm2Scheme) marshalPrivate(key crypto.Signer) ([]byte, error) {
	k := key.(*sm2.PrivateKey)
	a, err := algorithmSM2()
	if err != nil {
		return nil, err
	}
	inner, err := asn1.Marshal(sec1{Version: 1, Key: k.D.FillBytes(make([]byte, 32))})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(pkcs8{0, a, inner})
}

func (sm2Scheme) generate() (crypto.Signer, error) { return sm2.GenerateKey(rand.Reader) }

func (sm2Scheme) sign(key crypto.Signer, message []byte) ([]byte, error) {
	return key.(*sm2.PrivateKey).SignWithSM2(rand.Reader, nil, message)
}

func (sm2Scheme) verify(key crypto.PublicKey, message, sig []byte) bool {
	return sm2.VerifyASN1WithSM2(key.(*ecdsa.PublicKey), nil, message, sig)
}
