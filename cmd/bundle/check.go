package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"bundle/install"
	"bundle/install/check"
)

func (a *app) checkCmd() *cobra.Command {
	var (
		t       trust
		s       siteFlags
		f       sessionFlags
		wait    time.Duration
		verbose bool
	)
	c := &cobra.Command{
		Use:   "check [BUNDLE...]",
		Short: "Acceptance: hold the cluster against what was installed",
		Long: `Hold a running cluster against what its install promised: every host of the
inventory is a Ready node, every release is deployed, every workload is rolled
out, every running image is the bundle's by digest, node ports answer, and the
registry gives out images. Nothing is changed.

What was promised is in the record that the install left on this machine; with a
BUNDLE it is read from there instead.

-o html is the report to hand over: a checklist to tick off and to sign, and with
it every host, release, workload and image by digest, and the steps of the
install with how long they took.`,
		Example: `  bundle check -f Clusterfile
  bundle check -f Clusterfile -o html > acceptance.html
  bundle check -f Clusterfile -o html --lang zh > 验收报告.html
  bundle check cnstack-ce-1.1.0.tar.zst -f Clusterfile --wait 10m`,
		RunE: func(cmd *cobra.Command, args []string) error {
			j, done, err := a.recorded(cmd.Context(), &t, &s, &f, args)
			defer done()
			if err != nil {
				return err
			}
			sess, err := a.session(j, &f, install.Options{Policy: nobody})
			if err != nil {
				return err
			}
			defer sess.Close()
			r, err := a.accept(cmd.Context(), sess, wait)
			if err != nil && !errors.Is(err, check.ErrFailed) {
				return err
			}
			var cerr error
			if r.Course, cerr = sess.Course(); cerr != nil {
				fmt.Fprintf(a.stderr, "warning: the report does not say how the install went: %v\n", cerr)
			}
			if err := errors.Join(a.printCheck(r, verbose), quietly(err)); err != nil {
				return err
			}
			a.next(typed([]string{"check"}, args, s.words(), []string{"-o", "html"}) + " > acceptance.html")
			return nil
		},
	}
	t.flags(c)
	s.flags(c)
	f.flags(c)
	c.Flags().DurationVar(&wait, "wait", 0, "look again until all is well, for so long")
	c.Flags().BoolVar(&f.foreign, "allow-foreign-images", false, "running images that are not the bundle's are a warning")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the evidence of what is well, too")
	a.outputFlag(c, "text", "json", "html")
	return c
}

// recorded gives the job of an install that was made: of the bundles, or
// where none is given of the record on this machine.
func (a *app) recorded(ctx context.Context, t *trust, s *siteFlags, f *sessionFlags, args []string) (*install.Job, func(), error) {
	if len(args) > 0 {
		return a.load(ctx, t, s, args)
	}
	o, err := s.options()
	if err != nil {
		return nil, func() {}, err
	}
	j, err := install.Recorded(f.state, o)
	if errors.Is(err, install.ErrNoRecord) {
		err = hint(err, "name the bundle, or give the --state folder of the install")
	}
	return j, func() {}, err
}

func (a *app) accept(ctx context.Context, s *install.Session, wait time.Duration) (check.Report, error) {
	e, err := s.Expected()
	if err != nil {
		return check.Report{}, err
	}
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	return s.Accept(ctx, e, wait > 0)
}

func (a *app) printCheck(r check.Report, verbose bool) error {
	switch a.output {
	case "json":
		return a.printJSON(r)
	case "html":
		return r.HTML(a.stdout, a.language())
	}
	return r.Text(a.stdout, verbose)
}
