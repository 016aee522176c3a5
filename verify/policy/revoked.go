package policy

import (
	"maps"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"bundle/verify"
)

// RevocationsKind is the kind of a revocation list.
const RevocationsKind = "Revocations"

// maxRevoked bounds each list of what is revoked.
const maxRevoked = 10000

// Revocations are what is not to be trusted any more, whoever signed it. The
// zero value revokes nothing.
type Revocations struct {
	// Policy is the name of the policy that a list is for.
	Policy string
	// Keys are key IDs in hex, identities those of certificates (any issuer),
	// indexes digests of bundles.
	keys, identities map[string]bool
	indexes          map[digest.Digest]bool
}

// ParseRevocations reads a revocation list. Errors wrap [ErrSyntax].
func ParseRevocations(name string, data []byte) (*Revocations, error) {
	doc, err := decode(name, data)
	if err != nil {
		return nil, err
	}
	p := &parser{reader: reader{name: name}}
	known := p.kind(RevocationsKind)
	var of string
	known["policy"] = func(n *yaml.Node) { of = p.label(n, "policy") }
	r := p.revocations(doc, "a revocation list", known, "apiVersion", "kind", "policy")
	if p.err != nil {
		return nil, p.err
	}
	r.Policy = of
	return r, nil
}

var keyIDRE = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (p *parser) revocations(n *yaml.Node, what string, known fields, required ...string) *Revocations {
	r := &Revocations{keys: map[string]bool{}, identities: map[string]bool{}, indexes: map[digest.Digest]bool{}}
	known["keys"] = func(n *yaml.Node) {
		p.items(n, "keys", maxRevoked, func(n *yaml.Node) {
			id := p.str(n, "a key ID")
			if !keyIDRE.MatchString(id) {
				p.bad(n, "bundle verify -o json prints it as keyID", "%.80q is no key ID, which has 64 hexadecimal digits", id)
			}
			r.keys[id] = true
		})
	}
	known["identities"] = func(n *yaml.Node) {
		p.items(n, "identities", maxRevoked, func(n *yaml.Node) { r.identities[p.str(n, "an identity")] = true })
	}
	known["indexes"] = func(n *yaml.Node) {
		p.items(n, "indexes", maxRevoked, func(n *yaml.Node) {
			d := digest.Digest(p.str(n, "an index"))
			if !strings.HasPrefix(d.String(), "sha256:") || d.Validate() != nil {
				p.bad(n, "bundle verify prints it as index", "%.80q is no digest like sha256:…", d)
			}
			r.indexes[d] = true
		})
	}
	p.object(n, what, known, required...)
	return r
}

// with gives both together.
func (r *Revocations) with(more *Revocations) *Revocations {
	all := &Revocations{keys: map[string]bool{}, identities: map[string]bool{}, indexes: map[digest.Digest]bool{}}
	for _, one := range []*Revocations{r, more} {
		if one != nil {
			maps.Copy(all.keys, one.keys)
			maps.Copy(all.identities, one.identities)
			maps.Copy(all.indexes, one.indexes)
		}
	}
	return all
}

// signer tells whether a key or identity of the policy is revoked.
func (r *Revocations) signer(s *signer) bool {
	return s.key != nil && r.keys[s.key.ID()] || s.identity != "" && r.identities[s.identity]
}

// made tells whether who made a signature is revoked: a certificate's own key
// may be, too.
func (r *Revocations) made(s verify.Signer) bool {
	return r.keys[s.KeyID] || s.Issuer != "" && r.identities[s.Identity]
}
