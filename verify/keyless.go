package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"

	"bundle/verify/sign"
)

// Identity is a certificate identity to trust, and who must vouch for it.
type Identity struct {
	// Subject is the certificate's alternative name: a mail address, a URI.
	// It is compared whole.
	Subject string
	// Issuer is the OpenID Connect issuer. It is compared whole.
	Issuer string
	// TrustedRoot is Sigstore's trusted_root.json: the certificate
	// authorities, logs and timestamp authorities to believe. It is the only
	// source of trust; nothing is fetched.
	TrustedRoot []byte
}

// maxTrustedRoot bounds a trusted_root.json, in bytes.
const maxTrustedRoot = 8 << 20

// Keyless trusts an index that the given identity has signed with a
// certificate. What besides the certificate must be proven follows from the
// trusted root, never from the bundle: where the root lists certificate
// transparency logs, transparency logs or timestamp authorities, the
// signature must have a proof of each such kind; where it lists neither log
// nor timestamp authority, the certificate must be valid now. Errors wrap
// [ErrPolicy].
func Keyless(id Identity) (*KeylessPolicy, error) {
	if id.Subject == "" || id.Issuer == "" {
		return nil, fmt.Errorf("%w: a certificate identity and its issuer belong together", ErrPolicy)
	}
	if len(id.TrustedRoot) == 0 {
		return nil, fmt.Errorf("%w: a certificate identity needs a trusted root file (cosign trusted-root create makes one)", ErrPolicy)
	}
	if len(id.TrustedRoot) > maxTrustedRoot {
		return nil, fmt.Errorf("%w: the trusted root is longer than %d bytes", ErrPolicy, maxTrustedRoot)
	}
	material, err := root.NewTrustedRootFromJSON(id.TrustedRoot)
	if err != nil {
		return nil, fmt.Errorf("%w: the trusted root is not Sigstore's trusted_root.json: %w", ErrPolicy, err)
	}
	return newKeyless(id, material)
}

func newKeyless(id Identity, material root.TrustedMaterial) (*KeylessPolicy, error) {
	if len(material.FulcioCertificateAuthorities()) == 0 {
		return nil, fmt.Errorf("%w: the trusted root lists no certificate authority", ErrPolicy)
	}
	var options []sgverify.VerifierOption
	if len(material.CTLogs()) > 0 {
		options = append(options, sgverify.WithSignedCertificateTimestamps(1))
	}
	logs, stamps := len(material.RekorLogs()), len(material.TimestampingAuthorities())
	if logs > 0 {
		options = append(options, sgverify.WithTransparencyLog(1))
	}
	if logs+stamps > 0 {
		options = append(options, sgverify.WithObserverTimestamps(1))
	} else {
		options = append(options, sgverify.WithCurrentTime())
	}
	verifier, err := sgverify.NewVerifier(material, options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	identity, err := sgverify.NewShortCertificateIdentity(id.Issuer, "", id.Subject, "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return &KeylessPolicy{id: id, verifier: verifier, identity: identity, now: logs+stamps == 0}, nil
}

// KeylessPolicy is what [Keyless] makes. It is safe for concurrent use.
type KeylessPolicy struct {
	id       Identity
	verifier *sgverify.Verifier
	identity sgverify.CertificateIdentity
	// now: certificates must be valid now.
	now bool
}

// Evaluate implements [Policy].
func (p *KeylessPolicy) Evaluate(_ context.Context, index []byte, signatures []Evidence) Signature {
	return each(signatures, func(e Evidence) (Signer, error) { return p.Check(index, e) })
}

// Check tells who of the identity has signed the index; the error says why it
// was not the identity.
func (p *KeylessPolicy) Check(index []byte, e Evidence) (Signer, error) {
	m, err := sign.ParseMessage(e.Data)
	if err != nil {
		return Signer{}, fmt.Errorf("%s cannot be used: %w", e.Name, err)
	}
	if m.Certificate == nil {
		return Signer{}, fmt.Errorf("%s was made with key %s, and only certificate identities are trusted", e.Name, hintID(m.Hint))
	}
	if !m.Covers(index) {
		return Signer{}, fmt.Errorf("%s signs another index (%s): the index was changed after signing, or the signature belongs to another bundle", e.Name, shortSum(m))
	}
	return p.prove(m.Certificate, e, sgverify.WithArtifact(bytes.NewReader(index)))
}

// CheckStatement is Check for an in-toto statement in a DSSE envelope that has
// the artifact of the given digest as a subject, as cosign makes it for
// images. What else the statement says is the caller's to read.
func (p *KeylessPolicy) CheckStatement(artifact digest.Digest, e Evidence) (Signer, error) {
	env, err := sign.ParseEnvelope(e.Data)
	if err != nil {
		return Signer{}, fmt.Errorf("%s cannot be used: %w", e.Name, err)
	}
	if env.Certificate == nil {
		return Signer{}, fmt.Errorf("%s was made with key %s, and only certificate identities are trusted", e.Name, hintID(env.Hint))
	}
	sum, err := hex.DecodeString(artifact.Encoded())
	if err != nil {
		return Signer{}, err
	}
	return p.prove(env.Certificate, e, sgverify.WithArtifactDigest(artifact.Algorithm().String(), sum))
}

// prove has sigstore judge certificate, signature and proofs.
func (p *KeylessPolicy) prove(certificate []byte, e Evidence, artifact sgverify.ArtifactPolicyOption) (Signer, error) {
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return Signer{}, fmt.Errorf("%s holds a certificate that cannot be read", e.Name)
	}
	key, err := sign.NewPublicKey(e.Name, cert.PublicKey)
	if err != nil {
		return Signer{}, err
	}
	entity := new(bundle.Bundle)
	if err := entity.UnmarshalJSON(e.Data); err != nil {
		return Signer{}, fmt.Errorf("%s cannot be used: %w", e.Name, err)
	}
	result, err := p.verifier.Verify(entity, sgverify.NewPolicy(artifact, sgverify.WithCertificateIdentity(p.identity)))
	if err != nil {
		who, issuer := certificateNames(cert)
		if p.now && time.Now().After(cert.NotAfter) {
			return Signer{}, fmt.Errorf("%s was made by %s (%s), whose certificate expired at %s; only a timestamp or a log entry could prove that it signed before, and the trusted root lists no authority for either",
				e.Name, who, issuer, cert.NotAfter.UTC().Format(time.RFC3339))
		}
		return Signer{}, fmt.Errorf("%s was made by %s (%s) and does not pass as %s (%s): %w", e.Name, who, issuer, p.id.Subject, p.id.Issuer, err)
	}
	summary := result.Signature.Certificate
	return Signer{KeyID: key.ID(), Identity: summary.SubjectAlternativeName, Issuer: summary.Issuer}, nil
}

// certificateNames gives what a certificate claims, made safe to print.
func certificateNames(cert *x509.Certificate) (subject, issuer string) {
	subject, issuer = "a certificate without a name", "issuer not named"
	if s, err := certificate.SummarizeCertificate(cert); err == nil {
		if s.SubjectAlternativeName != "" {
			subject = printable(s.SubjectAlternativeName)
		}
		if s.Issuer != "" {
			issuer = printable(s.Issuer)
		}
	}
	return subject, issuer
}
