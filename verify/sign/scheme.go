package sign

import (
	"crypto"
	"errors"
	"slices"
)

// scheme is a kind of key that crypto/x509 and cosign do not know. What it
// signs is a Sigstore bundle like any other, and only this tool verifies it.
// There is one, SM2; another is one more file like sm2.go and one entry below.
type scheme interface {
	// algorithm names the kind for a person.
	algorithm() string
	// owns tells whether a key, private or public, is of this kind.
	owns(key any) bool
	// parsePublic reads PKIX and parsePrivate PKCS#8, both in DER. They err
	// with errOtherScheme where the key says to be of another kind.
	parsePublic(der []byte) (crypto.PublicKey, error)
	parsePrivate(der []byte) (crypto.Signer, error)
	marshalPublic(key crypto.PublicKey) ([]byte, error)
	marshalPrivate(key crypto.Signer) ([]byte, error)
	generate() (crypto.Signer, error)
	// sign and verify take the whole message and hash it as the kind does.
	sign(key crypto.Signer, message []byte) ([]byte, error)
	verify(key crypto.PublicKey, message, sig []byte) bool
}

var schemes = []scheme{sm2Scheme{}}

var errOtherScheme = errors.New("a key of another kind")

// schemeOf gives the scheme of a key; nil where it is one of crypto/x509.
func schemeOf(key any) scheme {
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.owns(key) })
	if i < 0 {
		return nil
	}
	return schemes[i]
}

// parseScheme tries the schemes, one after the other.
func parseScheme[K any](parse func(scheme) (K, error)) (K, error) {
	for _, s := range schemes {
		if key, err := parse(s); !errors.Is(err, errOtherScheme) {
			return key, err
		}
	}
	var none K
	return none, errOtherScheme
}
