package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bundle/install/journal"
	"bundle/install/plan"
)

// steps runs everything that was decided to run.
func (e *run) steps(ctx context.Context) error {
	total := 0
	for i := range e.todo {
		switch {
		case len(e.todo[i].run) > 0:
			total++
		case !e.todo[i].passed:
			e.report.Done++
		}
	}
	if h := e.opts.Hooks.Started; h != nil {
		h(total, e.report.Done)
	}
	n := 0
	for i, s := range e.plan.Steps {
		hosts := e.todo[i].run
		if len(hosts) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n++
		if s.Kind != plan.KindPreflight {
			e.j.Release() // the hosts are fit; from here on they are written to
		}
		if err := e.step(ctx, s, hosts, n, total); err != nil {
			return err
		}
	}
	return nil
}

// step runs one step on its hosts.
func (e *run) step(ctx context.Context, s plan.Step, hosts []string, n, total int) error {
	if h := e.opts.Hooks.StepStarted; h != nil {
		h(s, n, total)
	}
	began := time.Now()
	reports := make([]HostReport, len(hosts))
	failures := make([]*Failure, len(hosts))
	stopped := make([]error, len(hosts)) // the journal, or the context
	parallel := e.opts.Parallel
	if s.Serial {
		parallel = 1
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, host := range hosts {
		slots <- struct{}{}
		if s.Serial && i > 0 && (failures[i-1] != nil || stopped[i-1] != nil) {
			<-slots
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			reports[i], failures[i], stopped[i] = e.task(ctx, Task{Step: s, Host: host})
		})
	}
	wg.Wait()

	sr := StepReport{ID: s.ID, Phase: s.Phase}
	changed := false
	var failed []*Failure
	for i := range hosts {
		if reports[i].Host == "" {
			continue // never begun
		}
		sr.Hosts = append(sr.Hosts, reports[i])
		changed = changed || reports[i].Changed
		if failures[i] != nil {
			failed = append(failed, failures[i])
		}
	}
	e.report.Steps = append(e.report.Steps, sr)
	e.report.Ran++
	if changed {
		e.report.Changed++
	}
	err := errors.Join(stopped...)
	if err == nil && len(failed) > 0 {
		err = &StepError{Step: s, Failures: failed, hint: hintFor(s, failed)}
	}
	if h := e.opts.Hooks.StepDone; h != nil {
		h(s, err, time.Since(began))
	}
	return err
}

// task runs one step on one host. stop is an error of the run as a whole.
func (e *run) task(ctx context.Context, t Task) (rep HostReport, failed *Failure, stop error) {
	if err := ctx.Err(); err != nil {
		return HostReport{}, nil, err
	}
	begun, err := e.add(journal.StepStarted, t.Step, journal.Step{Host: t.Host})
	if err != nil {
		return HostReport{}, nil, err
	}
	t.Attempt = begun.Attempt()
	if t.Step.Destructive {
		// Who takes over from another machine has to know that it ran.
		if err := e.j.Flush(ctx); err != nil && ctx.Err() == nil {
			e.notice(fmt.Sprintf("the step %s removes data, and the journal on the first master does not know: %s", t.Step.ID, e.opts.Redact(err.Error())))
		}
	}
	if h := e.opts.Hooks.HostStarted; h != nil {
		h(t)
	}
	began := time.Now()
	out, last, err := e.call(ctx, t)
	took := time.Since(began)
	out.Detail = e.opts.Redact(out.Detail)
	rep = HostReport{Host: t.Host, OK: err == nil, Changed: out.Changed, Detail: out.Detail, Seconds: took.Seconds()}
	rec := journal.Step{Host: t.Host, Changed: out.Changed, Detail: out.Detail, Millis: took.Milliseconds()}
	kind := journal.StepDone
	if err != nil {
		kind = journal.StepFailed
		rec.Changed = false
		rec.Untouched = untouched(err)
		f := e.failure(t, err, last)
		rep.Error, rec.Error = f.text, f.text
		err = f
		if ctx.Err() != nil {
			rec.Interrupted, stop = true, ctx.Err()
		} else {
			failed = f
		}
	}
	if werr := e.write(kind, t.Step, rec); werr != nil {
		// It cannot be told later that it ended, so it has not.
		stop = errors.Join(werr, stop)
	}
	if h := e.opts.Hooks.HostDone; h != nil {
		h(t, out, err, took)
	}
	return rep, failed, stop
}

// call runs the runner within the time of the step. last is what it waited
// for at the end.
func (e *run) call(ctx context.Context, t Task) (out Outcome, last string, err error) {
	limit := limitOf(t.Step)
	w := &waiter{task: t, hook: e.opts.Hooks.Waiting}
	tctx, cancel := context.WithTimeoutCause(context.WithValue(ctx, waitKey{}, w), limit, errTimeout)
	defer cancel()
	out, err = e.runner.Run(tctx, t)
	if err != nil && ctx.Err() == nil && context.Cause(tctx) == errTimeout {
		err = &timeoutError{limit: limit, err: err}
	}
	return out, w.last(), err
}

// limitOf is how long a step may take on a host.
func limitOf(s plan.Step) time.Duration {
	if s.TimeoutSeconds <= 0 {
		return 10 * time.Minute
	}
	return time.Duration(s.TimeoutSeconds) * time.Second
}

// failure says why a task failed, without secrets.
func (e *run) failure(t Task, err error, last string) *Failure {
	f := &Failure{Host: t.Host, Err: err, text: err.Error()}
	if timeout, ok := errors.AsType[*timeoutError](err); ok {
		f.Timeout = timeout.limit
		f.text = fmt.Sprintf("not done after %s", timeout.limit)
		if said := timeout.said(); said != "" {
			f.text += ": " + said
		} else if last != "" {
			f.text += ", waiting for " + last
		}
	}
	f.text = e.opts.Redact(f.text)
	return f
}

// write appends a record of a step to the journal.
func (e *run) write(kind journal.Type, s plan.Step, rec journal.Step) error {
	_, err := e.add(kind, s, rec)
	return err
}

func (e *run) add(kind journal.Type, s plan.Step, rec journal.Step) (journal.Record, error) {
	rec.ID, rec.Digest, rec.Destructive = s.ID, s.Digest(), s.Destructive
	return e.j.Add(journal.Record{Type: kind, Step: &rec})
}

// checkOnly is the run of a plan that is done: acceptance looks again, and
// nothing is written.
func (e *run) checkOnly(ctx context.Context, state *journal.State) error {
	e.report.Nothing, e.report.Complete = true, true
	if last := state.Last(e.plan.Operation); last != nil {
		e.report.Finished = last.Finished
	}
	var err error
	checks := 0
	for i := range e.todo {
		if len(e.todo[i].run) > 0 {
			checks++
		}
	}
	e.report.Done = len(e.plan.Steps) - checks
	if h := e.opts.Hooks.Started; h != nil {
		h(checks, e.report.Done)
	}
	n := 0
	for i, s := range e.plan.Steps {
		if len(e.todo[i].run) == 0 {
			continue
		}
		n++
		if err = e.look(ctx, s, n, checks); err != nil {
			break
		}
	}
	switch {
	case err == nil:
		e.report.Outcome = journal.OK
	case ctx.Err() != nil:
		e.report.Outcome, err = journal.Interrupted, ctx.Err()
	default:
		e.report.Outcome = journal.Failed
	}
	return err
}

// look runs a step that changes nothing, without the journal.
func (e *run) look(ctx context.Context, s plan.Step, n, total int) error {
	if h := e.opts.Hooks.StepStarted; h != nil {
		h(s, n, total)
	}
	sr := StepReport{ID: s.ID, Phase: s.Phase}
	began := time.Now()
	var failed []*Failure
	for _, host := range s.Tasks() {
		t := Task{Step: s, Host: host}
		start := time.Now()
		if h := e.opts.Hooks.HostStarted; h != nil {
			h(t)
		}
		out, last, err := e.call(ctx, t)
		took := time.Since(start)
		rep := HostReport{Host: host, OK: err == nil, Changed: out.Changed, Detail: e.opts.Redact(out.Detail), Seconds: took.Seconds()}
		if err != nil {
			f := e.failure(t, err, last)
			rep.Error, err = f.text, f
			failed = append(failed, f)
		}
		sr.Hosts = append(sr.Hosts, rep)
		if h := e.opts.Hooks.HostDone; h != nil {
			h(t, out, err, took)
		}
	}
	e.report.Steps = append(e.report.Steps, sr)
	e.report.Ran++
	var err error
	if len(failed) > 0 {
		err = &StepError{Step: s, Failures: failed, hint: hintFor(s, failed)}
	}
	if h := e.opts.Hooks.StepDone; h != nil {
		h(s, err, time.Since(began))
	}
	return err
}
