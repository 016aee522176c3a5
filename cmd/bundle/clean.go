package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"bundle/install"
	"bundle/install/engine"
)

func (a *app) cleanCmd() *cobra.Command {
	var (
		t   trust
		s   siteFlags
		f   sessionFlags
		o   engine.Options
		yes bool
	)
	c := &cobra.Command{
		Use:   "clean [BUNDLE...]",
		Short: "Take the install back: PreClean, kubeadm reset, everything we put there",
		Long: `Take a cluster down and everything of ours off its hosts, with the PreClean and
PostClean plugins: kubeadm reset, the image's own uninstall scripts, the registry
with its certificates, names and settings, and the root file system. Files that
others have changed since are left and named.

What to undo is in the record that the install left on this machine; with a
BUNDLE it is worked out from there. It asks first, and can be run again.`,
		Example: `  bundle clean -f Clusterfile
  bundle clean cnstack-ce-1.1.0.tar.zst -f Clusterfile --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			j, done, err := a.recorded(ctx, &t, &s, &f, args)
			defer done()
			if err != nil {
				return err
			}
			sess, err := a.session(j, &f, install.Options{Policy: nobody})
			if err != nil {
				return err
			}
			defer sess.Close()
			jrn, err := a.openJournal(sess)
			if err != nil {
				return err
			}
			defer closeJournal(jrn)
			if _, err := attach(ctx, sess, jrn); err != nil {
				return err
			}
			o.Journal = jrn
			if err := a.agree(ctx, j.Clean, sess, o, yes); err != nil {
				return err
			}
			r, err := a.runPlan(ctx, j.Clean, sess, jrn, o)
			if a.output == "json" {
				return a.runAsJSON(r, err)
			}
			if err != nil {
				return a.afterFailure(sess, err)
			}
			fmt.Fprintf(a.stdout, "%s is clean: %d steps on %d hosts\n", r.Cluster, r.Ran+r.Done, len(j.Cluster.Hosts))
			a.next(typed([]string{"install", "BUNDLE", "--key", "PUB"}, s.words()))
			return nil
		},
	}
	t.flags(c)
	s.flags(c)
	f.flags(c)
	fs := c.Flags()
	fs.BoolVarP(&yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&o.AcceptChanges, "accept-changes", false, "go on although the record has changed since a clean that stopped")
	fs.StringArrayVar(&o.Redo, "redo", nil, "STEP or STEP@HOST to run again; repeatable")
	fs.StringArrayVar(&o.Skip, "skip", nil, "STEP or STEP@HOST never to run; repeatable")
	a.outputFlag(c, "text", "json")
	return c
}
