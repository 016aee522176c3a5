package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bundle/archive"
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
	var prefix string
	var force bool
	c := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key pair to sign bundles with",
		Long: `Make a key pair: PREFIX.key, encrypted with a password, and PREFIX.pub, which
travels to the site on a way of its own. Both are what cosign makes and reads.`,
		Example: "  bundle keygen -o ci\n  BUNDLE_PASSWORD=… bundle keygen -o ci",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			password, err := a.newPassword()
			if err != nil {
				return err
			}
			private, public, err := sign.GenerateKey(password)
			if err != nil {
				return err
			}
			if err := sign.WriteKeyPair(prefix, private, public, force); err != nil {
				return usageError{err}
			}
			key, pub := sign.KeyFiles(prefix)
			fmt.Fprintf(a.stdout, "%s\n%s\n", key, pub)
			fmt.Fprintf(a.stderr, "next: bundle build … --key %s; carry %s to the site by another way than the bundle\n", key, pub)
			return nil
		},
	}
	c.Flags().StringVarP(&prefix, "output", "o", "bundle", "PREFIX of the two files")
	c.Flags().BoolVar(&force, "force", false, "overwrite keys that are there")
	return c
}

func (a *app) signCmd() *cobra.Command {
	var key, detached string
	c := &cobra.Command{
		Use:   "sign BUNDLE --key KEYREF",
		Short: "Add a signature to a bundle, in place, whatever its size",
		Long: `Add a signature to a bundle. Only the last few kilobytes of the file are
written anew, and a sign that was interrupted leaves a file that the next one
mends. With --detached the bundle is left alone.`,
		Example: "  bundle sign cnstack-ce-1.1.0.tar.zst --key release.key\n  bundle sign cnstack-ce-1.1.0.tar.zst --key awskms:///alias/release --detached release.sigstore.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" {
				return hint(usagef("--key says what to sign with"), "bundle keygen makes a key")
			}
			ctx := cmd.Context()
			signer, err := a.loadSigner(ctx, key)
			if err != nil {
				return err
			}
			if err := archive.Recover(args[0]); err != nil {
				return err
			}
			r, err := openReader(args[0])
			if err != nil {
				return err
			}
			index := r.IndexBytes()
			r.Close()
			sig, err := sign.SignIndex(ctx, signer, index)
			if err != nil {
				return err
			}
			if detached == "" {
				if err := archive.AppendSignature(args[0], sig); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "signed %s with key %s\n", args[0], signer.Public().ID())
				return nil
			}
			if err := writeNew(detached, sig); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n", detached)
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "a file, env://VAR or a KMS URI")
	c.Flags().StringVar(&detached, "detached", "", "write the signature into this file instead")
	return c
}

// writeNew writes a small file that must not be there yet.
func writeNew(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return usagef("%s is there already; remove it or choose another name", path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			os.Remove(path)
		}
	}()
	if _, err := io.Copy(f, bytes.NewReader(data)); err != nil {
		return err
	}
	return f.Sync()
}
