package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bundle/archive"
	"bundle/verify/policy"
	"bundle/verify/sign"
)

// passwordVars are asked in this order before a prompt.
var passwordVars = []string{"BUNDLE_PASSWORD", "COSIGN_PASSWORD"}

// password gives the password of a key: from the environment, else from the
// terminal.
func (a *app) password(_ context.Context, name string) ([]byte, error) {
	if p, ok := envPassword(); ok {
		return p, nil
	}
	return a.prompt("Password for " + name + ": ")
}

func envPassword() ([]byte, bool) {
	for _, v := range passwordVars {
		if p, ok := os.LookupEnv(v); ok {
			return []byte(p), true
		}
	}
	return nil, false
}

func (a *app) prompt(text string) ([]byte, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, hint(usageError{errNoTerminal}, "put the password into BUNDLE_PASSWORD (empty is allowed)")
	}
	fmt.Fprint(a.stderr, text)
	p, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	return p, err
}

// newPassword asks for the password of a key that is about to be made.
func (a *app) newPassword() ([]byte, error) {
	if p, ok := envPassword(); ok {
		return p, nil
	}
	p, err := a.prompt("Password for the new key (empty for none): ")
	if err != nil {
		return nil, err
	}
	again, err := a.prompt("Again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p, again) {
		return nil, usagef("the two passwords differ; nothing was written")
	}
	return p, nil
}

// signFunc loads a signing key once and gives what build calls.
func (a *app) signFunc(ctx context.Context, keyref string) (func(context.Context, []byte) ([]byte, error), error) {
	signer, err := a.loadSigner(ctx, keyref)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, index []byte) ([]byte, error) { return sign.SignIndex(ctx, signer, index) }, nil
}

func (a *app) loadSigner(ctx context.Context, keyref string) (*sign.Signer, error) {
	_, known := envPassword()
	signer, err := sign.LoadSigner(ctx, keyref, sign.LoadOptions{
		Password: a.password, AtHand: known,
		Warn: func(text string) { fmt.Fprintf(a.stderr, "warning: %s\n", text) },
	})
	if err != nil {
		return nil, usageError{err}
	}
	// Opening an encrypted key takes 64 MiB for a moment. What comes now may
	// last for hours and shall not hold them.
	debug.FreeOSMemory()
	return signer, nil
}

func (a *app) keygenCmd() *cobra.Command {
	var prefix, kind string
	var force bool
	c := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key pair to sign bundles with",
		Long: `Make a key pair: PREFIX.key, encrypted with a password, and PREFIX.pub, which
travels to the site on a way of its own. Both are what cosign makes and reads,
but for keys of --type sm2 (SM2 with SM3), which cosign does not know.`,
		Example: "  bundle keygen -o ci\n  BUNDLE_PASSWORD=… bundle keygen -o ci\n  bundle keygen -o ci-sm2 --type sm2",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			generate, ok := map[string]func([]byte) ([]byte, []byte, error){"ecdsa-p256": sign.GenerateKey, "sm2": sign.GenerateSM2}[kind]
			if !ok {
				return usagef("--type %q is not one of ecdsa-p256, sm2", kind)
			}
			password, err := a.newPassword()
			if err != nil {
				return err
			}
			private, public, err := generate(password)
			if err != nil {
				return err
			}
			if err := sign.WriteKeyPair(prefix, private, public, force); err != nil {
				return usageError{err}
			}
			key, pub := sign.KeyFiles(prefix)
			fmt.Fprintf(a.stdout, "%s\n%s\n", key, pub)
			fmt.Fprintf(a.stderr, "carry %s to the site by another way than the bundle\n", pub)
			a.next(typed([]string{"build", "CONTEXT", "--key", key}), typed([]string{"sign", "BUNDLE", "--key", key}))
			return nil
		},
	}
	c.Flags().StringVarP(&prefix, "output", "o", "bundle", "PREFIX of the two files")
	c.Flags().StringVar(&kind, "type", "ecdsa-p256", "ecdsa-p256|sm2")
	c.Flags().BoolVar(&force, "force", false, "overwrite keys that are there")
	return c
}

func (a *app) signCmd() *cobra.Command {
	var key, detached, statement string
	c := &cobra.Command{
		Use:   "sign BUNDLE --key KEYREF",
		Short: "Add a signature to a bundle, in place, whatever its size",
		Long: `Add a signature to a bundle. Only the last few kilobytes of the file are
written anew, and a sign that was interrupted leaves a file that the next one
mends. With --detached the bundle is left alone.

With --statement an administrator of a trust policy signs the policy's successor,
or a revocation list, instead of the bundle; it travels in the bundle, or as a
file of its own (docs/policy.md).`,
		Example: `  bundle sign cnstack-ce-1.1.0.tar.zst --key release.key
  bundle sign cnstack-ce-1.1.0.tar.zst --key awskms:///alias/release --detached release.sigstore.json
  bundle sign cnstack-ce-1.1.0.tar.zst --key root1.key --statement policy-2.yaml
  bundle sign --key root1.key --statement revoked.yaml --detached revoked.1.sigstore.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case key == "":
				return hint(usagef("--key says what to sign with"), "bundle keygen makes a key")
			case len(args) == 0 && (statement == "" || detached == ""):
				return usagef("say which BUNDLE to sign, or which --statement to sign into which --detached file")
			}
			ctx := cmd.Context()
			signer, err := a.loadSigner(ctx, key)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if err := archive.Recover(args[0]); err != nil {
					return err
				}
			}
			var sig []byte
			if statement != "" {
				sig, err = signStatement(ctx, signer, statement)
			} else {
				sig, err = signIndex(ctx, signer, args[0])
			}
			if err != nil {
				return err
			}
			if detached == "" {
				if err := archive.AppendSignature(args[0], sig); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "signed %s with key %s\n", cmp.Or(statement, args[0]), signer.Public().ID())
				if statement == "" {
					a.next(typed([]string{"verify", args[0], "--key", publicName(key)}))
				} else {
					a.next(typed([]string{"verify", args[0], "--policy", "POLICY"}))
				}
				return nil
			}
			if err := writeNew(detached, sig); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n", detached)
			if statement == "" {
				a.next(typed([]string{"verify", args[0], "--key", publicName(key), "--signature", detached}))
			} else {
				a.next(typed([]string{"verify", "BUNDLE", "--policy", "POLICY", "--statement", detached}))
			}
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "a file, env://VAR or a KMS URI")
	c.Flags().StringVar(&detached, "detached", "", "write the signature into this file instead")
	c.Flags().StringVar(&statement, "statement", "", "sign this trust policy or revocation list, as an administrator of the present policy")
	return c
}

// signIndex signs the index of a bundle.
func signIndex(ctx context.Context, signer *sign.Signer, path string) ([]byte, error) {
	r, err := openReader(path)
	if err != nil {
		return nil, err
	}
	index := r.IndexBytes()
	r.Close()
	return sign.SignIndex(ctx, signer, index)
}

// signStatement signs a policy or a revocation list.
func signStatement(ctx context.Context, signer *sign.Signer, path string) ([]byte, error) {
	data, err := readLimited(path, policy.MaxSize)
	if err != nil {
		return nil, usageError{err}
	}
	sig, err := policy.SignStatement(ctx, signer, path, data)
	if errors.Is(err, policy.ErrSyntax) {
		return nil, usageError{err}
	}
	return sig, err
}

// writeNew writes a small file that must not be there yet, whole or not at all.
// One that is there with the same content is left by a run that was killed.
func writeNew(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(f.Name()); err == nil && !errors.Is(e, os.ErrNotExist) {
			err = e
		}
	}()
	err = f.Chmod(0o644)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, fails if the name is taken.
	switch err = os.Link(f.Name(), path); {
	case errors.Is(err, os.ErrExist):
		if have, e := readLimited(path, int64(len(data))); e != nil || !bytes.Equal(have, data) {
			return usagef("%s is there already; remove it or choose another name", path)
		}
	case err != nil: // file systems such as FAT know no links
		if _, e := os.Lstat(path); e == nil {
			return usagef("%s is there already; remove it or choose another name", path)
		}
		if err = os.Rename(f.Name(), path); err != nil {
			return err
		}
	}
	return syncFolder(dir)
}

// syncFolder brings the names in a folder to disk, where the system can.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
