package verify

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/verify/sign"
)

// Evidence is one signature, not yet believed.
type Evidence struct {
	// Name says where it came from: a member of the bundle, a file.
	Name string
	// Data is a Sigstore bundle in JSON.
	Data []byte
}

// Policy decides whether signatures make an index trusted.
type Policy interface {
	// Evaluate judges the signatures over the bytes of index.json. Only a
	// Status of [StatusVerified] makes the bundle trusted. It is given all
	// signatures at once so that a policy may count them.
	Evaluate(ctx context.Context, index []byte, signatures []Evidence) Signature
}

// ContentPolicy is a Policy that also asks something of what is inside, such
// as that images carry signatures of their own.
type ContentPolicy interface {
	Policy
	// EvaluateContent judges what an index that Evaluate trusts lists. It gives
	// a sentence for each thing that is not as the policy wants it. Its error
	// is that of read, which is no judgement.
	EvaluateContent(ctx context.Context, index *ocispec.Index, read ReadBlob) (reasons []string, err error)
}

// ReadBlob gives a whole blob of at most limit bytes, digest checked. What is
// longer is an error.
type ReadBlob func(ctx context.Context, d digest.Digest, limit int64) ([]byte, error)

// TrustContent judges what the policy asks of the content of a bundle that
// [Trust] trusts, as far as it asks for anything, and notes it in the report.
// r.Load must have been called. The error is the [*Verdict] of a bundle that
// is not trusted, or says that it could not be read.
func TrustContent(ctx context.Context, rep *Report, r *archive.Reader, o Options) error {
	if err := o.judgeContent(ctx, rep, fileHoldings{r}); err != nil {
		return err
	}
	if !rep.Signature.trusted() {
		return rep.Err()
	}
	return nil
}

// judgeContent asks a ContentPolicy; what it refuses makes the report's
// signature untrusted.
func (o *Options) judgeContent(ctx context.Context, rep *Report, held holdings) error {
	p, ok := o.Policy.(ContentPolicy)
	if !ok || o.SkipSignature || held.Index() == nil {
		return nil
	}
	reasons, err := p.EvaluateContent(ctx, held.Index(), func(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
		raw, err := held.read(ctx, d, limit)
		switch {
		case errors.Is(err, errNotJSON):
			return nil, nil // a stream does not keep what can be no signature
		case err == nil && int64(len(raw)) > limit:
			return nil, fmt.Errorf("blob %s has %d bytes, and at most %d are read", d, len(raw), limit)
		}
		return raw, err
	})
	if err != nil {
		return err
	}
	if len(reasons) > 0 {
		rep.Signature.Status = StatusUntrusted
		rep.Signature.Reasons = append(reasons, rep.Signature.Reasons...)
	}
	return nil
}

// judge applies the options to what a bundle carries.
func (o *Options) judge(ctx context.Context, index []byte, embedded []Evidence) Signature {
	switch all := slices.Concat(embedded, o.Detached); {
	case o.SkipSignature:
		return Signature{Status: StatusSkipped, Signers: []Signer{}}
	case o.Policy == nil:
		return Signature{Status: StatusUntrusted, Signers: []Signer{}, Reasons: []string{"no key, identity or policy was given to check the signature with"}}
	case len(all) == 0 && !isPinned(o.Policy):
		return Signature{Status: StatusUnsigned, Signers: []Signer{}}
	default:
		s := o.Policy.Evaluate(ctx, index, all)
		if s.Signers == nil {
			s.Signers = []Signer{}
		}
		return s
	}
}

func (s Signature) trusted() bool {
	return s.Status == StatusVerified || s.Status == StatusSkipped
}

// embedded names the signature members of a bundle.
func embedded(signatures [][]byte) []Evidence {
	list := make([]Evidence, len(signatures))
	for i, data := range signatures {
		list[i] = Evidence{Name: fmt.Sprintf("signatures/%d.sigstore.json", i+1), Data: data}
	}
	return list
}

// Keys trusts an index that at least one of the given keys has signed.
func Keys(keys ...*sign.PublicKey) Policy { return keyPolicy(keys) }

type keyPolicy []*sign.PublicKey

func (p keyPolicy) Evaluate(_ context.Context, index []byte, signatures []Evidence) Signature {
	return each(signatures, func(e Evidence) (Signer, error) { return p.check(index, e) })
}

// each collects what check says about every signature; one valid signer is
// enough.
func each(signatures []Evidence, check func(Evidence) (Signer, error)) Signature {
	s := Signature{Status: StatusUntrusted, Signers: []Signer{}}
	for _, e := range signatures {
		signer, err := check(e)
		switch {
		case err != nil:
			s.Reasons = append(s.Reasons, clean(err.Error(), maxTextBytes))
		case !slices.Contains(s.Signers, signer):
			s.Signers = append(s.Signers, signer)
		}
	}
	if len(s.Signers) > 0 {
		s.Status = StatusVerified
	}
	return s
}

func (p keyPolicy) check(index []byte, e Evidence) (Signer, error) {
	m, err := sign.ParseMessage(e.Data)
	if err != nil {
		return Signer{}, fmt.Errorf("%s cannot be used: %w", e.Name, err)
	}
	if m.Certificate != nil {
		return Signer{}, fmt.Errorf("%s was made with a certificate, and only public keys are trusted", e.Name)
	}
	for _, key := range p {
		if m.VerifyWith(key, index) == nil {
			return Signer{KeyID: key.ID(), Identity: key.Name()}, nil
		}
	}
	return Signer{}, p.explain(index, e, m)
}

// explain says why no key verifies a signature.
func (p keyPolicy) explain(index []byte, e Evidence, m *sign.Message) error {
	known := slices.ContainsFunc(p, func(k *sign.PublicKey) bool { return m.Hint == k.Hint() })
	switch {
	case !m.Covers(index):
		return fmt.Errorf("%s signs another index (%s): the index was changed after signing, or the signature belongs to another bundle", e.Name, shortSum(m))
	case known:
		return fmt.Errorf("%s names key %s, and that key did not make it", e.Name, hintID(m.Hint))
	case m.Hint == "":
		return fmt.Errorf("%s was made with none of the trusted keys (%s)", e.Name, p.list())
	}
	return fmt.Errorf("%s was made with key %s, and trusted are %s", e.Name, hintID(m.Hint), p.list())
}

func (p keyPolicy) list() string {
	if len(p) == 0 {
		return "none"
	}
	const most = 5
	var names []string
	for i, k := range p {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(p)-most))
			break
		}
		names = append(names, fmt.Sprintf("%s (%s)", shortID(k.ID()), k.Name()))
	}
	return strings.Join(names, ", ")
}

// hintID gives the key ID that a bundle's hint stands for, as a person
// compares it with the list of keys.
func hintID(hint string) string {
	sum, err := base64.StdEncoding.DecodeString(hint)
	if err != nil || len(sum) != crypto.SHA256.Size() {
		return fmt.Sprintf("%.60q", hint)
	}
	return shortID(hex.EncodeToString(sum))
}

// shortID is as much of a key ID as a person compares.
func shortID(id string) string { return id[:min(len(id), 16)] }

func shortSum(m *sign.Message) string {
	sum := hex.EncodeToString(m.Sum)
	return sum[:min(len(sum), 16)] + "…"
}

// AnyOf trusts an index that at least one of the policies trusts.
func AnyOf(policies ...Policy) Policy { return anyOf(policies) }

type anyOf []Policy

func (p anyOf) Evaluate(ctx context.Context, index []byte, signatures []Evidence) Signature {
	all := Signature{Status: StatusUntrusted, Signers: []Signer{}}
	for _, policy := range p {
		s := policy.Evaluate(ctx, index, signatures)
		if s.Status != StatusVerified {
			all.Reasons = append(all.Reasons, s.Reasons...)
			continue
		}
		all.Status = StatusVerified
		for _, signer := range s.Signers {
			if !slices.Contains(all.Signers, signer) {
				all.Signers = append(all.Signers, signer)
			}
		}
	}
	return all
}

// Pinned trusts the bundles whose index has one of the given digests, whoever
// signed them: somebody has told which file is meant.
func Pinned(indexes ...digest.Digest) Policy { return pinned(indexes) }

type pinned []digest.Digest

func (p pinned) Evaluate(_ context.Context, index []byte, _ []Evidence) Signature {
	if d := digest.FromBytes(index); !slices.Contains(p, d) {
		return Signature{Status: StatusUntrusted, Reasons: []string{fmt.Sprintf("its index is %s, which is not the one that was asked for", d)}}
	}
	return Signature{Status: StatusVerified}
}

// isPinned tells whether a policy needs no signature.
func isPinned(p Policy) bool { _, ok := p.(pinned); return ok }
