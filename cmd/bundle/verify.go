package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/verify"
)

func (a *app) verifyCmd() *cobra.Command {
	var t trust
	var jobs int
	var want string
	var remember bool
	var rec receiptFlags
	c := &cobra.Command{
		Use:   "verify BUNDLE...",
		Short: "Prove that a bundle is whole, ours and complete",
		Long: `Prove that a bundle is whole, ours and complete: the signature over its index,
every byte of the file, and that nothing required is missing. What is wrong is
named by image, chart or file. Nothing is unpacked.

BUNDLE - reads the file from standard input, once.

A delta is verified together with its base: name both, in any order; the base of
one on standard input is a file. A bundle in volumes is verified as it lies
there: name them all. Without the base, or a volume, the exit code is 5, and
every image, chart and file that is hit is named. A volume alone shows whether
what it has is whole.

Exit codes: 0 it is all of that; 3 damaged; 4 untrusted; 5 incomplete.`,
		Example: `  bundle verify cnstack-ce-1.1.0.tar.zst --key ci.pub
  ssh usb-host cat /media/usb/cnstack-ce-1.1.0.tar.zst | bundle verify - --key ci.pub
  bundle verify cnstack-ce-1.1.0.tar.zst cnstack-ce-1.2.0-delta.tar.zst --key ci.pub
  bundle verify cnstack-ce-1.1.0.tar.zst.* --key ci.pub
  ssh usb-host cat delta.tar.zst | bundle verify - cnstack-ce-1.1.0.tar.zst --key ci.pub
  bundle verify cnstack-ce-1.1.0.tar.zst --policy trust-policy.yaml --remember
  bundle verify cnstack-ce-1.1.0.tar.zst --key ci.pub --receipt verified.json --receipt-key operator.key
  bundle verify cnstack-ce-1.1.0.tar.zst --key ci.pub --want damaged.json
  bundle verify cnstack-ce-1.1.0.tar.zst --insecure-skip-signature -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			leanReader()
			ctx := cmd.Context()
			o, err := t.options(ctx)
			if err != nil {
				return err
			}
			o.Jobs = jobs
			if err := rec.open(ctx, a); err != nil {
				return err
			}
			if t.skip {
				fmt.Fprintln(a.stderr, "warning: the signature is not checked; a good result says that the content is whole, not whose it is")
			}
			reports, err := a.verifyFiles(ctx, args, o)
			if reports == nil {
				return err
			}
			if want != "" {
				if err := a.writeWant(reports, want); err != nil {
					return err
				}
			}
			if err == nil && remember {
				if err := t.remember(); err != nil {
					return err
				}
			}
			if err = a.printReports(reports, rec.verified(ctx, a, reports, err), t.given()); err == nil && !slices.Contains(args, "-") {
				a.next(afterProof(args, t.words())...)
			}
			return err
		},
	}
	t.flags(c)
	rec.flags(c)
	c.Flags().BoolVar(&remember, "remember", false, "with --policy: accept nothing older here from now on (push, serve and install always do)")
	c.Flags().IntVar(&jobs, "jobs", 0, "blobs hashed at once (default: one for each CPU)")
	c.Flags().StringVar(&want, "want", "", "write what is damaged or missing to this file, for bundle patch")
	a.outputFlag(c, "text", "json")
	return c
}

// writeWant writes what bundle patch shall send; no file where nothing has to
// be sent.
func (a *app) writeWant(reports []*verify.Report, path string) error {
	if len(reports) != 1 {
		return usagef("--want is about one bundle, and %d were given", len(reports))
	}
	w, err := reports[0].Want()
	if err != nil {
		return err
	}
	if w == nil {
		fmt.Fprintf(a.stderr, "%s was not written: there is nothing to send\n", path)
		return nil
	}
	data, err := w.Encode()
	if err != nil {
		return err
	}
	if err := archive.WriteFile(path, data); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s lists %d damaged or missing blobs; at the source: bundle patch BUNDLE --want %s -o PATCH\n", path, len(w.Blobs), path)
	return nil
}

// verifyFiles verifies files given in any order: a delta together with its
// base, which then has no report of its own. Without reports the error is not
// about a bundle; with them it is that of the worst.
func (a *app) verifyFiles(ctx context.Context, paths []string, o verify.Options) ([]*verify.Report, error) {
	// A file that cannot even be opened as a bundle is verified by itself.
	var broken []string
	var files []string
	for _, p := range paths {
		if p == "-" {
			broken = append(broken, p)
		} else {
			files = append(files, p)
		}
	}
	readers, errs := archive.OpenAll(files)
	unopened := map[string]error{}
	defer func() {
		for _, r := range readers {
			r.Close()
		}
	}()
	for i, err := range errs {
		if err != nil && errors.As(openError(files[i], err), new(usageError)) {
			return nil, openError(files[i], err)
		}
		if err != nil {
			broken = append(broken, files[i])
			unopened[files[i]] = err
		}
	}
	bundles := readers
	if len(readers) > 1 {
		bundles = verify.Gather(readers, func(r *archive.Reader) error {
			if o.SkipSignature {
				return nil
			}
			_, err := verify.Trust(ctx, r, o)
			return err
		}).Bundles
	}
	// Standard input may be a delta whose base is a file here.
	if i := slices.Index(paths, "-"); i > 0 {
		paths = slices.Concat([]string{"-"}, slices.Delete(slices.Clone(paths), i, i+1))
	}
	o.Beside = readers
	seen := map[*archive.Reader]bool{}
	var reports []*verify.Report
	var worst error
	note := func(rep *verify.Report, err error) error {
		if rep == nil {
			return err
		}
		reports = append(reports, rep)
		if worst == nil || !errors.Is(worst, verify.ErrDamaged) && errors.Is(err, verify.ErrDamaged) {
			worst = err
		}
		return nil
	}
	for _, p := range paths {
		if slices.Contains(broken, p) {
			if err := note(a.verifyOne(func(o verify.Options) (*verify.Report, error) {
				if p == "-" {
					return verify.Stream(ctx, a.stdin, o)
				}
				return verify.Broken(ctx, p, unopened[p], o)
			}, o)); err != nil {
				return nil, err
			}
			if p == "-" {
				for _, r := range bundles {
					seen[r] = slices.Contains(reports[len(reports)-1].With, r.Path())
				}
			}
			continue
		}
		i := slices.IndexFunc(bundles, func(r *archive.Reader) bool { return slices.Contains(r.Files(), p) })
		if i < 0 || seen[bundles[i]] {
			continue // the base of another, or a volume more
		}
		seen[bundles[i]] = true
		if err := note(a.verifyOne(func(o verify.Options) (*verify.Report, error) { return verify.File(ctx, bundles[i], o) }, o)); err != nil {
			return nil, err
		}
	}
	return reports, worst
}

// verifyOne shows the progress of one verification.
func (a *app) verifyOne(check func(verify.Options) (*verify.Report, error), o verify.Options) (*verify.Report, error) {
	o.Progress = &verify.Progress{}
	stop := a.startMeter("verify", "bytes", func() sample {
		return sample{Done: o.Progress.Done(), Total: o.Progress.Total(), Item: o.Progress.Item()}
	})
	defer stop()
	return check(o)
}

func (a *app) printReports(reports []*verify.Report, worst error, asked bool) error {
	if a.output == "json" {
		var err error
		if len(reports) == 1 {
			err = a.printJSON(reports[0])
		} else {
			err = a.printJSON(reports)
		}
		if err != nil {
			return err
		}
		if worst != nil {
			return silent{worst}
		}
		return nil
	}
	for _, r := range reports {
		a.printReport(r)
	}
	if worst != nil && !asked && errors.Is(worst, verify.ErrUntrusted) {
		return hint(worst, "give the signer's public key with --key or a trust policy with --policy, or check the content alone with --insecure-skip-signature")
	}
	return worst
}

func (a *app) printReport(r *verify.Report) {
	if r.OK {
		fmt.Fprintf(a.stdout, "%s: OK\n", r.Bundle)
	} else {
		fmt.Fprintf(a.stdout, "%s: NOT OK\n", r.Bundle)
	}
	if r.Name != "" {
		fmt.Fprintf(a.stdout, "  bundle     %s %s\n", r.Name, r.Version)
	}
	if r.IndexDigest != "" {
		fmt.Fprintf(a.stdout, "  index      %s\n", r.IndexDigest)
	}
	for _, file := range r.With {
		fmt.Fprintf(a.stdout, "  with       %s\n", file)
	}
	fmt.Fprintf(a.stdout, "  signature  %s\n", r.Signature.Status)
	for _, s := range r.Signature.Signers {
		fmt.Fprintf(a.stdout, "             by %s (key %.16s)\n", s.Identity, s.KeyID)
	}
	if p := r.Signature.Policy; p != nil {
		fmt.Fprintf(a.stdout, "  policy     %s, serial %d\n", p.Name, p.Serial)
		for _, role := range p.Roles {
			fmt.Fprintf(a.stdout, "             %s: %d of %d\n", role.Name, len(role.Present), role.Need)
		}
	}
	for _, reason := range r.Signature.Reasons {
		fmt.Fprintf(a.stdout, "             %s\n", reason)
	}
	fmt.Fprintf(a.stdout, "  content    %s, %d blobs, %s\n", r.Content.Status, r.Content.Blobs, formatSize(r.Content.Bytes))
	for _, p := range r.Content.Problems {
		fmt.Fprintf(a.stdout, "             %s\n", p)
	}
	if r.Content.Omitted > 0 {
		fmt.Fprintf(a.stdout, "             and %d problems more\n", r.Content.Omitted)
	}
}
