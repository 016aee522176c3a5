package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/verify"
)

func (a *app) mergeCmd() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "merge BUNDLE... -o FILE",
		Short: "Make one file of a delta and what it leans on",
		Long: `Make one file of a delta and what it leans on, given in any order. The file
leaves nothing out, and needs no other. Its index and its signatures are those
of the last delta: nothing has to be signed again. Every byte is checked on the
way, and FILE gets its name when all are on disk.`,
		Example: `  bundle merge cnstack-ce-1.1.0.tar.zst cnstack-ce-1.2.0-delta.tar.zst -o cnstack-ce-1.2.0.tar.zst
  bundle merge base.tar.zst d1.tar.zst d2.tar.zst -o whole.tar.zst`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usagef("-o FILE says where to write")
			}
			ctx := cmd.Context()
			r, done, err := a.openOne(ctx, "merge", args)
			defer done()
			if err != nil {
				return err
			}
			whole, err := r.Whole()
			if err != nil {
				return fmt.Errorf("%s cannot be merged: %w", r.Path(), err)
			}
			var written atomic.Int64
			stop := a.startMeter("merge", "bytes", func() sample { return sample{Done: written.Load(), Total: whole.Size()} })
			size, err := archive.Merge(ctx, r, output, func(n int) { written.Add(int64(n)) })
			stop()
			if err != nil {
				return fmt.Errorf("%s cannot be merged: %w", r.Path(), err)
			}
			fmt.Fprintf(a.stdout, "%s  %s  %s\n", output, formatSize(size), r.IndexDigest())
			a.next(typed([]string{"verify", output, "--key", "PUB"}))
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "file to write")
	return c
}

// openOne opens files that are one bundle together, and makes sure that
// nothing is missing. The signature is not checked.
func (a *app) openOne(ctx context.Context, what string, paths []string) (r *archive.Reader, done func(), err error) {
	readers, done, err := openReaders(paths)
	if err != nil {
		return nil, done, err
	}
	g := verify.Gather(readers, nil)
	if err := g.Err(); err != nil {
		return nil, done, err
	}
	if len(g.Bundles) > 1 {
		return nil, done, usagef("%s and %s are two bundles; %s takes one, or a delta with its base", g.Bundles[0].Path(), g.Bundles[1].Path(), what)
	}
	return g.Bundles[0], done, verify.Complete(ctx, g.Bundles[0])
}
