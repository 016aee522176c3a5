package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"bundle/install"
	"bundle/install/engine"
	"bundle/install/journal"
	"bundle/install/plan"
	"bundle/install/site"
	"bundle/verify"
	"bundle/verify/sign"
)

type installFlags struct {
	trust   trust
	site    siteFlags
	session sessionFlags
	receipt receiptFlags
	engine  engine.Options
	yes     bool
	dryRun  bool
	quick   bool
}

func (a *app) installCmd() *cobra.Command {
	var f installFlags
	c := &cobra.Command{
		Use:   "install BUNDLE...",
		Short: "Verify, serve, and perform the ordered install; resumes by itself",
		Long: `Verify the bundle, rehearse the install, look at the hosts, put the bundle on the
first master and serve it there, bring up the cluster, run the bundle's steps in
order, and prove the result. bundle plan shows the same steps beforehand.

The install can be interrupted anywhere, by power loss too: the same command goes
on where it was. A second run of a finished install changes nothing and says so.
Steps that remove data are asked about once, and run once on a host.`,
		Example: `  bundle install cnstack-ce-1.1.0.tar.zst --key ci.pub -f Clusterfile
  bundle install cnstack-ce-1.1.0.tar.zst --key ci.pub -m 10.0.0.1 -n 10.0.0.2,10.0.0.3 -u root -p SECRET --yes
  bundle install cnstack-ce-1.1.0.tar.zst --key ci.pub -f Clusterfile --until kubeadm.init`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.install(cmd.Context(), &f, args) },
	}
	f.trust.flags(c)
	f.site.flags(c)
	f.session.flags(c)
	f.receipt.flags(c)
	fs := c.Flags()
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask about steps that remove data")
	fs.Bool("resume", true, "go on where an earlier run stopped")
	fs.BoolVar(&f.engine.Restart, "restart", false, "run everything again, except what removes data and has run")
	fs.StringVar(&f.engine.From, "from", "", "first step to run; what is before it counts as done")
	fs.StringVar(&f.engine.Until, "until", "", "last step to run")
	fs.StringArrayVar(&f.engine.Redo, "redo", nil, "STEP or STEP@HOST to run again although it removed data; repeatable")
	fs.StringArrayVar(&f.engine.Skip, "skip", nil, "STEP or STEP@HOST never to run; repeatable")
	fs.BoolVar(&f.engine.AcceptChanges, "accept-changes", false, "go on although bundle or Clusterfile have changed since; changed steps run again")
	fs.IntVar(&f.engine.Parallel, "parallel", 0, "hosts worked on at once (default 10)")
	fs.BoolVar(&f.dryRun, "dry-run", false, "verify, rehearse and show the plan; contact no host")
	fs.BoolVar(&f.quick, "no-verify", false, "do not hash the whole bundle here first; the masters do it anyway")
	fs.StringSliceVar(&f.session.ignore, "ignore", nil, "preflight checks whose errors shall count as warnings")
	fs.StringVar(&f.session.binary, "binary", "", "program of the hosts' platform (default: this one)")
	fs.BoolVar(&f.session.inPlace, "in-place", false, "serve the bundle from where it lies, if master0 is this machine")
	fs.BoolVar(&f.session.foreign, "allow-foreign-images", false, "running images that are not the bundle's are a warning of the acceptance")
	a.outputFlag(c, "text", "json")
	return c
}

func (a *app) install(ctx context.Context, f *installFlags, args []string) error {
	if !f.trust.given() {
		return hint(usagef("nothing says whose bundle this has to be"), "give the signer's public key with --key or a trust policy with --policy, or take it from anybody with --insecure-skip-signature")
	}
	if err := f.receipt.open(ctx, a); err != nil {
		return err
	}
	signers, err := a.verifyAll(ctx, f, args)
	if err != nil {
		return err
	}
	j, done, err := a.load(ctx, &f.trust, &f.site, args)
	defer done()
	if err != nil {
		return err
	}
	a.warn(j, j.Plan.Warnings...)
	if err := a.rehearsed(ctx, j); err != nil {
		return err
	}
	if f.dryRun {
		if a.output == "json" {
			return a.printJSON(j.Plan)
		}
		if err := j.Plan.Text(a.stdout); err != nil {
			return err
		}
		a.next(typed([]string{"preflight"}, args, f.trust.words(), f.site.words()), "the same command without --dry-run installs it")
		return nil
	}
	policy, err := f.trust.site(ctx, j)
	if err != nil {
		return err
	}
	s, err := a.session(j, &f.session, install.Options{Policy: policy, Signers: signers, Resuming: resuming(f.session.state, j), Report: f.receipt.hear})
	if err != nil {
		return err
	}
	defer s.Close()
	return a.perform(ctx, f, j, s, signers)
}

// perform asks, opens the journal and runs the plan.
func (a *app) perform(ctx context.Context, f *installFlags, j *install.Job, s *install.Session, signers []string) error {
	jrn, err := a.openJournal(s)
	if err != nil {
		return err
	}
	defer closeJournal(jrn)
	if reached, err := attach(ctx, s, jrn); !reached {
		return a.unreachable(ctx, s, err)
	} else if err != nil {
		return err
	}
	f.engine.Journal = jrn
	if err := a.agree(ctx, j.Plan, s, f.engine, f.yes); err != nil {
		return err
	}
	if err := f.trust.remember(); err != nil {
		return err
	}
	if err := j.WriteRecord(s.State(), signers); err != nil {
		return err
	}
	r, err := a.runPlan(ctx, j.Plan, s, jrn, f.engine)
	err = f.receipt.installed(ctx, a, j, s, r, err)
	if a.output == "json" {
		return a.runAsJSON(r, err)
	}
	if err != nil {
		return a.afterFailure(s, err)
	}
	a.summary(j, r)
	return nil
}

// attach has the journal followed by its copy on the first master. reached is
// false where that machine could not be asked.
func attach(ctx context.Context, s *install.Session, jrn *journal.Journal) (reached bool, err error) {
	mirror, err := s.Mirror(ctx)
	if err != nil {
		return false, err
	}
	if mirror == nil {
		return true, nil
	}
	return true, jrn.Attach(ctx, mirror)
}

// unreachable says what a look at all hosts says, which is more than that one
// of them cannot be reached.
func (a *app) unreachable(ctx context.Context, s *install.Session, err error) error {
	r, perr := s.Preflight(ctx)
	if perr != nil || r.Err() == nil {
		return err
	}
	if a.output != "json" {
		if terr := r.Text(a.stderr, false); terr != nil {
			return terr
		}
	}
	return r.Err()
}

func (a *app) verifyAll(ctx context.Context, f *installFlags, paths []string) ([]string, error) {
	if f.quick {
		return nil, nil
	}
	o, err := f.trust.options(ctx)
	if err != nil {
		return nil, err
	}
	var signers []string
	reports, err := a.verifyFiles(ctx, paths, o)
	if errors.Is(err, verify.ErrIncomplete) {
		// What was not given is told with all that it takes away.
		_, done, lack := a.openAll(ctx, &f.trust, paths)
		done()
		if errors.Is(lack, verify.ErrIncomplete) {
			return nil, lack
		}
	}
	if err != nil {
		return nil, err
	}
	f.receipt.reports = reports
	for _, r := range reports {
		for _, s := range r.Signature.Signers {
			signers = append(signers, s.Identity)
		}
		fmt.Fprintf(a.stderr, "verified %s: whole, signature %s, index %s\n", r.Bundle, r.Signature.Status, r.IndexDigest)
	}
	return signers, nil
}

// rehearsed refuses a bundle that lacks what the install will ask for.
func (a *app) rehearsed(ctx context.Context, j *install.Job) error {
	var look itemCounter
	stop := a.startMeter("rehearse", "items", look.sample)
	r, err := j.Rehearse(ctx, install.RehearseOptions{Progress: look.set})
	stop()
	if err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		return hint(err, "no host was touched; bundle rehearse shows everything that was found")
	}
	fmt.Fprintf(a.stderr, "rehearsed: %s\n", r.Summary())
	return nil
}

// site is the trust of the command line as hosts are told of it. What a policy
// has accepted here, or an index that was named, hosts are to find again byte
// by byte: they judge nothing anew, least of all at a restart when a policy
// may have expired.
func (t *trust) site(ctx context.Context, j *install.Job) (site.Policy, error) {
	p := site.Policy{Identity: t.identity, Issuer: t.issuer, SkipSignature: t.skip}
	if t.policyFile != "" || len(t.indexes) > 0 {
		for _, b := range j.Bundles {
			p.Indexes = append(p.Indexes, b.IndexDigest)
		}
		return p, nil
	}
	for _, ref := range t.keys {
		keys, err := sign.LoadPublicKeys(ctx, ref)
		if err != nil {
			return p, usageError{err}
		}
		for _, k := range keys {
			p.Keys = append(p.Keys, k.PEM())
		}
	}
	if t.trustedRoot != "" {
		data, err := os.ReadFile(t.trustedRoot)
		if err != nil {
			return p, usageError{err}
		}
		p.TrustedRoot = data
	}
	list, err := t.detached()
	for _, e := range list {
		p.Signatures = append(p.Signatures, e.Data)
	}
	return p, err
}

// agree asks about the steps that will remove data.
func (a *app) agree(ctx context.Context, p *plan.Plan, s *install.Session, o engine.Options, yes bool) error {
	todo, err := engine.Todo(ctx, p, s, o)
	if err != nil || yes {
		return err
	}
	var open []plan.Step
	for _, s := range todo {
		if s.Destructive {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return nil
	}
	fmt.Fprintf(a.stderr, "%d steps remove data:\n", len(open))
	for _, s := range open {
		fmt.Fprintf(a.stderr, "  %s on %s: %s (%s)\n", s.ID, strings.Join(s.Hosts, ", "), s.Summary, s.Source)
		for _, l := range s.Dangers {
			fmt.Fprintf(a.stderr, "      %s\n", strings.TrimSpace(l.Text))
		}
	}
	if !isTerminal(a.stderr) {
		return hint(usagef("steps that remove data need a yes, and there is no terminal to ask on"), "run it with --yes when the list above is what you want")
	}
	fmt.Fprint(a.stderr, "Run them? Type yes: ")
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != "yes" {
		return usagef("nothing was done: the answer was not yes")
	}
	return nil
}

func (a *app) openJournal(s *install.Session) (*journal.Journal, error) {
	who, where := operator()
	return journal.Open(s.State(), journal.Options{
		User: who, Host: where, Redact: s.Redactor().String,
		MirrorFailed: func(err error) {
			fmt.Fprintf(a.stderr, "warning: the copy of the journal on the first master falls behind: %v\n", err)
		},
	})
}

// closeJournal gives the mirror a moment, also after an interrupt.
func closeJournal(j *journal.Journal) {
	ctx, cancel := context.WithTimeout(context.Background(), mirrorGrace)
	defer cancel()
	_ = j.Close(ctx)
}

// operator says who works from where.
func operator() (name, machine string) {
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	machine, _ = os.Hostname()
	return name, machine
}

// afterFailure adds where to read on.
func (a *app) afterFailure(s *install.Session, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var own interface {
		error
		Hint() string
	}
	text := "the same command goes on from here; what the hosts said is in " + s.State() + "/logs"
	if errors.As(err, &own) && own.Hint() != "" {
		text = own.Hint() + "\n" + text
	}
	return hint(err, "%s", text)
}

func (a *app) summary(j *install.Job, r engine.Report) {
	if r.Nothing {
		fmt.Fprintf(a.stdout, "nothing to do: %s %s was installed on %s at %s, and acceptance passed again\n", r.Bundle, r.Version, r.Cluster, r.Finished.Local().Format("2006-01-02 15:04:05"))
		a.next(typed([]string{"check", "-f", clusterfileOf(j), "-o", "html"}) + " > acceptance.html")
		return
	}
	if !r.Complete {
		fmt.Fprintf(a.stdout, "%d of %d steps of %s %s are done on %s\n", r.Ran+r.Done, len(j.Plan.Steps), r.Bundle, r.Version, r.Cluster)
		a.next("the same command without --until goes on", typed([]string{"status", "-f", clusterfileOf(j)}))
		return
	}
	fmt.Fprintf(a.stdout, "%s %s is installed on %s: %d steps done, %d of them now, %d changed something; acceptance passed\n", r.Bundle, r.Version, r.Cluster, r.Ran+r.Done, r.Ran, r.Changed)
	a.next(typed([]string{"check", "-f", clusterfileOf(j), "-o", "html"}) + " > acceptance.html")
}

// clusterfileOf names the Clusterfile, for the hint of what comes next.
func clusterfileOf(j *install.Job) string {
	if len(j.Cluster.Hosts) > 0 {
		if file, _, ok := strings.Cut(string(j.Cluster.Hosts[0].Source), ":"); ok && !strings.HasPrefix(file, "command line") {
			return file
		}
	}
	return "Clusterfile"
}

// runAsJSON prints the report of a run, whether it went well or not.
func (a *app) runAsJSON(r engine.Report, err error) error {
	if r.Outcome == "" { // refused: the error says all
		return err
	}
	doc := struct {
		engine.Report
		Error string `json:"error,omitempty"`
	}{Report: r}
	if err != nil {
		doc.Error = err.Error()
	}
	if perr := a.printJSON(doc); perr != nil {
		return perr
	}
	return quietly(err)
}
