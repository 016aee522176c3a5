package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/verify"
	"bundle/verify/sign"
)

// trust holds the flags that say whom to believe.
type trust struct {
	keys             []string
	identity, issuer string
	trustedRoot      string
	signatures       []string
	skip             bool
}

func (t *trust) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&t.keys, "key", nil, "public key to trust: a file, env://VAR or a KMS URI; repeatable, one that signed is enough")
	f.StringVar(&t.identity, "certificate-identity", "", "identity in a Fulcio certificate to trust")
	f.StringVar(&t.issuer, "certificate-oidc-issuer", "", "issuer that vouches for the identity")
	f.StringVar(&t.trustedRoot, "trusted-root", "", "Sigstore's trusted_root.json; nothing is fetched")
	f.StringArrayVar(&t.signatures, "signature", nil, "a signature that lies beside the bundle; repeatable")
	f.BoolVar(&t.skip, "insecure-skip-signature", false, "check the content only: whole, but nobody knows whose")
	c.MarkFlagsRequiredTogether("certificate-identity", "certificate-oidc-issuer", "trusted-root")
	c.MarkFlagsMutuallyExclusive("key", "insecure-skip-signature")
	c.MarkFlagsMutuallyExclusive("key", "certificate-identity")
	c.MarkFlagsMutuallyExclusive("certificate-identity", "insecure-skip-signature")
}

// given tells whether the user said anything about trust.
func (t *trust) given() bool { return t.skip || len(t.keys) > 0 || t.identity != "" }

// policy gives what the flags trust; nil where they name nobody.
func (t *trust) policy(ctx context.Context) (verify.Policy, error) {
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
	}
	return nil, nil
}

// detached reads the signatures that lie beside the bundle.
func (t *trust) detached() ([]verify.Evidence, error) {
	list := make([]verify.Evidence, 0, len(t.signatures))
	for _, p := range t.signatures {
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

// openTrusted opens a bundle whose signature satisfies the flags, before
// anything of its index is parsed. Where the flags say nothing about trust it
// warns and goes on: its content is checked piece by piece all the same.
func (a *app) openTrusted(ctx context.Context, t *trust, path string) (*archive.Reader, error) {
	o, err := t.options(ctx)
	if err != nil {
		return nil, err
	}
	r, err := openReader(path)
	if err != nil {
		return nil, err
	}
	if err := a.checkTrust(ctx, t, o, r, path); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.Load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), r.Close())
	}
	return r, nil
}

func (a *app) checkTrust(ctx context.Context, t *trust, o verify.Options, r *archive.Reader, path string) error {
	switch {
	case t.skip:
		fmt.Fprintf(a.stderr, "warning: %s: the signature is not checked; nobody knows whose content this is\n", path)
		return nil
	case !t.given():
		fmt.Fprintf(a.stderr, "warning: %s: the signature is not checked, because no --key was given\n", path)
		return nil
	}
	_, err := verify.Trust(ctx, r, o)
	return err
}
