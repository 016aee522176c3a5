package main

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/verify"
)

func (a *app) patchCmd() *cobra.Command {
	var want, output, apply string
	c := &cobra.Command{
		Use:   "patch BUNDLE... --want FILE -o PATCH | patch --apply PATCH BUNDLE",
		Short: "Send and mend what of a bundle is damaged, instead of all of it",
		Long: `Mend a bundle that came damaged, without carrying all of it again:

 1. at the site:   bundle verify BUNDLE --want FILE writes what is damaged;
 2. at the source: bundle patch BUNDLE --want FILE -o PATCH packs just that;
 3. at the site:   bundle patch --apply PATCH BUNDLE puts it in its place.

Before anything is written it is made sure that file and patch are the whole
bundle together. An apply that was interrupted is simply run again. The mended
file is the one that was built, byte for byte, with its signatures.

Where the file cannot be written, as on a disc, verify, serve, push and install
take PATCH beside it.`,
		Example: `  bundle verify cnstack-ce-1.1.0.tar.zst --key ci.pub --want damaged.json
  bundle patch cnstack-ce-1.1.0.tar.zst --want damaged.json -o patch.tar.zst
  bundle patch --apply patch.tar.zst cnstack-ce-1.1.0.tar.zst`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case apply != "" && len(args) == 1:
				return a.applyPatch(cmd, apply, args[0])
			case apply != "":
				return usagef("--apply mends one file, and %d are named", len(args))
			case want == "" || output == "":
				return usagef("--want FILE says what to send and -o PATCH where to write it; or --apply PATCH")
			}
			return a.makePatch(cmd, args, want, output)
		},
	}
	c.Flags().StringVar(&want, "want", "", "what bundle verify --want wrote")
	c.Flags().StringVarP(&output, "output", "o", "", "patch to write")
	c.Flags().StringVar(&apply, "apply", "", "patch to put into BUNDLE, in place")
	c.MarkFlagsMutuallyExclusive("apply", "want")
	c.MarkFlagsMutuallyExclusive("apply", "output")
	return c
}

func (a *app) makePatch(cmd *cobra.Command, paths []string, want, output string) error {
	ctx := cmd.Context()
	data, err := readLimited(want, verify.MaxWant)
	if err != nil {
		return usageError{err}
	}
	w, err := verify.ParseWant(data)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", want, err)}
	}
	r, done, err := a.openOne(ctx, "patch", paths)
	defer done()
	if err != nil {
		return err
	}
	if err := w.Fits(r); err != nil {
		return hint(usageError{fmt.Errorf("%s: %w", want, err)}, "give the file that was sent to the site")
	}
	var written atomic.Int64
	stop := a.startMeter("patch", "bytes", func() sample { return sample{Done: written.Load()} })
	size, err := archive.WritePatch(ctx, r, w.Blobs, output, func(n int) { written.Add(int64(n)) })
	stop()
	if err != nil {
		return fmt.Errorf("a patch of %s cannot be written: %w", strings.Join(paths, ", "), err)
	}
	fmt.Fprintf(a.stdout, "%s  %s\n", output, formatSize(size))
	fmt.Fprintf(a.stderr, "%d blobs of %s; carry it to the site\n", len(w.Blobs), r.Path())
	a.next(typed([]string{"patch", "--apply", output, "BUNDLE"}))
	return nil
}

func (a *app) applyPatch(cmd *cobra.Command, patch, path string) error {
	ctx := cmd.Context()
	p, err := openReader(patch)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Load(); err != nil {
		return unreadable(patch, err)
	}
	var done atomic.Int64
	stop := a.startMeter("check", "bytes", func() sample { return sample{Done: done.Load()} })
	err = archive.Mend(ctx, path, p, func(n int) { done.Add(int64(n)) })
	stop()
	switch {
	case errors.Is(err, archive.ErrPatch):
		return hint(usageError{fmt.Errorf("%s: %w", path, err)}, "nothing was changed; bundle verify %s --want FILE says anew what is damaged", path)
	case err != nil:
		return fmt.Errorf("%s cannot be mended: %w", path, err)
	}
	fmt.Fprintf(a.stdout, "%s: mended\n", path)
	a.next(typed([]string{"verify", path, "--key", "PUB"}))
	return nil
}
