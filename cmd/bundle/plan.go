package main

import (
	"github.com/spf13/cobra"
)

func (a *app) planCmd() *cobra.Command {
	var (
		t     trust
		s     siteFlags
		clean bool
	)
	c := &cobra.Command{
		Use:   "plan BUNDLE...",
		Short: "Show the ordered steps of an install; touches nothing",
		Long: `Show everything that an install does, in order, before anything is touched: each
step with its id, phase, kind, hosts and the file and line that asked for it.
Steps that remove data and shell that nobody here understands are marked.
No host is contacted.

Of several bundles the last one is installed; the others are only served.`,
		Example: `  bundle plan cnstack-ce-1.1.0.tar.zst -f Clusterfile
  bundle plan cnstack-ce-1.1.0.tar.zst -f Clusterfile --set MASTER_IP_1=10.0.0.1 --set PASSWD=x -o json
  bundle plan cnstack-ce-1.1.0.tar.zst -m 10.0.0.1 -n 10.0.0.2-10.0.0.4 --clean`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, done, err := a.load(cmd.Context(), &t, &s, args)
			defer done()
			if err != nil {
				return err
			}
			p := j.Plan
			if clean {
				p = j.Clean
			}
			if a.output == "json" {
				return a.printJSON(p)
			}
			a.warn(j)
			if err := p.Text(a.stdout); err != nil {
				return err
			}
			if clean {
				a.next(typed([]string{"clean"}, args, t.words(), s.words()))
			} else {
				a.next(typed([]string{"rehearse"}, args, t.words(), s.words()), typed([]string{"install"}, args, t.words(), s.words()))
			}
			return nil
		},
	}
	t.flags(c)
	s.flags(c)
	c.Flags().BoolVar(&clean, "clean", false, "show what bundle clean does instead")
	a.outputFlag(c, "text", "json")
	return c
}
