package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bundle/internal/selftest"
)

func (a *app) selftestCmd() *cobra.Command {
	var o selftest.Options
	c := &cobra.Command{
		Use:   "selftest [BUNDLE]",
		Short: "See on this machine that damage is noticed and interruptions do no harm",
		Long: `See on this machine that damage is noticed and interruptions do no harm: a small
bundle is made in a temporary folder, changed, cut off, extended, served and
pulled; with --chaos builds and signatures are killed as well, and more is tried.
A BUNDLE that is named is only read: bytes of it are taken for others, and that
has to be noticed.

It takes less than a minute and opens no connection but to itself. Exit code 1
means that something did not hold: please report that (docs/security.md).`,
		Example: `  bundle selftest
  bundle selftest --chaos cnstack-ce-1.1.0.tar.zst`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Bundle = args[0]
				r, err := openReader(o.Bundle)
				if err != nil {
					return err
				}
				r.Close()
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			if o.Dir, err = os.MkdirTemp("", "bundle-selftest-"); err != nil {
				return err
			}
			defer os.RemoveAll(o.Dir)
			if a.output != "json" {
				o.Told = func(r selftest.Result) {
					word := "ok  "
					if !r.Held {
						word = "FAIL"
					}
					fmt.Fprintf(a.stdout, "%s  %-24s %4d tried  %5.1fs  %s\n", word, r.Name, r.Tried, r.Seconds, r.Found)
				}
			}
			rep, err := selftest.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if a.output == "json" {
				if err := a.printJSON(rep); err != nil {
					return err
				}
			}
			if !rep.OK {
				return hint(errors.New("something did not hold"), "report it, with this output (docs/security.md); --seed %d tries the same again", rep.Seed)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.Chaos, "chaos", false, "try more, and kill builds and signatures")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "try the places of an earlier run again")
	a.outputFlag(c, "text", "json")
	return c
}
