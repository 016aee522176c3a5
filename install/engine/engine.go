package engine

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"bundle/install/journal"
	"bundle/install/plan"
)

// Task is one step on one host.
type Task struct {
	Step plan.Step
	// Host is one of the step's.
	Host string
	// Attempt is another one each time that the task is run, and for a
	// [Finder] the one that is asked about.
	Attempt string
}

// Outcome is what a task that ended well did.
type Outcome struct {
	// Changed is false where everything was as it should be already.
	Changed bool
	// Detail is one line for people.
	Detail string
}

// Runner does the work of a task. It is called for several hosts at once, and
// has to return soon after its context ends. Where a task failed before it did
// anything, its error should be marked with [Untouched].
type Runner interface {
	Run(ctx context.Context, t Task) (Outcome, error)
}

// Fate is what became of a task of which nobody saw the end.
type Fate int

// The fates of a task.
const (
	Unknown Fate = iota
	Never        // it did not begin
	Ended        // it ended well
	Failed       // it ended badly
)

// Finder is a Runner that can find out what became of a task that an earlier
// run started. The error is why it failed.
type Finder interface {
	Find(ctx context.Context, t Task) (Fate, Outcome, error)
}

// Options say how a plan is run.
type Options struct {
	// Journal is open and locked, with its mirror attached.
	Journal *journal.Journal
	// Parallel is how many hosts work at once; 0 is 10.
	Parallel int
	// From and Until are the first and the last step to run, by ID. What is
	// before From counts as done from then on. What comes from there on runs
	// again, unless it removes data and has run.
	From, Until string
	// Restart runs everything again, except what removes data and has run.
	Restart bool
	// AcceptChanges goes on although the plan is another one: steps that
	// changed run again.
	AcceptChanges bool
	// Redo are steps to run again although they removed data, as ID or
	// ID@HOST. Without a host those that did not end well are meant, or all if
	// there is none.
	Redo []string
	// Skip are steps never to run, as ID or ID@HOST. Without a host all that
	// are not done are meant.
	Skip []string
	// User, Host and Tool go into the journal: who runs what from where.
	User, Host, Tool string
	// Redact takes secrets out of texts; nil leaves them as they are.
	Redact func(string) string
	// Hooks are told what happens.
	Hooks Hooks
}

// Hooks are called as things happen, some of them at once; all may be nil.
type Hooks struct {
	// Started is called once, with the number of steps to run and of those
	// that are done already.
	Started func(run, done int)
	// StepStarted comes before the first host of a step. n counts from 1.
	StepStarted func(s plan.Step, n, total int)
	// HostStarted and HostDone come for each host of a step.
	HostStarted func(t Task)
	HostDone    func(t Task, o Outcome, err error, took time.Duration)
	// Waiting tells what a task waits for now, see [Waiting].
	Waiting func(t Task, what string)
	// StepDone comes after the last host of a step.
	StepDone func(s plan.Step, err error, took time.Duration)
	// Notice tells something that a person should know and that stops nothing.
	Notice func(text string)
}

// Run runs a plan, or what is left of it. The error is a [*StepError] where a
// step failed, a [*RefusedError] or a [*ChangedError] where nothing was run,
// or context.Canceled where the run was interrupted. The report is useful
// with every error.
func Run(ctx context.Context, p *plan.Plan, r Runner, o Options) (Report, error) {
	if o.Journal == nil {
		return Report{}, errors.New("a run needs a journal")
	}
	if o.Parallel <= 0 {
		o.Parallel = 10
	}
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	e := &run{plan: p, runner: r, opts: o, j: o.Journal, began: time.Now()}
	e.report = Report{Operation: p.Operation, Cluster: p.Cluster, Bundle: p.Bundle, Version: p.Version, Steps: []StepReport{}}
	err := e.run(ctx)
	e.report.Seconds = time.Since(e.began).Seconds()
	return e.report, err
}

// run is one run of a plan.
type run struct {
	plan   *plan.Plan
	runner Runner
	opts   Options
	j      *journal.Journal
	began  time.Time
	// todo says for each step what happens to its hosts.
	todo   []decision
	report Report
	mu     sync.Mutex // for the report's notices
}

func (e *run) run(ctx context.Context) error {
	state := e.j.State()
	if err := e.allowed(state); err != nil {
		return err
	}
	if err := e.decide(ctx, state); err != nil {
		return err
	}
	if e.nothingLeft() {
		return e.checkOnly(ctx, state)
	}
	if err := e.j.Append(journal.Record{Type: journal.RunStarted, Begin: e.begin()}); err != nil {
		return err
	}
	if err := e.writeDecisions(); err != nil {
		return err
	}
	err := e.steps(ctx)
	return e.finish(ctx, err)
}

// Todo gives the steps that [Run] would run now, with the hosts that it would
// run them on, or the error with which it would refuse. Nothing is run or
// written; a [Finder] may be asked.
func Todo(ctx context.Context, p *plan.Plan, r Runner, o Options) ([]plan.Step, error) {
	if o.Journal == nil {
		return nil, errors.New("a run needs a journal")
	}
	o.Hooks = Hooks{}
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	e := &run{plan: p, runner: r, opts: o, j: o.Journal}
	state := e.j.State()
	if err := e.allowed(state); err != nil {
		return nil, err
	}
	if err := e.decide(ctx, state); err != nil {
		return nil, err
	}
	var out []plan.Step
	for i, s := range p.Steps {
		if hosts := e.todo[i].run; len(hosts) > 0 {
			if !s.Together {
				s.Hosts = hosts
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// begin is what the journal keeps of the run's intention.
func (e *run) begin() *journal.Begin {
	p, o := e.plan, e.opts
	b := &journal.Begin{
		Operation: p.Operation, Cluster: p.Cluster, Bundle: p.Bundle, Version: p.Version,
		IndexDigest: p.IndexDigest.String(), PlanDigest: p.Digest().String(),
		User: o.User, Host: o.Host, PID: os.Getpid(), Tool: o.Tool,
		Restart: o.Restart, From: o.From, Until: o.Until, Plan: []journal.PlanStep{},
	}
	for _, s := range p.Steps {
		b.Plan = append(b.Plan, journal.PlanStep{ID: s.ID, Phase: s.Phase, Digest: s.Digest(), Hosts: s.Tasks(), Destructive: s.Destructive})
	}
	return b
}

// finish writes how the run ended.
func (e *run) finish(ctx context.Context, err error) error {
	end := &journal.End{Outcome: journal.OK}
	switch {
	case err == nil:
		end.Complete = e.complete()
		e.report.Complete = end.Complete
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		end.Outcome, end.Error = journal.Interrupted, "interrupted"
		err = ctx.Err()
	default:
		end.Outcome, end.Error = journal.Failed, err.Error()
	}
	e.report.Outcome = end.Outcome
	werr := e.j.Append(journal.Record{Type: journal.RunFinished, End: end})
	if werr == nil && end.Complete && e.plan.Operation == plan.Clean {
		werr = e.j.Append(journal.Record{Type: journal.Cleaned})
		if ferr := e.j.Forget(ctx); ferr != nil {
			e.notice("the journal on the first master is left: " + e.opts.Redact(ferr.Error()))
		}
	}
	if err == nil {
		return werr // nothing is done that is not written down
	}
	return err
}

// complete tells whether every step of the plan is done on every host.
func (e *run) complete() bool {
	state := e.j.State()
	for _, s := range e.plan.Steps {
		d := s.Digest()
		for _, h := range s.Tasks() {
			if !settled(state.Host(e.plan.Operation, s.ID, h), d) {
				return false
			}
		}
	}
	return true
}

// settled tells whether a step needs no run on a host.
func settled(h journal.HostState, digest string) bool {
	return h.Digest == digest && (h.Status == journal.Done || h.Status == journal.Skipped)
}

// notice may be called for several hosts at once.
func (e *run) notice(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.Contains(e.report.Notices, text) {
		return
	}
	e.report.Notices = append(e.report.Notices, text)
	if e.opts.Hooks.Notice != nil {
		e.opts.Hooks.Notice(text)
	}
}
