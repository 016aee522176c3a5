package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bundle/install"
	"bundle/install/check"
	"bundle/install/engine"
	"bundle/internal/safefile"
	"bundle/verify"
	"bundle/verify/receipt"
	"bundle/verify/sign"
)

// receiptTime is how long a key service may take to sign a receipt after the
// work was interrupted.
const receiptTime = 30 * time.Second

// receiptFlags say where a receipt goes and who signs it.
type receiptFlags struct {
	file, key string
	signer    *sign.Signer
	// acceptance is the last one that was held.
	acceptance *check.Report
	// reports are what the verification found.
	reports []*verify.Report
}

func (r *receiptFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.file, "receipt", "", "write a signed receipt of what was done and how it ended to this file")
	f.StringVar(&r.key, "receipt-key", "", "key to sign the receipt with: a file, env://VAR or a KMS URI")
}

// open makes the key ready before the work begins: hours later would be late
// for a wrong password.
func (r *receiptFlags) open(ctx context.Context, a *app) (err error) {
	if (r.file == "") != (r.key == "") {
		return usagef("--receipt and --receipt-key belong together")
	}
	if r.file != "" {
		r.signer, err = a.loadSigner(ctx, r.key)
	}
	return err
}

// hear keeps the last acceptance of a session.
func (r *receiptFlags) hear(v any) {
	if rep, ok := v.(check.Report); ok {
		r.acceptance = &rep
	}
}

// write signs the receipt and puts it into its file.
func (r *receiptFlags) write(ctx context.Context, a *app, rec receipt.Receipt) error {
	rec.Time, rec.Tool = time.Now(), version
	rec.Operator.User, rec.Operator.Host = operator()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiptTime)
	defer cancel()
	data, err := receipt.Sign(ctx, r.signer, rec)
	if err == nil {
		err = safefile.Replace(r.file, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("there is no receipt: %w", err)
	}
	fmt.Fprintf(a.stderr, "receipt: %s, signed with key %.16s\n", r.file, r.signer.Public().ID())
	return nil
}

// outcome gives how err ended the work.
func outcome(ctx context.Context, err error) (what, why string) {
	switch {
	case err == nil:
		return receipt.OK, ""
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return receipt.Interrupted, ""
	}
	return receipt.Failed, err.Error()
}

// verified writes the receipt of a verification. worst is its verdict, which
// stays the command's error.
func (r *receiptFlags) verified(ctx context.Context, a *app, reports []*verify.Report, worst error) error {
	if r.file == "" {
		return worst
	}
	rec := receipt.Receipt{Operation: receipt.Verify}
	rec.Outcome, rec.Error = outcome(ctx, worst)
	for _, rep := range reports {
		rec.Bundles = append(rec.Bundles, receipt.About(rep))
	}
	return a.also(worst, r.write(ctx, a, rec))
}

// installed writes the receipt of a run of an install, whether it went well or
// not; of one that was refused there is none, for nothing was done.
func (r *receiptFlags) installed(ctx context.Context, a *app, j *install.Job, s *install.Session, run engine.Report, err error) error {
	if r.file == "" || run.Outcome == "" {
		return err
	}
	rec := receipt.Receipt{Operation: receipt.Install, Cluster: &receipt.Cluster{Name: j.Cluster.Name, Steps: []receipt.Step{}}}
	rec.Outcome, rec.Error = outcome(ctx, err)
	rec.Error = s.Redactor().String(rec.Error)
	for _, b := range j.Bundles {
		about := receipt.Bundle{Name: b.Contents.Name, Version: b.Contents.Version, IndexDigest: b.IndexDigest}
		if i := slices.IndexFunc(r.reports, func(rep *verify.Report) bool { return rep.IndexDigest == b.IndexDigest }); i >= 0 {
			about = receipt.About(r.reports[i])
		}
		rec.Bundles = append(rec.Bundles, about)
	}
	course, cerr := s.Course()
	if cerr != nil {
		return a.also(err, fmt.Errorf("there is no receipt: %w", cerr))
	}
	fillCluster(rec.Cluster, course, r.acceptance)
	return a.also(err, r.write(ctx, a, rec))
}

// fillCluster takes over what journal and acceptance say.
func fillCluster(c *receipt.Cluster, course *check.Course, acceptance *check.Report) {
	if course != nil {
		c.Started, c.Finished, c.Runs = course.Started, course.Finished, course.Runs
		for _, s := range course.Steps {
			c.Steps = append(c.Steps, receipt.Step{ID: s.ID, Status: s.Status, Hosts: s.Hosts, Changed: s.Changed, Started: s.Started, Finished: s.Finished})
		}
	}
	if acceptance != nil {
		for _, i := range acceptance.Items {
			c.Acceptance = append(c.Acceptance, receipt.Item{ID: i.ID, Status: string(i.Status), Summary: i.Summary})
		}
		for _, i := range acceptance.Images {
			c.Images = append(c.Images, receipt.Image{Name: i.Name, Digest: i.Digest, Pods: i.Pods, OK: i.OK})
		}
	}
}

// also gives the error of the work; where that went well, the other one.
// What will not be printed at the end is said here.
func (a *app) also(err, other error) error {
	if other != nil && (err != nil || a.output == "json") {
		fmt.Fprintf(a.stderr, "warning: %v\n", other)
	}
	return cmp.Or(err, other)
}

// checkedReceipt is what `verify-receipt -o json` prints.
type checkedReceipt struct {
	OK      bool             `json:"ok"`
	Signer  verify.Signer    `json:"signer"`
	Receipt *receipt.Receipt `json:"receipt"`
}

func (a *app) verifyReceiptCmd() *cobra.Command {
	var keys []string
	c := &cobra.Command{
		Use:   "verify-receipt FILE --key PUB [BUNDLE]",
		Short: "Prove who verified or installed a bundle, when, and how it ended",
		Long: `Check the signature of a receipt that bundle verify or bundle install wrote, and
say what it tells. With BUNDLE, the receipt must be about that bundle: their
index digests are compared, which pins every byte of a bundle that bundle verify
finds whole.

Exit codes: 0 it is genuine and what it tells of went well; 1 genuine, and that
failed; 2 it is no receipt; 4 none of the keys has signed it, or it is about
another bundle.`,
		Example: `  bundle verify-receipt install.receipt.json --key operator.pub
  bundle verify-receipt install.receipt.json --key operator.pub cnstack-ce-1.1.0.tar.zst -o json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(keys) == 0 {
				return usagef("--key says who must have signed the receipt")
			}
			var public []*sign.PublicKey
			for _, ref := range keys {
				k, err := sign.LoadPublicKeys(cmd.Context(), ref)
				if err != nil {
					return usageError{err}
				}
				public = append(public, k...)
			}
			data, err := readLimited(args[0], receipt.MaxSize)
			if err != nil {
				return usageError{err}
			}
			r, key, err := receipt.Check(data, public)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if len(args) == 2 {
				if err := aboutBundle(r, args[0], args[1]); err != nil {
					return err
				}
			}
			return a.printReceipt(args[0], r, key)
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "public key to trust: a file, env://VAR or a KMS URI; repeatable")
	a.outputFlag(c, "text", "json")
	return c
}

// aboutBundle makes sure that a receipt is about the bundle at path.
func aboutBundle(r *receipt.Receipt, file, path string) error {
	b, err := openReader(path)
	if err != nil {
		return err
	}
	defer b.Close()
	if !slices.ContainsFunc(r.Bundles, func(about receipt.Bundle) bool { return about.IndexDigest == b.IndexDigest() }) {
		return fmt.Errorf("%w: %s is about another bundle than %s, whose index is %s", receipt.ErrUntrusted, file, path, b.IndexDigest())
	}
	return nil
}

func (a *app) printReceipt(file string, r *receipt.Receipt, key *sign.PublicKey) error {
	var err error
	if r.Outcome != receipt.OK {
		err = fmt.Errorf("%s is genuine, and says that the %s %s%s", file, r.Operation, map[string]string{receipt.Interrupted: "was interrupted", receipt.Failed: "failed"}[r.Outcome], behind(": ", printableLine(r.Error)))
	}
	if a.output == "json" {
		if perr := a.printJSON(checkedReceipt{err == nil, verify.Signer{KeyID: key.ID(), Identity: key.Name()}, r}); perr != nil {
			return perr
		}
		return quietly(err)
	}
	w := a.stdout
	fmt.Fprintf(w, "%s: %s by %s@%s at %s: %s\n", file, r.Operation, printableLine(r.Operator.User), printableLine(r.Operator.Host), r.Time.Format(time.RFC3339), r.Outcome)
	fmt.Fprintf(w, "  signed by  %s (key %.16s)\n", key.Name(), key.ID())
	for _, b := range r.Bundles {
		fmt.Fprintf(w, "  bundle     %s %s, index %s\n", printableLine(b.Name), printableLine(b.Version), b.IndexDigest)
		if s := b.Signature; s != nil {
			var by []string
			for _, signer := range s.Signers {
				by = append(by, printableLine(signer.Identity))
			}
			policy := ""
			if s.Policy != nil {
				policy = fmt.Sprintf("; policy %s, serial %d, %s", printableLine(s.Policy.Name), s.Policy.Serial, s.Policy.Digest)
			}
			fmt.Fprintf(w, "  signature  %s%s%s\n", s.Status, behind(" by ", strings.Join(by, ", ")), policy)
		}
		if c := b.Content; c != nil {
			fmt.Fprintf(w, "  content    %s, %d blobs, %s\n", c.Status, c.Blobs, formatSize(c.Bytes))
		}
	}
	if c := r.Cluster; c != nil {
		done := 0
		for _, s := range c.Steps {
			if s.Status == "done" || s.Status == "skipped" {
				done++
			}
		}
		fmt.Fprintf(w, "  cluster    %s, %d of %d steps done in %d runs\n", printableLine(c.Name), done, len(c.Steps), c.Runs)
		for _, i := range c.Acceptance {
			fmt.Fprintf(w, "             %s %s: %s\n", printableLine(i.Status), printableLine(i.ID), printableLine(i.Summary))
		}
		if len(c.Images) > 0 {
			fmt.Fprintf(w, "  running    %d images\n", len(c.Images))
		}
	}
	return err
}
