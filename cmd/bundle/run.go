package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"bundle/install"
	"bundle/install/engine"
	"bundle/install/journal"
	"bundle/install/plan"
	"bundle/internal/page"
)

const (
	// mirrorGrace is how long the copy of the journal on the first master may
	// take to catch up at the end.
	mirrorGrace = 5 * time.Second
	// waitInterval is the least time between two lines about what is waited
	// for.
	waitInterval = 10 * time.Second
	// quietInterval is after how long without a line a log is told what runs.
	quietInterval = 30 * time.Second
)

// runPlan runs a plan and tells on stderr what happens.
func (a *app) runPlan(ctx context.Context, p *plan.Plan, s *install.Session, jrn *journal.Journal, o engine.Options) (engine.Report, error) {
	o.Journal, o.Redact, o.Tool = jrn, s.Redactor().String, version
	o.User, o.Host = operator()
	if a.progress != "none" {
		t := &teller{a: a, redact: s.Redactor().String, mode: a.progressMode(), running: map[string]*work{}}
		o.Hooks = t.hooks()
		defer t.start()()
	}
	return engine.Run(ctx, p, s, o)
}

// teller prints the course of a run: one line for each thing that happens, and
// on a terminal, below them, what runs now and what it waits for.
type teller struct {
	a      *app
	redact func(string) string
	mode   string // of progress: tty, plain or json

	mu       sync.Mutex
	said     time.Time
	step     plan.Step
	n, total int
	began    time.Time
	hosts    int // of the step that are done
	running  map[string]*work
	live     int // columns of the line below, 0 where there is none
}

// work is what one host does.
type work struct {
	since time.Time
	waits string
}

func (t *teller) hooks() engine.Hooks {
	return engine.Hooks{
		Started: func(run, done int) {
			if done > 0 {
				t.say("%d steps are done already, %d are to run", done, run)
			}
		},
		StepStarted: func(s plan.Step, n, total int) {
			t.mu.Lock()
			t.step, t.n, t.total, t.began, t.hosts = s, n, total, time.Now(), 0
			t.mu.Unlock()
			t.say("[%*d/%d] %s: %s", len(fmt.Sprint(total)), n, total, s.ID, s.Summary)
		},
		HostStarted: func(k engine.Task) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.running[k.Host] = &work{since: time.Now()}
		},
		HostDone: t.hostDone,
		Waiting:  t.waiting,
		Notice:   func(text string) { t.say("note: %s", text) },
	}
}

func (t *teller) hostDone(k engine.Task, o engine.Outcome, err error, took time.Duration) {
	t.mu.Lock()
	delete(t.running, k.Host)
	t.hosts++
	t.mu.Unlock()
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
}

func behind(sep, text string) string {
	if text == "" {
		return ""
	}
	return sep + text
}

// waiting tells what a task waits for, but not every time.
func (t *teller) waiting(k engine.Task, what string) {
	what = t.redact(printableLine(what))
	t.mu.Lock()
	if w := t.running[k.Host]; w != nil {
		w.waits = what
	}
	quiet := t.mode == "tty" || time.Since(t.said) < waitInterval
	t.mu.Unlock()
	if !quiet {
		t.say("        %s waits: %s", k.Host, what)
	}
}

// start looks at what runs until stop is called.
func (t *teller) start() (stop func()) {
	forget := t.a.offerStatus(t.status)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(lookInterval)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				t.look(now)
			case <-done:
				return
			}
		}
	})
	return func() {
		forget()
		close(done)
		wg.Wait()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.wipe()
	}
}

// look renews the line below, or in a log says what runs where nothing was
// said for long.
func (t *teller) look(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) == 0 {
		return
	}
	switch t.mode {
	case "tty":
		t.wipe()
		// The last column stays free: some terminals go to the next line.
		line := strings.TrimRight(fit(t.now(now), terminalWidth(t.a.stderr)-1), " ")
		fmt.Fprint(t.a.stderr, line)
		t.live = len([]rune(line))
	default:
		if now.Sub(t.said) >= quietInterval {
			t.print("        still at it: " + t.now(now))
		}
	}
}

// wipe takes the line below away; the caller holds the lock.
func (t *teller) wipe() {
	if t.live > 0 {
		fmt.Fprint(t.a.stderr, "\r"+strings.Repeat(" ", t.live)+"\r")
		t.live = 0
	}
}

// now is what runs in one line: the step, its hosts, and what the one waits for
// that has taken longest; the caller holds the lock.
func (t *teller) now(now time.Time) string {
	line := fmt.Sprintf("[%d/%d] %s", t.n, t.total, t.step.ID)
	if n := len(t.step.Hosts); n > 1 && !t.step.Together {
		line += fmt.Sprintf(", %d of %d hosts done", t.hosts, n)
	}
	line += ", " + page.Took(now.Sub(t.began))
	hosts := t.longest()
	if len(hosts) == 0 {
		return line
	}
	line += ": " + hosts[0]
	if waits := t.running[hosts[0]].waits; waits != "" {
		line += " waits: " + waits
	}
	if len(hosts) > 1 {
		line += fmt.Sprintf(" (and %d more)", len(hosts)-1)
	}
	return line
}

// longest are the hosts at work, the one that began first before the others.
func (t *teller) longest() []string {
	return slices.SortedFunc(maps.Keys(t.running), func(a, b string) int {
		return cmp.Or(t.running[a].since.Compare(t.running[b].since), strings.Compare(a, b))
	})
}

// status prints all that runs, for who asks by a signal.
func (t *teller) status() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.print(t.now(now))
	for _, h := range t.longest() {
		w := t.running[h]
		t.print(fmt.Sprintf("        %s for %s%s", h, page.Took(now.Sub(w.since)), behind(", waits: ", w.waits)))
	}
}

func (t *teller) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print(fmt.Sprintf(format, args...))
}

// print writes a line above the one that is renewed; the caller holds the lock.
func (t *teller) print(line string) {
	t.said = time.Now()
	if t.mode == "json" {
		_ = json.NewEncoder(t.a.stderr).Encode(progressLine{
			Time: t.said.UTC(), Phase: t.step.Phase, Done: int64(max(t.n-1, 0)), Total: int64(t.total), Unit: "items", Item: strings.TrimSpace(line),
		})
		return
	}
	t.wipe()
	fmt.Fprintln(t.a.stderr, line)
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
