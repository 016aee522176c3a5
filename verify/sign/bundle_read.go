package sign

import (
	"bytes"
	"crypto"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
)

// Message is what a Sigstore bundle with a message signature says, not yet
// believed.
type Message struct {
	// Hint names the key, as [PublicKey.Hint] does; empty where the bundle
	// names none or carries a certificate.
	Hint string
	// Certificate is the signer's certificate, DER; nil for signatures by key.
	Certificate []byte
	// Signature is the signature itself.
	Signature []byte
	// Hash is the one the signature declares; 0 where it declares none, as
	// cosign does for Ed25519.
	Hash crypto.Hash
	// Sum is the declared hash of the signed bytes.
	Sum []byte
}

// ParseMessage reads a Sigstore bundle with a message signature, in any
// spelling. Errors wrap [ErrBundle].
func ParseMessage(data []byte) (*Message, error) {
	b, err := parse(data)
	if err != nil {
		return nil, err
	}
	content, ok := b.GetContent().(*protobundle.Bundle_MessageSignature)
	if !ok || content.MessageSignature == nil {
		return nil, &fault{class: ErrBundle, text: "it holds no message signature (cosign sign-blob makes one)"}
	}
	m := &Message{Signature: content.MessageSignature.GetSignature()}
	if len(m.Signature) == 0 {
		return nil, &fault{class: ErrBundle, text: "its signature is empty"}
	}
	output := content.MessageSignature.GetMessageDigest()
	m.Sum = output.GetDigest()
	switch algorithm := output.GetAlgorithm(); algorithm {
	case protocommon.HashAlgorithm_SHA2_256:
		m.Hash = crypto.SHA256
	case protocommon.HashAlgorithm_SHA2_384:
		m.Hash = crypto.SHA384
	case protocommon.HashAlgorithm_SHA2_512:
		m.Hash = crypto.SHA512
	case protocommon.HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED:
		if len(m.Sum) > 0 {
			return nil, &fault{class: ErrBundle, text: "it gives a digest and not its algorithm"}
		}
	default:
		return nil, &fault{class: ErrBundle, text: fmt.Sprintf("it uses hash %v; SHA2_256, SHA2_384 and SHA2_512 are supported", algorithm)}
	}
	if m.Hash != 0 && len(m.Sum) != m.Hash.Size() {
		return nil, &fault{class: ErrBundle, text: fmt.Sprintf("its digest has %d bytes instead of %d", len(m.Sum), m.Hash.Size())}
	}
	if m.Hint, m.Certificate, err = material(b); err != nil {
		return nil, err
	}
	return m, nil
}

// material gives who a bundle says to have signed.
func material(b *protobundle.Bundle) (hint string, certificate []byte, err error) {
	switch m := b.GetVerificationMaterial().GetContent().(type) {
	case *protobundle.VerificationMaterial_PublicKey:
		return m.PublicKey.GetHint(), nil, nil
	case *protobundle.VerificationMaterial_Certificate:
		certificate = m.Certificate.GetRawBytes()
		if len(certificate) == 0 {
			return "", nil, &fault{class: ErrBundle, text: "its certificate is empty"}
		}
		return "", certificate, nil
	}
	return "", nil, &fault{class: ErrBundle, text: "it holds neither a public key's hint nor a certificate"}
}

// Covers tells whether the bundle says that it signs these bytes. It proves
// nothing; it tells a signature of another bundle from a broken one. Bundles
// that declare no digest cover anything.
func (m *Message) Covers(message []byte) bool {
	if m.Hash == 0 {
		return true
	}
	sum, err := hashOf(m.Hash, message)
	return err == nil && bytes.Equal(sum, m.Sum)
}

// VerifyWith checks the signature over message with key. It says nothing
// about whether key is trusted.
func (m *Message) VerifyWith(key *PublicKey, message []byte) error {
	if m.Hint != "" && m.Hint != key.Hint() {
		return errSignature
	}
	if !m.Covers(message) {
		return errSignature
	}
	return key.Verify(message, m.Signature, m.Hash)
}
