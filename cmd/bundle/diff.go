package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"bundle/pack"
	"bundle/verify"
)

func (a *app) diffCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Say what changed from one bundle to another",
		Long: `Say what changed from one bundle to another: images, charts, files and steps, and
what a delta from A to B would carry.

Of files that belong together, a delta with its base or volumes, name all: they
count as the one bundle that they are.`,
		Example: `  bundle diff cnstack-ce-1.0.0.tar.zst cnstack-ce-1.1.0.tar.zst
  bundle diff cnstack-ce-1.0.0.tar.zst.* cnstack-ce-1.1.0.tar.zst
  bundle diff cnstack-ce-1.1.0.tar.zst cnstack-ce-1.2.0-delta.tar.zst`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			from, to, done, err := openTwo(args)
			defer done()
			if err != nil {
				return err
			}
			d := pack.Compare(from.contents, to.contents, from.Layout(), to.Layout())
			if a.output == "json" {
				return a.printJSON(d)
			}
			for _, c := range d.Changes {
				sign := map[string]string{"added": "+", "removed": "-", "changed": "~"}[c.Change]
				fmt.Fprintf(a.stdout, "%s %s %s", sign, c.Kind, c.Name)
				if c.Change == "changed" {
					fmt.Fprintf(a.stdout, "  %s -> %s", shortDigest(c.From), shortDigest(c.To))
				}
				fmt.Fprintln(a.stdout)
			}
			fmt.Fprintf(a.stdout, "new in %s: %s in %d blobs\n", to.Path(), formatSize(d.NewBytes), d.NewBlobs)
			if d.NewBlobs > 0 {
				a.next(typed([]string{"build", "CONTEXT", "--base"}, from.Files()[:1], []string{"--key", "KEY"}))
			}
			return nil
		},
	}
	a.outputFlag(c, "text", "json")
	return c
}

// openTwo opens two bundles for looking at, in the order given. Either may lie
// in several files.
func openTwo(paths []string) (from, to *opened, done func(), err error) {
	readers, done, err := openReaders(paths)
	if err != nil {
		return nil, nil, done, err
	}
	g := verify.Gather(readers, nil)
	if len(readers) != 2 {
		// What belongs together counts once.
		readers = g.Bundles
	}
	if len(readers) != 2 {
		return nil, nil, done, usagef("diff compares two bundles, and the files are %d", len(readers))
	}
	var two [2]*opened
	for i, r := range readers {
		if err := g.Refused[r]; err != nil {
			return nil, nil, done, refusedError(r, err)
		}
		if two[i], err = readOpened(r); err != nil {
			return nil, nil, done, err
		}
	}
	return two[0], two[1], done, nil
}
