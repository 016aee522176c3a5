package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/verify"
	"bundle/verify/policy"
	"bundle/verify/sign"
)

// trust holds the flags that say whom to believe.
type trust struct {
	keys             []string
	identity, issuer string
	trustedRoot      string
	signatures       []string
	skip             bool

	policyFile, stateFile string
	statements, indexes   []string

	cmd *cobra.Command
	// judge applies policyFile; it is made once.
	judge *policy.Judge
}

func (t *trust) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&t.keys, "key", nil, "public key to trust: a file, env://VAR or a KMS URI; repeatable, one that signed is enough")
	f.StringVar(&t.identity, "certificate-identity", "", "identity in a Fulcio certificate to trust")
	f.StringVar(&t.issuer, "certificate-oidc-issuer", "", "issuer that vouches for the identity")
	f.StringVar(&t.trustedRoot, "trusted-root", "", "Sigstore's trusted_root.json; nothing is fetched")
	f.StringArrayVar(&t.signatures, "signature", nil, "a signature that lies beside the bundle; repeatable")
	f.StringVar(&t.policyFile, "policy", "", "trust policy: who must have signed, from which version on, what is revoked")
	f.StringVar(&t.stateFile, "trust-state", "", "file in which this target remembers what it has accepted under a policy (default: one for this machine or user)")
	f.StringArrayVar(&t.statements, "statement", nil, "a successor of the policy or a revocation list, signed by the policy's administrators; repeatable")
	f.StringArrayVar(&t.indexes, "index", nil, "digest of an index to trust, as bundle verify prints it, whoever signed it; repeatable")
	f.BoolVar(&t.skip, "insecure-skip-signature", false, "check the content only: whole, but nobody knows whose")
	t.cmd = c
}

// given tells whether the user said anything about trust.
func (t *trust) given() bool {
	return t.skip || len(t.keys) > 0 || t.identity != "" || t.policyFile != "" || len(t.indexes) > 0
}

// check refuses flags that contradict each other. Cobra would too, but not as
// a usage error.
func (t *trust) check() error {
	var ways []string
	for _, way := range []struct {
		flag  string
		given bool
	}{
		{"--key", len(t.keys) > 0}, {"--certificate-identity", t.identity+t.issuer+t.trustedRoot != ""}, {"--policy", t.policyFile != ""},
		{"--index", len(t.indexes) > 0}, {"--insecure-skip-signature", t.skip},
	} {
		if way.given {
			ways = append(ways, way.flag)
		}
	}
	switch {
	case len(ways) > 1:
		return usagef("%s exclude each other", strings.Join(ways, " and "))
	case t.identity+t.issuer+t.trustedRoot != "" && (t.identity == "" || t.issuer == "" || t.trustedRoot == ""):
		return usagef("--certificate-identity, --certificate-oidc-issuer and --trusted-root belong together")
	case t.policyFile == "" && (t.stateFile != "" || len(t.statements) > 0):
		return usagef("--trust-state and --statement belong to a --policy")
	}
	return nil
}

// policy gives what the flags trust; nil where they name nobody.
func (t *trust) policy(ctx context.Context) (verify.Policy, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	switch {
	case len(t.keys) > 0:
		var keys []*sign.PublicKey
		for _, ref := range t.keys {
			k, err := sign.LoadPublicKeys(ctx, ref)
			if err != nil {
				return nil, usageError{err}
			}
			keys = append(keys, k...)
		}
		return verify.Keys(keys...), nil
	case t.identity != "":
		root, err := os.ReadFile(t.trustedRoot)
		if err != nil {
			return nil, usageError{err}
		}
		p, err := verify.Keyless(verify.Identity{Subject: t.identity, Issuer: t.issuer, TrustedRoot: root})
		if err != nil {
			return nil, usageError{err}
		}
		return p, nil
	case t.policyFile != "":
		return t.policyJudge()
	case len(t.indexes) > 0:
		var list []digest.Digest
		for _, s := range t.indexes {
			d := digest.Digest(s)
			if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
				return nil, usagef("--index %q is no digest like sha256:…", s)
			}
			list = append(list, d)
		}
		return verify.Pinned(list...), nil
	}
	return nil, nil
}

// policyJudge reads the policy, what this target remembers, and the statements
// that were given as files.
func (t *trust) policyJudge() (verify.Policy, error) {
	if t.judge != nil {
		return t.judge, nil
	}
	p, err := policy.Load(t.policyFile)
	if err != nil {
		return nil, usageError{err}
	}
	name := t.stateFile
	if name == "" {
		if name, err = policy.DefaultState(); err != nil {
			return nil, hint(err, "say where with --trust-state")
		}
	}
	state, err := policy.OpenState(name)
	if err != nil {
		return nil, err
	}
	j, err := p.Judge(policy.Options{State: state, Notice: func(text string) {
		fmt.Fprintf(t.cmd.ErrOrStderr(), "note: %s\n", text)
	}})
	if err != nil {
		return nil, err
	}
	files, err := readEvidence(t.statements)
	if err != nil {
		return nil, err
	}
	if err := j.Take(files); errors.Is(err, policy.ErrSyntax) {
		return nil, usageError{err}
	} else if err != nil {
		return nil, err
	}
	t.judge = j
	return j, nil
}

// remember notes what the policy has accepted, before it is acted on: nothing
// older is accepted here from then on.
func (t *trust) remember() error {
	if t.judge == nil {
		return nil
	}
	if err := t.judge.Remember(); err != nil {
		return hint(err, "name a file that can be written with --trust-state")
	}
	return nil
}

// detached reads the signatures that lie beside the bundle.
func (t *trust) detached() ([]verify.Evidence, error) { return readEvidence(t.signatures) }

// readEvidence reads files that hold a Sigstore bundle each.
func readEvidence(paths []string) ([]verify.Evidence, error) {
	list := make([]verify.Evidence, 0, len(paths))
	for _, p := range paths {
		data, err := readLimited(p, archive.MaxSignatureSize)
		if err != nil {
			return nil, usageError{err}
		}
		list = append(list, verify.Evidence{Name: p, Data: data})
	}
	return list, nil
}

func readLimited(p string, limit int64) ([]byte, error) {
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that it may have", p, info.Size(), limit)
	}
	return os.ReadFile(p)
}

// options gives what verify wants.
func (t *trust) options(ctx context.Context) (verify.Options, error) {
	o := verify.Options{SkipSignature: t.skip}
	var err error
	if o.Policy, err = t.policy(ctx); err != nil {
		return o, err
	}
	o.Detached, err = t.detached()
	return o, err
}
