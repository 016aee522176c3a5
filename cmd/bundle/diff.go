package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"bundle/pack"
)

func (a *app) diffCmd() *cobra.Command {
	c := &cobra.Command{
		Use:     "diff A B",
		Short:   "Say what changed from one bundle to another",
		Example: "  bundle diff cnstack-ce-1.0.0.tar.zst cnstack-ce-1.1.0.tar.zst",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			from, err := openBundle(args[0])
			if err != nil {
				return err
			}
			defer from.Close()
			to, err := openBundle(args[1])
			if err != nil {
				return err
			}
			defer to.Close()
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
			fmt.Fprintf(a.stdout, "new in %s: %s in %d blobs\n", args[1], formatSize(d.NewBytes), d.NewBlobs)
			return nil
		},
	}
	a.outputFlag(c, "text", "json")
	return c
}
