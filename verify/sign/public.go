package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature/kms"
)

// Bounds on RSA keys: shorter ones can be broken, longer ones make a verifier
// work for whoever sent them.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// maxPublicKeys bounds how many keys one file may hold.
const maxPublicKeys = 256

// errSignature is the one answer of a failed check: why a signature does not
// verify is nothing cryptography can tell.
var errSignature = errors.New("the signature does not verify")

// PublicKey is a key that signatures are checked with.
type PublicKey struct {
	key crypto.PublicKey
	der []byte
	sum [sha256.Size]byte
	// name is where the key came from, for messages.
	name string
}

// NewPublicKey takes an ECDSA (P-256, P-384, P-521), Ed25519, RSA (2048 to
// 8192 bits) or SM2 public key. name says where it came from. Errors wrap [ErrKey].
func NewPublicKey(name string, key crypto.PublicKey) (*PublicKey, error) {
	if s := schemeOf(key); s != nil {
		der, err := s.marshalPublic(key)
		if err != nil {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a public key that cannot be encoded: %v", name, err), cause: err}
		}
		return &PublicKey{key: key, der: der, sum: sha256.Sum256(der), name: name}, nil
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds an ECDSA key on curve %s; P-256, P-384 and P-521 are supported", name, k.Params().Name)}
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds an RSA key of %d bits; %d to %d are supported", name, n, minRSABits, maxRSABits)}
		}
	default:
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a key of type %T; ECDSA, Ed25519, RSA and SM2 are supported", name, key)}
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a public key that cannot be encoded: %v", name, err), cause: err}
	}
	return &PublicKey{key: key, der: der, sum: sha256.Sum256(der), name: name}, nil
}

// ParsePublicKeys reads the public keys of a PEM file: one or more blocks of
// type PUBLIC KEY (PKIX) or RSA PUBLIC KEY (PKCS#1). Errors wrap [ErrKey] and
// name the file by name.
func ParsePublicKeys(name string, data []byte) ([]*PublicKey, error) {
	var keys []*PublicKey
	rest := data
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		key, err := parsePublicBlock(name, block)
		if err != nil {
			return nil, err
		}
		if keys = append(keys, key); len(keys) > maxPublicKeys {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds more than %d keys", name, maxPublicKeys)}
		}
	}
	switch {
	case len(keys) == 0:
		return nil, &fault{class: ErrKey, text: name + " holds no PEM public key (a block that begins with -----BEGIN PUBLIC KEY-----)"}
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, &fault{class: ErrKey, text: name + " holds something after its last PEM block; it may be cut off or mixed up"}
	}
	return keys, nil
}

func parsePublicBlock(name string, block *pem.Block) (*PublicKey, error) {
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = parseScheme(func(s scheme) (crypto.PublicKey, error) { return s.parsePublic(block.Bytes) })
		if errors.Is(err, errOtherScheme) {
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		}
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		if isPrivateBlock(block.Type) {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a private key, and checking takes the public one (probably %s)", name, otherHalf(name))}
		}
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a PEM block of type %q, not a public key", name, block.Type)}
	}
	if err != nil {
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a public key that cannot be read: %v", name, err), cause: err}
	}
	return NewPublicKey(name, key)
}

// LoadPublicKeys reads public keys from ref: a PEM file, env://VARIABLE, or
// the URI of a key management service whose sigstore provider the program
// imports. Errors wrap [ErrKey] and name ref.
func LoadPublicKeys(ctx context.Context, ref string) ([]*PublicKey, error) {
	if isService(ref) {
		sv, err := service(ctx, ref)
		if err != nil {
			return nil, err
		}
		key, err := servicePublicKey(ctx, ref, sv)
		if err != nil {
			return nil, err
		}
		return []*PublicKey{key}, nil
	}
	data, err := readKey(ref, nil)
	if err != nil {
		return nil, err
	}
	return ParsePublicKeys(ref, data)
}

// ID is the SHA-256 of the key's PKIX encoding, in hex. It names a key in
// reports and policies.
func (k *PublicKey) ID() string { return hex.EncodeToString(k.sum[:]) }

// Hint is how a Sigstore bundle names the key: cosign's base64 of the same
// sum as [PublicKey.ID].
func (k *PublicKey) Hint() string { return base64.StdEncoding.EncodeToString(k.sum[:]) }

// Name says where the key came from: a file name, a URI.
func (k *PublicKey) Name() string { return k.name }

// PEM gives the key as a PKIX PEM block, as cosign writes it.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// Algorithm names the kind of key for a person: "ECDSA P-256", "Ed25519",
// "RSA 3072".
func (k *PublicKey) Algorithm() string {
	if s := schemeOf(k.key); s != nil {
		return s.algorithm()
	}
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	}
	return "unknown"
}

// Verify checks that sig was made over message with the key. hash is the one
// the signature declares; Ed25519 signs the message itself and, as cosign
// does for some, its SHA-512 (Ed25519ph), and SM2 has a hash of its own, so for
// those keys it does not matter.
func (k *PublicKey) Verify(message, sig []byte, hash crypto.Hash) error {
	if s := schemeOf(k.key); s != nil {
		if !s.verify(k.key, message, sig) {
			return errSignature
		}
		return nil
	}
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		if ed25519.Verify(key, message, sig) {
			return nil
		}
		return verifyEd25519ph(key, message, sig)
	case *ecdsa.PublicKey:
		sum, err := hashOf(hash, message)
		if err != nil {
			return err
		}
		if !ecdsa.VerifyASN1(key, sum, sig) {
			return errSignature
		}
		return nil
	case *rsa.PublicKey:
		sum, err := hashOf(hash, message)
		if err != nil {
			return err
		}
		if rsa.VerifyPKCS1v15(key, hash, sum, sig) != nil {
			return errSignature
		}
		return nil
	}
	return errSignature
}

func verifyEd25519ph(key ed25519.PublicKey, message, sig []byte) error {
	sum, err := hashOf(crypto.SHA512, message)
	if err != nil {
		return err
	}
	if ed25519.VerifyWithOptions(key, sum, sig, &ed25519.Options{Hash: crypto.SHA512}) != nil {
		return errSignature
	}
	return nil
}

// hashOf computes the hashes that signatures may use.
func hashOf(hash crypto.Hash, message []byte) ([]byte, error) {
	switch hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("the signature uses hash %v; SHA-256, SHA-384 and SHA-512 are supported", hash)
	}
	h := hash.New()
	h.Write(message)
	return h.Sum(nil), nil
}

func servicePublicKey(ctx context.Context, ref string, sv kms.SignerVerifier) (*PublicKey, error) {
	key, err := sv.PublicKey(withContext(ctx))
	if err != nil {
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("the key service does not give the public key of %s: %v", ref, err), cause: err}
	}
	return NewPublicKey(ref, key)
}
