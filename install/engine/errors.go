package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bundle/install/journal"
	"bundle/install/plan"
)

// Failure is a step that failed on one host.
type Failure struct {
	Host string
	Err  error
	// Timeout is set where the time of the step was over.
	Timeout time.Duration
	text    string // without secrets
}

// Error says why, without the host and without secrets.
func (f *Failure) Error() string { return f.text }
func (f *Failure) Unwrap() error { return f.Err }

// StepError is a step that failed, on every host that it failed on.
type StepError struct {
	Step     plan.Step
	Failures []*Failure
	hint     string
}

func (e *StepError) Error() string {
	head := fmt.Sprintf("step %s (%s)", e.Step.ID, e.Step.Source)
	if len(e.Failures) == 1 {
		return fmt.Sprintf("%s failed on %s: %s", head, e.Failures[0].Host, e.Failures[0].text)
	}
	parts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		parts[i] = f.Host + ": " + f.text
	}
	return fmt.Sprintf("%s failed on %d of %d hosts: %s", head, len(e.Failures), len(e.Step.Tasks()), strings.Join(parts, "; "))
}

func (e *StepError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f
	}
	return errs
}

// Hint says what to do next.
func (e *StepError) Hint() string { return e.hint }

// Object names the step for who reads errors by machine.
func (e *StepError) Object() string { return e.Step.ID }

// RefusedError is a run that did not begin.
type RefusedError struct {
	text, hint string
	usage      bool
}

func (e *RefusedError) Error() string { return e.text }

// Hint says what to do next.
func (e *RefusedError) Hint() string { return e.hint }

// Usage tells whether the command line is to blame.
func (e *RefusedError) Usage() bool { return e.usage }

// refuse makes the error of tasks that only the user can decide about.
func refuse(open []question) error {
	q := open[0]
	var hosts []string
	for _, x := range open {
		if x.step.ID == q.step.ID {
			hosts = append(hosts, x.host)
		}
	}
	where := strings.Join(hosts, ", ")
	e := &RefusedError{hint: fmt.Sprintf("look at the hosts; then --redo %s runs it again, or --skip %s leaves it as it is", q.step.ID, q.step.ID)}
	switch {
	case q.state.Status == journal.Skipped:
		e.text = fmt.Sprintf("step %s (%s) removes data, was skipped on %s, and is another one now", q.step.ID, q.step.Source, where)
	case q.changed && q.state.Status == journal.Done:
		e.text = fmt.Sprintf("step %s (%s) removes data and ran on %s already, and is another one now", q.step.ID, q.step.Source, where)
	case q.state.Status == journal.Broken:
		e.text = fmt.Sprintf("step %s (%s) removes data and failed half way on %s; it is not run again unasked", q.step.ID, q.step.Source, where)
		if q.state.Error != "" {
			e.text += ": " + q.state.Error
		}
	case q.changed:
		e.text = fmt.Sprintf("step %s (%s) removes data, was begun on %s, and is another one now", q.step.ID, q.step.Source, where)
	default:
		e.text = fmt.Sprintf("step %s (%s) removes data and was interrupted on %s; nobody saw whether it ended", q.step.ID, q.step.Source, where)
	}
	return e
}

// ChangedError is a plan that is not the one that the journal tells of.
type ChangedError struct {
	// Bundle and Version of the run before, and when that was.
	Bundle, Version string
	Since           time.Time
	Changes         []plan.Change
}

func (e *ChangedError) Error() string {
	const limit = 8
	list := make([]string, 0, limit)
	for _, c := range e.Changes[:min(limit, len(e.Changes))] {
		list = append(list, c.String())
	}
	what := strings.Join(list, ", ")
	switch n := len(e.Changes) - limit; {
	case len(e.Changes) == 0:
		what = "the bundle"
	case n > 0:
		what += fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("the plan is not the one of %s %s that was begun on %s; different: %s", e.Bundle, e.Version, e.Since.UTC().Format("2006-01-02 15:04 UTC"), what)
}

// Hint says what to do next.
func (e *ChangedError) Hint() string {
	return "--accept-changes runs what changed and what is left, --restart runs everything again; neither repeats what removed data"
}

// hintFor says how to go on after a failed step.
func hintFor(s plan.Step, failures []*Failure) string {
	for _, f := range failures {
		if h, ok := hintOf(f.Err); ok {
			return h
		}
	}
	if s.Destructive && !s.Idempotent && slices.ContainsFunc(failures, func(f *Failure) bool { return !untouched(f.Err) }) {
		return fmt.Sprintf("mend it and run the same command with --redo %s, or with --skip %s if it is done", s.ID, s.ID)
	}
	return "mend it and run the same command again; it goes on with this step"
}
