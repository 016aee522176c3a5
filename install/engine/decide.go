package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bundle/install/journal"
	"bundle/install/plan"
)

// decision is what happens to one step in this run.
type decision struct {
	run    []string // hosts to run on
	done   []string // hosts that need no run
	skip   []mark   // hosts that the journal shall say are skipped
	ended  []mark   // hosts on which an earlier run turns out to have ended
	passed bool     // outside of From and Until
}

// mark is something to write into the journal before the run.
type mark struct {
	host, why string
	changed   bool
}

// allowed refuses a run that the journal does not fit.
func (e *run) allowed(s *journal.State) error {
	o := e.opts
	for _, id := range slices.Concat([]string{o.From, o.Until}, ids(o.Redo), ids(o.Skip)) {
		if id == "" {
			continue
		}
		if _, ok := e.plan.Step(id); !ok {
			return e.noStep(id)
		}
	}
	for _, x := range slices.Concat(o.Redo, o.Skip) {
		id, host, _ := strings.Cut(x, "@")
		if st, _ := e.plan.Step(id); host != "" && !slices.Contains(st.Tasks(), host) {
			return &RefusedError{text: fmt.Sprintf("the step %s does not run on %s", id, host), hint: "it runs on " + strings.Join(st.Tasks(), ", ")}
		}
	}
	if i, j := e.index(o.From), e.index(o.Until); o.From != "" && o.Until != "" && i > j {
		return &RefusedError{text: fmt.Sprintf("the step %s comes after %s", o.From, o.Until), hint: "see bundle plan for the order"}
	}
	if e.plan.Operation == plan.Install && s.Cleaning() {
		return &RefusedError{
			text: fmt.Sprintf("the cluster %s was not cleaned to the end, so nothing is known of its state", e.plan.Cluster),
			hint: "run bundle clean again first",
		}
	}
	last := s.Last(e.plan.Operation)
	if last == nil || last.PlanDigest == e.plan.Digest().String() || o.Restart || o.AcceptChanges {
		return nil
	}
	known := make([]plan.Known, len(last.Plan))
	for i, k := range last.Plan {
		known[i] = plan.Known{ID: k.ID, Digest: k.Digest, Hosts: k.Hosts}
	}
	return &ChangedError{Bundle: last.Bundle, Version: last.Version, Since: last.Started, Changes: e.plan.Changes(known)}
}

// ids gives the step IDs of ID or ID@HOST.
func ids(list []string) []string {
	var out []string
	for _, x := range list {
		id, _, _ := strings.Cut(x, "@")
		out = append(out, id)
	}
	return out
}

func (e *run) index(id string) int {
	return slices.IndexFunc(e.plan.Steps, func(s plan.Step) bool { return s.ID == id })
}

// noStep names the steps that are nearest to an ID that there is not.
func (e *run) noStep(id string) error {
	var near []string
	for _, s := range e.plan.Steps {
		if len(near) < 5 && (strings.Contains(s.ID, id) || strings.Contains(id, s.ID)) {
			near = append(near, s.ID)
		}
	}
	hint := "see bundle plan for the steps"
	if len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return &RefusedError{text: fmt.Sprintf("the plan has no step %s", id), hint: hint, usage: true}
}

// asked tells whether a list of ID or ID@HOST names a step on a host, and
// whether it names the host.
func asked(list []string, id, host string) (named, exactly bool) {
	return slices.Contains(list, id), slices.Contains(list, id+"@"+host)
}

// decide fills in todo.
func (e *run) decide(ctx context.Context, state *journal.State) error {
	from, until := max(e.index(e.opts.From), 0), len(e.plan.Steps)-1
	if e.opts.Until != "" {
		until = e.index(e.opts.Until)
	}
	e.todo = make([]decision, len(e.plan.Steps))
	var open []question
	for i, s := range e.plan.Steps {
		d := &e.todo[i]
		d.passed = i < from || i > until
		hosts := map[string]journal.HostState{}
		unfinished := false
		for _, h := range s.Tasks() {
			hosts[h] = state.Host(e.plan.Operation, s.ID, h)
			unfinished = unfinished || !settled(hosts[h], s.Digest())
		}
		for _, h := range s.Tasks() {
			known := hosts[h]
			switch {
			case e.skipped(s, h, known):
				d.skip = append(d.skip, mark{host: h, why: "skipped by --skip"})
			case i < from:
				if !settled(known, s.Digest()) || e.opts.Restart && !s.Destructive {
					d.skip = append(d.skip, mark{host: h, why: "passed over by --from " + e.opts.From})
				}
				d.done = append(d.done, h)
			case i > until:
			default:
				q, err := e.host(ctx, s, h, known, unfinished, d)
				if err != nil {
					return err
				}
				if q != nil {
					open = append(open, *q)
				}
			}
		}
	}
	if len(open) > 0 {
		return refuse(open)
	}
	e.takeBack(state)
	return nil
}

// takeBack lets steps run again that undo what runs again, and tells of those
// that remove data, are not run again, and may be missed.
func (e *run) takeBack(state *journal.State) {
	runs := map[string]bool{}
	repeats := false // whether something runs again that was done
	for i, s := range e.plan.Steps {
		d := &e.todo[i]
		if !d.passed && len(d.done) > 0 && slices.ContainsFunc(s.Undoes, func(id string) bool { return runs[id] }) {
			d.run, d.done = append(d.run, d.done...), nil
		}
		runs[s.ID] = len(d.run) > 0
		if s.Destructive && !d.passed && len(d.done) > 0 && repeats {
			e.notice(fmt.Sprintf("the step %s removes data and has run, so it does not run again; --redo %s would run it", s.ID, s.ID))
		}
		for _, h := range d.run {
			if st := state.Host(e.plan.Operation, s.ID, h).Status; s.Kind != plan.KindCheck && (st == journal.Done || st == journal.Skipped) {
				repeats = true
			}
		}
	}
}

func (e *run) skipped(s plan.Step, host string, known journal.HostState) bool {
	named, exactly := asked(e.opts.Skip, s.ID, host)
	return exactly || named && !settled(known, s.Digest())
}

// question is a task that only the user can decide about.
type question struct {
	step plan.Step
	host string
	// state is how far it got, changed whether it was another step then.
	state   journal.HostState
	changed bool
}

// host decides about one step on one host.
func (e *run) host(ctx context.Context, s plan.Step, host string, known journal.HostState, unfinished bool, d *decision) (*question, error) {
	same := known.Digest == s.Digest()
	named, exactly := asked(e.opts.Redo, s.ID, host)
	redo := exactly || named && (!unfinished || !settled(known, s.Digest()))
	again := e.opts.Restart || e.opts.From != ""
	switch {
	case redo || s.Kind == plan.KindCheck || known.Status == journal.Pending:
		d.run = append(d.run, host)
	case !s.Destructive:
		if settled(known, s.Digest()) && !again {
			d.done = append(d.done, host)
			return nil, nil
		}
		if !s.Idempotent && known.Status == journal.Started && same {
			return nil, e.resume(ctx, s, host, known, d)
		}
		d.run = append(d.run, host)
	case settled(known, s.Digest()):
		d.done = append(d.done, host)
	case known.Untouched && known.Status == journal.Broken:
		d.run = append(d.run, host) // it had not begun
	case s.Idempotent && same:
		d.run = append(d.run, host) // what is left to remove
	case same:
		return e.find(ctx, s, host, known, d)
	default:
		return &question{s, host, known, !same}, nil
	}
	return nil, nil
}

// resume decides about an opaque step that was stopped and removes nothing:
// where nobody knows what became of it, it runs again.
func (e *run) resume(ctx context.Context, s plan.Step, host string, known journal.HostState, d *decision) error {
	q, err := e.find(ctx, s, host, known, d)
	if err == nil && q != nil {
		e.notice(fmt.Sprintf("the step %s was interrupted on %s and runs again", s.ID, host))
		d.run = append(d.run, host)
	}
	return err
}

// find asks the runner what became of a task.
func (e *run) find(ctx context.Context, s plan.Step, host string, known journal.HostState, d *decision) (*question, error) {
	f, ok := e.runner.(Finder)
	if !ok {
		return &question{s, host, known, false}, nil
	}
	if h := e.opts.Hooks.Notice; h != nil {
		h(fmt.Sprintf("asking %s what became of the step %s", host, s.ID))
	}
	// It may still be running, but not for longer than it may take.
	fctx, cancel := context.WithTimeout(ctx, limitOf(s))
	defer cancel()
	fate, out, err := f.Find(fctx, Task{Step: s, Host: host, Attempt: known.Attempt})
	switch fate {
	case Never:
		d.run = append(d.run, host)
		return nil, nil
	case Ended:
		why := out.Detail
		if why == "" {
			why = "it had ended well"
		}
		d.ended = append(d.ended, mark{host: host, why: why, changed: out.Changed})
		d.done = append(d.done, host)
		return nil, nil
	case Failed:
		known.Status = journal.Broken
		if err != nil {
			known.Error = e.opts.Redact(err.Error())
		}
		return &question{s, host, known, false}, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return &question{s, host, known, false}, nil
}

// writeDecisions puts what was decided without running into the journal.
func (e *run) writeDecisions() error {
	for i, s := range e.plan.Steps {
		for _, m := range e.todo[i].skip {
			if err := e.write(journal.StepSkipped, s, journal.Step{Host: m.host, Detail: m.why}); err != nil {
				return err
			}
		}
		for _, m := range e.todo[i].ended {
			if err := e.write(journal.StepDone, s, journal.Step{Host: m.host, Detail: m.why, Changed: m.changed}); err != nil {
				return err
			}
		}
	}
	return nil
}

// nothingLeft tells whether only acceptance is to run, and was run well
// before.
func (e *run) nothingLeft() bool {
	state := e.j.State()
	for i, s := range e.plan.Steps {
		d := e.todo[i]
		if len(d.skip)+len(d.ended) > 0 {
			return false
		}
		if s.Kind != plan.KindCheck && len(d.run) > 0 {
			return false
		}
		for _, h := range s.Tasks() {
			if !settled(state.Host(e.plan.Operation, s.ID, h), s.Digest()) {
				return false
			}
		}
	}
	return true
}
