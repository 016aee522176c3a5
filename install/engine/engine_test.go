package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bundle/install/journal"
	"bundle/install/plan"
	"bundle/manifest"
)

// script is a runner whose tasks do what a test says. Without a word each ends
// well and changes something.
type script struct {
	mu sync.Mutex
	// do by "ID" or "ID@HOST".
	do map[string]func(ctx context.Context) (Outcome, error)
	// ran are all tasks that were begun, in order.
	ran []string
	// most is how many were at work at once.
	now, most int
}

func (s *script) Run(ctx context.Context, t Task) (Outcome, error) {
	s.mu.Lock()
	s.ran = append(s.ran, t.Step.ID+"@"+t.Host)
	s.now++
	s.most = max(s.most, s.now)
	f := s.do[t.Step.ID+"@"+t.Host]
	if f == nil {
		f = s.do[t.Step.ID]
	}
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.now--; s.mu.Unlock() }()
	if f == nil {
		return Outcome{Changed: true, Detail: "did " + t.Step.ID}, nil
	}
	return f(ctx)
}

func (s *script) took() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.ran, " ")
	s.ran = nil
	return out
}

func (s *script) on(task string, f func(ctx context.Context) (Outcome, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.do == nil {
		s.do = map[string]func(context.Context) (Outcome, error){}
	}
	s.do[task] = f
}

func fails(text string) func(context.Context) (Outcome, error) {
	return func(context.Context) (Outcome, error) { return Outcome{}, errors.New(text) }
}

// st makes a step. The letters of flags: i idempotent, d destructive, s serial.
func st(id, flags string, hosts ...string) plan.Step {
	return plan.Step{
		Step: manifest.Step{
			ID: id, Phase: "p", Kind: manifest.StepExec, Source: "Kubefile:1", Summary: id, TimeoutSeconds: 60,
			Idempotent: strings.Contains(flags, "i"), Destructive: strings.Contains(flags, "d"),
		},
		Hosts: hosts, Serial: strings.Contains(flags, "s"), Script: id,
	}
}

// sample is a plan with a step of every kind that the engine tells apart.
func sample() *plan.Plan {
	check := st("check", "i", "h1")
	check.Kind = plan.KindCheck
	undo := st("undo", "id", "h1")
	undo.Undoes = []string{"release"}
	return &plan.Plan{Operation: plan.Install, Cluster: "c", Bundle: "shop", Version: "1", Steps: []plan.Step{
		st("look", "i", "h1", "h2"),
		st("wipe", "d", "h1", "h2"),
		st("exec", "", "h1"),
		st("release", "i", "h1"),
		undo,
		check,
	}}
}

const all = "look@h1 look@h2 wipe@h1 wipe@h2 exec@h1 release@h1 undo@h1 check@h1"

type fixture struct {
	*testing.T
	dir  string
	plan *plan.Plan
	run  *script
	opts Options
}

func newFixture(t *testing.T) *fixture {
	return &fixture{T: t, dir: t.TempDir(), plan: sample(), run: &script{}, opts: Options{Parallel: 1}}
}

// again is a new process: it opens the journal, runs and lets go.
func (f *fixture) again(ctx context.Context, r Runner) (Report, error) {
	f.Helper()
	j, err := journal.Open(f.dir, journal.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer j.Close(context.Background())
	o := f.opts
	o.Journal = j
	return Run(ctx, f.plan, r, o)
}

// ok runs and wants these tasks and no error.
func (f *fixture) ok(want string) Report {
	f.Helper()
	rep, err := f.again(f.Context(), f.run)
	if err != nil {
		f.Fatalf("failed: %v", err)
	}
	if got := f.run.took(); got != want {
		f.Fatalf("ran %q, want %q", got, want)
	}
	return rep
}

// bad runs and wants these tasks and an error that says all of these.
func (f *fixture) bad(want string, says ...string) error {
	f.Helper()
	_, err := f.again(f.Context(), f.run)
	if err == nil {
		f.Fatal("it ended well")
	}
	text := err.Error()
	if h, ok := hintOf(err); ok {
		text += " HINT " + h
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			f.Fatalf("the error %q does not say %q", text, s)
		}
	}
	if got := f.run.took(); got != want {
		f.Fatalf("ran %q, want %q", got, want)
	}
	return err
}

// broken leaves a run behind that was killed while a task was at work.
func (f *fixture) broken(task string) {
	f.Helper()
	p := *f.plan
	id, host, _ := strings.Cut(task, "@")
	j, err := journal.Open(f.dir, journal.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer j.Close(context.Background())
	e := &run{plan: &p, opts: f.opts, j: j}
	if err := j.Append(journal.Record{Type: journal.RunStarted, Begin: e.begin()}); err != nil {
		f.Fatal(err)
	}
	for _, s := range p.Steps {
		for _, h := range s.Hosts {
			if err := e.write(journal.StepStarted, s, journal.Step{Host: h}); err != nil {
				f.Fatal(err)
			}
			if s.ID == id && h == host {
				return
			}
			if err := e.write(journal.StepDone, s, journal.Step{Host: h}); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Fatalf("there is no task %s", task)
}

func TestSecondRunDoesNothingAndSaysSo(t *testing.T) {
	f := newFixture(t)
	rep := f.ok(all)
	if !rep.Complete || rep.Nothing || rep.Ran != 6 || rep.Changed != 6 || rep.Outcome != journal.OK {
		t.Errorf("the first report is %+v", rep)
	}
	before, _ := journal.Read(f.dir)
	rep = f.ok("check@h1")
	after, _ := journal.Read(f.dir)
	if !rep.Nothing || !rep.Complete || rep.Finished.IsZero() || rep.Done != 5 || len(before) != len(after) {
		t.Errorf("the second report is %+v, with %d new records", rep, len(after)-len(before))
	}
}

// Preflight compares all hosts, so it is one task.
func TestStepForAllHostsTogetherIsOneTask(t *testing.T) {
	f := newFixture(t)
	f.plan.Steps[0].Together = true
	rest := all[len("look@h1 look@h2 "):]
	f.ok("look@h1 " + rest)
	f.ok("check@h1")
}

// Acceptance is looked at, never remembered.
func TestSecondRunSaysThatTheClusterIsBroken(t *testing.T) {
	f := newFixture(t)
	f.ok(all)
	f.run.on("check", fails("node h2 is not ready"))
	f.bad("check@h1", "check", "node h2 is not ready")
	f.run.on("check", nil)
	if rep := f.ok("check@h1"); !rep.Nothing {
		t.Error("a failed look made the install unfinished")
	}
}

func TestFailedStepIsRunAgainAndNothingBefore(t *testing.T) {
	f := newFixture(t)
	f.run.on("release", fails("ImagePullBackOff of web:1"))
	err := f.bad("look@h1 look@h2 wipe@h1 wipe@h2 exec@h1 release@h1", "release (Kubefile:1) failed on h1: ImagePullBackOff of web:1", "HINT mend it")
	if e, ok := errors.AsType[*StepError](err); !ok || e.Step.ID != "release" || e.Failures[0].Host != "h1" {
		t.Errorf("got %#v", err)
	}
	f.run.on("release", nil)
	f.ok("release@h1 undo@h1 check@h1")
	f.ok("check@h1")
}

func TestOneHostFailsAndTheOthersFinish(t *testing.T) {
	f := newFixture(t)
	f.plan.Steps[0].Hosts = []string{"h1", "h2", "h3", "h4"}
	f.run.on("look@h2", fails("no"))
	f.run.on("look@h4", fails("nor this"))
	f.bad("look@h1 look@h2 look@h3 look@h4", "failed on 2 of 4 hosts: h2: no; h4: nor this")
	f.run.on("look@h2", nil)
	f.run.on("look@h4", nil)
	f.ok("look@h2 look@h4" + all[len("look@h1 look@h2"):])
}

func TestSerialStepStopsAtTheFirstFailure(t *testing.T) {
	f := newFixture(t)
	f.opts.Parallel = 8
	f.plan.Steps[0] = st("look", "is", "h1", "h2", "h3")
	f.run.on("look@h2", fails("no"))
	f.bad("look@h1 look@h2", "h2: no")
	if f.run.most != 1 {
		t.Errorf("%d hosts at once in a serial step", f.run.most)
	}
}

func TestHostsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.opts.Parallel = 3
		hosts := make([]string, 9)
		for i := range hosts {
			hosts[i] = fmt.Sprint("h", i)
		}
		f.plan.Steps = []plan.Step{st("look", "i", hosts...)}
		f.run.on("look", func(context.Context) (Outcome, error) {
			time.Sleep(time.Second) // of the bubble: until all others wait as well
			return Outcome{}, nil
		})
		if _, err := f.again(t.Context(), f.run); err != nil {
			t.Fatal(err)
		}
		if f.run.most != 3 {
			t.Errorf("%d hosts at once, the bound is 3", f.run.most)
		}
	})
}

// What removes data and was stopped half way: nobody knows whether it ended.
func TestInterruptedDestructiveStepAsks(t *testing.T) {
	for answer, want := range map[string]string{
		"redo":       "wipe@h1 wipe@h2 exec@h1 release@h1 undo@h1 check@h1",
		"redo host":  "wipe@h1 wipe@h2 exec@h1 release@h1 undo@h1 check@h1",
		"skip":       "exec@h1 release@h1 undo@h1 check@h1",
		"skip host":  "wipe@h2 exec@h1 release@h1 undo@h1 check@h1",
		"start over": "",
	} {
		f := newFixture(t)
		f.broken("wipe@h1")
		f.bad("", "wipe (Kubefile:1) removes data and was interrupted on h1", "--redo wipe", "--skip wipe")
		switch answer {
		case "redo":
			f.opts.Redo = []string{"wipe"}
		case "redo host":
			f.opts.Redo = []string{"wipe@h1"}
		case "skip":
			f.opts.Skip = []string{"wipe"}
		case "skip host":
			f.opts.Skip = []string{"wipe@h1"}
		case "start over":
			f.opts.Restart = true
			f.bad("", "interrupted on h1")
			continue
		}
		f.ok(want)
		f.opts = Options{Parallel: 1}
		f.ok("check@h1")
	}
}

// The others of its hosts are done and stay untouched.
func TestRedoIsOnlyForTheHostsThatNeedIt(t *testing.T) {
	f := newFixture(t)
	f.broken("wipe@h2")
	f.bad("", "interrupted on h2")
	f.opts.Redo = []string{"wipe"}
	f.ok("wipe@h2 exec@h1 release@h1 undo@h1 check@h1")
	// And now that all are done it means all of them.
	f.ok("wipe@h1 wipe@h2 check@h1")
}

func TestFailedDestructiveStepIsNotRunAgainUnasked(t *testing.T) {
	f := newFixture(t)
	f.run.on("wipe@h2", fails("vgcreate failed"))
	f.bad("look@h1 look@h2 wipe@h1 wipe@h2", "h2: vgcreate failed", "--redo wipe")
	f.run.on("wipe@h2", nil)
	f.bad("", "failed half way on h2", "vgcreate failed", "--redo wipe")
	f.opts.Redo = []string{"wipe"}
	f.ok("wipe@h2 exec@h1 release@h1 undo@h1 check@h1")
}

func TestDestructiveStepThatDidNotBeginIsSimplyRun(t *testing.T) {
	f := newFixture(t)
	f.run.on("wipe@h2", func(context.Context) (Outcome, error) {
		return Outcome{}, fmt.Errorf("h2: %w", Untouched(errors.New("no route to host")))
	})
	err := f.bad("look@h1 look@h2 wipe@h1 wipe@h2", "no route to host")
	if h, _ := hintOf(err); strings.Contains(h, "--redo") {
		t.Errorf("the hint is %s", h)
	}
	f.run.on("wipe@h2", nil)
	f.ok("wipe@h2 exec@h1 release@h1 undo@h1 check@h1")
}

// A typed removal is content where there is nothing to remove.
func TestInterruptedRemovalThatCanBeRepeatedIs(t *testing.T) {
	f := newFixture(t)
	f.broken("undo@h1")
	f.ok("undo@h1 check@h1")
}

func TestInterruptedExecIsRunAgainAndTold(t *testing.T) {
	f := newFixture(t)
	f.broken("exec@h1")
	rep := f.ok("exec@h1 release@h1 undo@h1 check@h1")
	if len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "exec was interrupted on h1") {
		t.Errorf("notices %q", rep.Notices)
	}
}

// finder knows what became of tasks.
type finder struct {
	*script
	fate Fate
	err  error
}

func (f finder) Find(context.Context, Task) (Fate, Outcome, error) {
	return f.fate, Outcome{Changed: true, Detail: "seen"}, f.err
}

func TestFinderSparesTheQuestion(t *testing.T) {
	for fate, want := range map[Fate]string{
		Never:   "wipe@h1 wipe@h2 exec@h1 release@h1 undo@h1 check@h1",
		Ended:   "wipe@h2 exec@h1 release@h1 undo@h1 check@h1",
		Failed:  "",
		Unknown: "",
	} {
		f := newFixture(t)
		f.broken("wipe@h1")
		_, err := f.again(t.Context(), finder{f.run, fate, errors.New("exit status 5")})
		if got := f.run.took(); got != want || (err != nil) != (want == "") {
			t.Errorf("fate %d: ran %q, want %q (%v)", fate, got, want, err)
		}
		if fate == Failed && !strings.Contains(fmt.Sprint(err), "exit status 5") {
			t.Errorf("the reason is lost: %v", err)
		}
	}
}

// The connection broke: the step failed for us, and ended well on the host.
func TestFinderKnowsMoreThanAFailure(t *testing.T) {
	f := newFixture(t)
	f.run.on("wipe@h2", fails("connection reset"))
	f.bad("look@h1 look@h2 wipe@h1 wipe@h2", "connection reset")
	if _, err := f.again(t.Context(), finder{f.run, Ended, nil}); err != nil {
		t.Fatal(err)
	}
	if got := f.run.took(); got != "exec@h1 release@h1 undo@h1 check@h1" {
		t.Errorf("ran %s", got)
	}
}

// What is asked about before a run is what the run does.
func TestTodoIsWhatRunRuns(t *testing.T) {
	f := newFixture(t)
	todo := func(r Runner) string {
		j, err := journal.Open(f.dir, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close(context.Background())
		o := f.opts
		o.Journal = j
		steps, err := Todo(t.Context(), f.plan, r, o)
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, s := range steps {
			for _, h := range s.Hosts {
				out = append(out, s.ID+"@"+h)
			}
		}
		if len(f.run.took()) > 0 {
			t.Error("something was run")
		}
		return strings.Join(out, " ")
	}
	if got := todo(f.run); got != all {
		t.Errorf("at first %s", got)
	}
	f.run.on("release", fails("no"))
	f.bad("look@h1 look@h2 wipe@h1 wipe@h2 exec@h1 release@h1")
	f.run.on("release", nil)
	if got := todo(f.run); got != "release@h1 undo@h1 check@h1" {
		t.Errorf("after a failure %s", got)
	}
	f.opts.Redo = []string{"wipe@h2"}
	if got := todo(f.run); got != "wipe@h2 release@h1 undo@h1 check@h1" {
		t.Errorf("with --redo %s", got)
	}
}

func TestRestartRunsAllButWhatRemovedData(t *testing.T) {
	f := newFixture(t)
	f.ok(all)
	f.opts.Restart = true
	// undo takes back what release makes again, so it runs.
	rep := f.ok("look@h1 look@h2 exec@h1 release@h1 undo@h1 check@h1")
	if len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "--redo wipe") {
		t.Errorf("notices %q", rep.Notices)
	}
	f.opts.Restart = false
	f.ok("check@h1")
	f.opts.Restart, f.opts.Redo = true, []string{"wipe"}
	f.ok(all)
}

func TestFromAndUntil(t *testing.T) {
	f := newFixture(t)
	f.opts.Until = "wipe"
	rep := f.ok("look@h1 look@h2 wipe@h1 wipe@h2")
	if rep.Complete || rep.Outcome != journal.OK {
		t.Errorf("half an install is reported as %+v", rep)
	}
	f.opts = Options{Parallel: 1, From: "release"}
	f.ok("release@h1 undo@h1 check@h1")
	// What was passed over stays so.
	f.opts = Options{Parallel: 1}
	f.ok("check@h1")
	// And from there it runs again.
	f.opts.From = "exec"
	f.ok("exec@h1 release@h1 undo@h1 check@h1")
	f.opts = Options{Parallel: 1, From: "release", Until: "exec"}
	f.bad("", "release comes after exec")
	f.opts = Options{Parallel: 1, From: "rel"}
	f.bad("", "no step rel", "did you mean release")
	f.opts = Options{Parallel: 1, Redo: []string{"wipe@h9"}}
	f.bad("", "wipe does not run on h9", "h1, h2")
}

// An operator without the journal starts in the middle; a later run must not
// wipe what is there.
func TestWhatFromPassedOverNeverRemovesData(t *testing.T) {
	f := newFixture(t)
	f.opts.From = "release"
	f.ok("release@h1 undo@h1 check@h1")
	f.opts = Options{Parallel: 1}
	f.ok("check@h1")
	f.opts.Restart = true
	f.ok("look@h1 look@h2 exec@h1 release@h1 undo@h1 check@h1")
}

func TestChangedPlanIsRefusedWithWhatChanged(t *testing.T) {
	f := newFixture(t)
	f.run.on("release", fails("no"))
	f.bad("look@h1 look@h2 wipe@h1 wipe@h2 exec@h1 release@h1", "no")
	f.run.on("release", nil)
	f.plan.Steps[3].Args = map[string]any{"chart": "another"}
	f.plan.Steps[0].Hosts = []string{"h1", "h2", "h3"}
	err := f.bad("", "shop 1", "look (hosts +h3), release (changed)", "--accept-changes")
	if e, ok := errors.AsType[*ChangedError](err); !ok || len(e.Changes) != 2 {
		t.Errorf("got %#v", err)
	}
	f.opts.AcceptChanges = true
	f.ok("look@h3 release@h1 undo@h1 check@h1")
	f.opts.AcceptChanges = false
	f.ok("check@h1")
}

func TestChangedDestructiveStepAsks(t *testing.T) {
	f := newFixture(t)
	f.ok(all)
	f.plan.Steps[1].Script = "wipe more"
	f.opts.AcceptChanges = true
	f.bad("", "wipe (Kubefile:1) removes data and ran on h1, h2 already, and is another one now", "--redo wipe")
	f.opts.Skip = []string{"wipe"}
	f.ok("check@h1")
	f.opts = Options{Parallel: 1}
	f.ok("check@h1")
}

func TestCanceledRunIsInterruptedAndGoesOn(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.run.on("release", func(ctx context.Context) (Outcome, error) {
		cancel()
		<-ctx.Done()
		return Outcome{}, errors.New("the session was closed") // as real ones do
	})
	rep, err := f.again(ctx, f.run)
	if !errors.Is(err, context.Canceled) || rep.Outcome != journal.Interrupted {
		t.Errorf("got %v, %+v", err, rep)
	}
	f.run.took()
	records, _ := journal.Read(f.dir)
	if s := journal.Fold(records).Report("c", false); s.Outcome != "interrupted" || s.Steps[3].Status != journal.Started {
		t.Errorf("the status is %s, release is %s", s.Outcome, s.Steps[3].Status)
	}
	f.run.on("release", nil)
	f.ok("release@h1 undo@h1 check@h1")
}

func TestTimeoutSaysWhatItWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		ends func(ctx context.Context) error
		want string
	}{
		"runner says":  {func(ctx context.Context) error { return errors.New("deployment web: 1 of 3 ready") }, "not done after 1m0s: deployment web: 1 of 3 ready"},
		"hook says":    {func(ctx context.Context) error { return ctx.Err() }, "not done after 1m0s, waiting for the CRD addons"},
		"nobody knows": {nil, "not done after 1m0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.plan.Steps = f.plan.Steps[3:4]
			f.run.on("release", func(ctx context.Context) (Outcome, error) {
				if name == "hook says" {
					Waiting(ctx, "the CRD addons")
				}
				<-ctx.Done()
				if test.ends == nil {
					return Outcome{}, ctx.Err()
				}
				return Outcome{}, test.ends(ctx)
			})
			err := f.bad("release@h1", test.want)
			if e, ok := errors.AsType[*StepError](err); !ok || e.Failures[0].Timeout != time.Minute {
				t.Errorf("%s: %#v", name, err)
			}
			if errors.Is(err, context.Canceled) {
				t.Errorf("%s: it would end as interrupted", name)
			}
		})
	}
}

func TestHooksTellEverything(t *testing.T) {
	f := newFixture(t)
	var said []string
	say := func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }
	f.plan.Steps = f.plan.Steps[2:4]
	f.run.on("exec", func(ctx context.Context) (Outcome, error) {
		Waiting(ctx, "x")
		Waiting(ctx, "x")
		Waiting(ctx, "y")
		return Outcome{Detail: "fine hunter2"}, nil
	})
	f.run.on("release", fails("bad hunter2"))
	f.opts.Redact = func(s string) string { return strings.ReplaceAll(s, "hunter2", "*") }
	f.opts.Hooks = Hooks{
		Started:     func(run, done int) { say("start %d %d", run, done) },
		StepStarted: func(s plan.Step, n, total int) { say("step %s %d/%d", s.ID, n, total) },
		HostStarted: func(t Task) { say("host %s", t.Host) },
		HostDone:    func(t Task, o Outcome, err error, _ time.Duration) { say("done %s %q %v", t.Host, o.Detail, err) },
		Waiting:     func(t Task, what string) { say("waits %s", what) },
		StepDone:    func(s plan.Step, err error, _ time.Duration) { say("end %s %v", s.ID, err != nil) },
	}
	f.bad("exec@h1 release@h1", "bad *")
	want := `start 2 0|step exec 1/2|host h1|waits x|waits y|done h1 "fine *" <nil>|end exec false|step release 2/2|host h1|done h1 "" bad *|end release true`
	if got := strings.Join(said, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	records, _ := journal.Read(f.dir)
	for _, r := range records {
		if r.Step != nil && strings.Contains(r.Step.Detail+r.Step.Error, "hunter2") {
			t.Errorf("the journal holds the secret: %+v", r.Step)
		}
	}
}

func cleaning() *plan.Plan {
	return &plan.Plan{Operation: plan.Clean, Cluster: "c", Bundle: "shop", Version: "1", Steps: []plan.Step{
		st("clean.reset", "id", "h1", "h2"), st("clean.rootfs", "id", "h1", "h2"),
	}}
}

func TestCleaning(t *testing.T) {
	f := newFixture(t)
	f.ok(all)
	install := f.plan
	f.plan = cleaning()
	f.run.on("clean.rootfs@h2", fails("busy"))
	f.bad("clean.reset@h1 clean.reset@h2 clean.rootfs@h1 clean.rootfs@h2", "busy")

	// Half cleaned, nothing may be taken for installed.
	f.plan = install
	f.bad("", "was not cleaned to the end", "bundle clean")

	f.plan = cleaning()
	f.run.on("clean.rootfs@h2", nil)
	f.ok("clean.rootfs@h2")
	// A second cleaning cleans again: it may be asked to, for what is left.
	f.ok("clean.reset@h1 clean.reset@h2 clean.rootfs@h1 clean.rootfs@h2")
	f.plan = install
	f.ok(all)
}

// A disk that is full is no reason to lose track of what was done.
func TestNothingIsDoneThatCannotBeWrittenDown(t *testing.T) {
	f := newFixture(t)
	j, err := journal.Open(f.dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.run.on("exec", func(context.Context) (Outcome, error) {
		j.Close(context.Background()) // from now on nothing can be written
		return Outcome{}, nil
	})
	o := f.opts
	o.Journal = j
	rep, err := Run(t.Context(), f.plan, f.run, o)
	if err == nil || rep.Outcome != journal.Failed {
		t.Errorf("got %v, %+v", err, rep)
	}
	if got := f.run.took(); strings.Contains(got, "release") {
		t.Errorf("it went on: %s", got)
	}
	f.run.on("exec", nil)
	f.ok("exec@h1 release@h1 undo@h1 check@h1")
}

func TestMirrorKnowsBeforeDataIsRemoved(t *testing.T) {
	f := newFixture(t)
	j, err := journal.Open(f.dir, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(context.Background())
	m := &mirror{}
	if err := j.Attach(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	j.Release()
	f.run.on("wipe@h1", func(context.Context) (Outcome, error) {
		if !strings.Contains(m.text(), `"type":"step.started","step":{"id":"wipe","host":"h1"`) {
			t.Error("the mirror does not know that data is removed")
		}
		return Outcome{}, nil
	})
	o := f.opts
	o.Journal = j
	if _, err := Run(t.Context(), f.plan, f.run, o); err != nil {
		t.Fatal(err)
	}
}

// A host that is not fit is not written to, and a cleaned one is left clean.
func TestMirrorIsWrittenAfterPreflightUntilCleaned(t *testing.T) {
	f := newFixture(t)
	m := &mirror{}
	run := func() error {
		j, err := journal.Open(f.dir, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close(context.Background())
		if err := j.Attach(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		o := f.opts
		o.Journal = j
		_, err = Run(t.Context(), f.plan, f.run, o)
		return err
	}
	f.plan.Steps[0].Kind = plan.KindPreflight
	f.run.on("look", fails("no room"))
	if err := run(); err == nil || m.text() != "" {
		t.Errorf("the mirror holds %q (%v)", m.text(), err)
	}
	f.run.on("look", nil)
	if err := run(); err != nil || m.text() == "" {
		t.Errorf("the mirror holds %q (%v)", m.text(), err)
	}
	f.plan = cleaning()
	if err := run(); err != nil || m.text() != "" {
		t.Errorf("the mirror holds %q (%v)", m.text(), err)
	}
}

type mirror struct {
	mu   sync.Mutex
	data []byte
}

func (m *mirror) Name() string                         { return "h1" }
func (m *mirror) Read(context.Context) ([]byte, error) { return nil, nil }
func (m *mirror) Write(_ context.Context, off int64, _ string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = slices.Concat(m.data[:off], data)
	return nil
}

func (m *mirror) Remove(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = nil
	return nil
}

func (m *mirror) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.data)
}

func TestJournalIsReadableByStatus(t *testing.T) {
	f := newFixture(t)
	f.ok(all)
	records, err := journal.Read(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	rep := journal.Fold(records).Report("c", journal.Busy(f.dir))
	if rep.Outcome != "ok" || rep.Done != 6 || rep.Total != 6 || filepath.Base(f.dir) == "" {
		t.Errorf("status %+v", rep)
	}
}
