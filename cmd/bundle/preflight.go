package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bundle/install"
	"bundle/install/host"
	"bundle/install/journal"
	"bundle/install/preflight"
	"bundle/install/site"
)

// sessionFlags say how hosts are worked with.
type sessionFlags struct {
	state   string
	strict  bool
	ignore  []string
	binary  string
	inPlace bool
	foreign bool
}

func (f *sessionFlags) flags(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.state, "state", "", "folder for this cluster's journal, logs, pinned host keys and the registry's authority (default: one for each cluster name)")
	fs.BoolVar(&f.strict, "strict-host-keys", false, "refuse hosts whose SSH key is not pinned yet, instead of pinning it")
}

// nobody is the policy of sessions that put no bundle anywhere.
var nobody = site.Policy{SkipSignature: true}

// session makes the session of a job.
func (a *app) session(j *install.Job, f *sessionFlags, o install.Options) (*install.Session, error) {
	if unknown := preflight.UnknownChecks(f.ignore); len(unknown) > 0 {
		return nil, hint(usagef("--ignore %s is no preflight check", strings.Join(unknown, ", ")), "the checks are: %s", strings.Join(preflight.Checks, ", "))
	}
	o.State, o.Ignore, o.Binary, o.InPlace, o.AllowForeign = f.state, f.ignore, f.binary, f.inPlace, f.foreign
	o.Host = host.Options{
		Strict: f.strict,
		OnNewHostKey: func(k host.NewHostKey) {
			fmt.Fprintf(a.stderr, "note: %s showed the SSH key %s for the first time; it is pinned\n", k.Host, k.Fingerprint)
		},
		OnRetry: func(host string, attempt int, reason error) {
			fmt.Fprintf(a.stderr, "note: %s: try %d: %v\n", host, attempt+1, reason)
		},
	}
	s, err := install.NewSession(j, o)
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

func (a *app) preflightCmd() *cobra.Command {
	var (
		t       trust
		s       siteFlags
		f       sessionFlags
		verbose bool
	)
	c := &cobra.Command{
		Use:   "preflight BUNDLE...",
		Short: "Look whether the hosts are fit; touches nothing",
		Long: `Look at every host and say in one sentence each what would make the install
fail: reachability, processor, memory, disk for each mount as this bundle needs
it, ports, clocks, names, swap, name servers, what an earlier cluster left.
Nothing is written on any host.`,
		Example: `  bundle preflight cnstack-ce-1.1.0.tar.zst --key ci.pub -f Clusterfile
  bundle preflight cnstack-ce-1.1.0.tar.zst --key ci.pub -m 10.0.0.1 -n 10.0.0.2,10.0.0.3 -p SECRET -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, done, err := a.load(cmd.Context(), &t, &s, args)
			defer done()
			if err != nil {
				return err
			}
			sess, err := a.session(j, &f, install.Options{Policy: nobody, Resuming: resuming(f.state, j)})
			if err != nil {
				return err
			}
			defer sess.Close()
			r, err := sess.Preflight(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.tell(j, r, verbose); err != nil {
				return err
			}
			a.next(typed([]string{"install"}, args, t.words(), s.words()))
			return nil
		},
	}
	t.flags(c)
	s.flags(c)
	f.flags(c)
	c.Flags().StringSliceVar(&f.ignore, "ignore", nil, "checks whose errors shall count as warnings")
	c.Flags().BoolVar(&f.inPlace, "in-place", false, "the bundle will be served from where it lies, if master0 is this machine")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list what is well, too")
	a.outputFlag(c, "text", "json")
	return c
}

// resuming tells whether the journal knows of an install of this very bundle
// that has touched hosts already.
func resuming(state string, j *install.Job) bool {
	dir, err := install.StateDir(state, j.Cluster.Name)
	if err != nil {
		return false
	}
	records, err := journal.Read(dir)
	if err != nil {
		return false
	}
	run := journal.Fold(records).Last(journal.Install)
	return run != nil && run.IndexDigest == j.Bundle.IndexDigest.String()
}
