package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bundle/install"
	"bundle/install/engine"
	"bundle/install/journal"
	"bundle/install/plan"
)

const (
	// mirrorGrace is how long the copy of the journal on the first master may
	// take to catch up at the end.
	mirrorGrace = 5 * time.Second
	// waitInterval is the least time between two lines about what is waited
	// for.
	waitInterval = 10 * time.Second
)

// runPlan runs a plan and tells on stderr what happens.
func (a *app) runPlan(ctx context.Context, p *plan.Plan, s *install.Session, jrn *journal.Journal, o engine.Options) (engine.Report, error) {
	o.Journal, o.Redact, o.Tool = jrn, s.Redactor().String, version
	o.User, o.Host = operator()
	if a.progress != "none" {
		o.Hooks = (&teller{a: a, redact: s.Redactor().String}).hooks()
	}
	return engine.Run(ctx, p, s, o)
}

// teller prints the course of a run, one line for each thing that happens.
type teller struct {
	a      *app
	redact func(string) string

	mu   sync.Mutex
	said time.Time
}

func (t *teller) hooks() engine.Hooks {
	return engine.Hooks{
		Started: func(run, done int) {
			if done > 0 {
				t.say("%d steps are done already, %d are to run", done, run)
			}
		},
		StepStarted: func(s plan.Step, n, total int) {
			t.say("[%*d/%d] %s: %s", len(fmt.Sprint(total)), n, total, s.ID, s.Summary)
		},
		HostDone: func(k engine.Task, o engine.Outcome, err error, took time.Duration) {
			state := "done"
			switch {
			case err != nil:
				state = "FAILED"
			case !o.Changed:
				state = "as it should be"
			}
			text := o.Detail
			if err != nil {
				text = t.redact(err.Error())
			}
			t.say("        %s %s after %s%s", k.Host, state, took.Round(100*time.Millisecond), behind(": ", text))
		},
		Waiting: t.waiting,
		Notice:  func(text string) { t.say("note: %s", text) },
	}
}

func behind(sep, text string) string {
	if text == "" {
		return ""
	}
	return sep + text
}

// waiting tells what a task waits for, but not every time.
func (t *teller) waiting(k engine.Task, what string) {
	t.mu.Lock()
	quiet := time.Since(t.said) < waitInterval
	t.mu.Unlock()
	if !quiet {
		t.say("        %s waits: %s", k.Host, t.redact(printableLine(what)))
	}
}

func (t *teller) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = time.Now()
	fmt.Fprintf(t.a.stderr, format+"\n", args...)
}

// printableLine keeps what a host printed from moving the cursor.
func printableLine(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			out[i] = ' '
		}
	}
	const limit = 160
	if len(out) > limit {
		out = append(out[:limit], '…')
	}
	return string(out)
}
