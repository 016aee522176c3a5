package sign

import (
	"context"
	"crypto"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
)

// Envelope is what a Sigstore bundle with a DSSE envelope says, not yet
// believed: a payload that was signed together with its type.
type Envelope struct {
	// Hint names the key, as [PublicKey.Hint] does; empty where the bundle
	// names none or carries a certificate.
	Hint string
	// Certificate is the signer's certificate, DER; nil for signatures by key.
	Certificate []byte
	PayloadType string
	Payload     []byte
	// Signature is the only one of the envelope.
	Signature []byte
}

// SignEnvelope signs a payload with its type (DSSE) and gives a Sigstore
// bundle in canonical form. Keys on this machine sign deterministically, as
// with [SignIndex].
func SignEnvelope(ctx context.Context, s *Signer, payloadType string, payload []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sig, _, err := s.sign(ctx, dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, err
	}
	b := &protobundle.Bundle{
		MediaType:            MediaType,
		VerificationMaterial: keyMaterial(s.public),
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			PayloadType: payloadType, Payload: payload,
			Signatures: []*protodsse.Signature{{Sig: sig}},
		}},
	}
	out, err := encode(b)
	if err == nil && len(out) > MaxBundle {
		return nil, &fault{class: ErrBundle, text: fmt.Sprintf("what is to be signed has %d bytes, and a Sigstore bundle may have %d in all", len(payload), MaxBundle)}
	}
	return out, err
}

// ParseEnvelope reads a Sigstore bundle with a DSSE envelope, in any spelling.
// Errors wrap [ErrBundle].
func ParseEnvelope(data []byte) (*Envelope, error) {
	b, err := parse(data)
	if err != nil {
		return nil, err
	}
	in := b.GetDsseEnvelope()
	switch {
	case in == nil:
		return nil, &fault{class: ErrBundle, text: "it holds no DSSE envelope"}
	case len(in.GetSignatures()) != 1:
		return nil, &fault{class: ErrBundle, text: fmt.Sprintf("its envelope has %d signatures instead of one", len(in.GetSignatures()))}
	case len(in.GetSignatures()[0].GetSig()) == 0:
		return nil, &fault{class: ErrBundle, text: "its signature is empty"}
	}
	e := &Envelope{PayloadType: in.GetPayloadType(), Payload: in.GetPayload(), Signature: in.GetSignatures()[0].GetSig()}
	if e.Hint, e.Certificate, err = material(b); err != nil {
		return nil, err
	}
	return e, nil
}

// VerifyWith checks the signature with key. It says nothing about whether key
// is trusted. Envelopes do not tell their hash, so each of the three is tried.
func (e *Envelope) VerifyWith(key *PublicKey) error {
	if e.Hint != "" && e.Hint != key.Hint() {
		return errSignature
	}
	return key.VerifyAnyHash(dsse.PAE(e.PayloadType, e.Payload), e.Signature)
}

// VerifyAnyHash is [PublicKey.Verify] for signatures that do not declare their
// hash: SHA-256, SHA-384 and SHA-512 are tried.
func (k *PublicKey) VerifyAnyHash(message, sig []byte) error {
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if k.Verify(message, sig, hash) == nil {
			return nil
		}
	}
	return errSignature
}
