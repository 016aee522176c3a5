package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature/kms"
)

// Signer is a private key that is ready to sign. It is safe for concurrent
// use.
type Signer struct {
	public *PublicKey
	// Exactly one of these is set.
	local   crypto.Signer
	service kms.SignerVerifier
}

// NewSigner makes a Signer of a private key in memory. name says where it
// came from. Errors wrap [ErrKey].
func NewSigner(name string, key crypto.Signer) (*Signer, error) {
	switch key.(type) {
	case *ecdsa.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey:
	default:
		if schemeOf(key) == nil {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a key of type %T; ECDSA, Ed25519, RSA and SM2 are supported", name, key)}
		}
	}
	public, err := NewPublicKey(name, key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{public: public, local: key}, nil
}

// Public is the key that checks what this Signer signs.
func (s *Signer) Public() *PublicKey { return s.public }

// SignIndex signs the bytes of an index.json and gives the signature as a
// Sigstore bundle in canonical form (see [Canonical]).
//
// Keys on this machine but SM2 sign deterministically (ECDSA by RFC 6979): the
// same index and key give the same bytes. Every signature is checked with the
// public key before it is returned.
func SignIndex(ctx context.Context, s *Signer, index []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sig, hash, err := s.sign(ctx, index)
	if err != nil {
		return nil, err
	}
	return newBundle(s.public, index, sig, hash)
}

// sign gives a signature over message and the hash it used.
func (s *Signer) sign(ctx context.Context, message []byte) ([]byte, crypto.Hash, error) {
	if s.service != nil {
		return s.signRemote(ctx, message)
	}
	// SHA-256 with every curve: it is what cosign verify-blob checks with.
	sum, err := hashOf(crypto.SHA256, message)
	if err != nil {
		return nil, 0, err
	}
	var sig []byte
	// No randomness: two builds of one lock shall be the same bytes.
	if special := schemeOf(s.local); special != nil {
		// But for SM2, which has no way without: two signatures differ.
		sig, err = special.sign(s.local, message)
	} else if k, ok := s.local.(ed25519.PrivateKey); ok {
		sig, err = k.Sign(nil, message, crypto.Hash(0))
	} else {
		sig, err = s.local.Sign(nil, sum, crypto.SHA256)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("key %s cannot sign: %w", s.public.name, err)
	}
	if err = s.public.Verify(message, sig, crypto.SHA256); err != nil {
		return nil, 0, &fault{class: ErrKey, text: "key " + s.public.name + " is damaged: its public half does not verify what it signs"}
	}
	return sig, crypto.SHA256, nil
}

func (s *Signer) signRemote(ctx context.Context, message []byte) ([]byte, crypto.Hash, error) {
	sig, err := s.service.SignMessage(bytes.NewReader(message), withContext(ctx))
	if err != nil {
		return nil, 0, fmt.Errorf("the key service does not sign with %s: %w", s.public.name, err)
	}
	// A service chooses the hash by the key's settings; the signature tells.
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if s.public.Verify(message, sig, hash) == nil {
			return sig, hash, nil
		}
	}
	return nil, 0, &fault{class: ErrKey, text: fmt.Sprintf("key %s (%s) signs in a way that cosign would not verify; use an ECDSA P-256 key with SHA-256", s.public.name, s.public.Algorithm())}
}
