package journal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock ticks a second for each look at it.
func clock() func() time.Time {
	t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { t = t.Add(time.Second); return t }
}

func mustOpen(t *testing.T, dir string, o Options) *Journal {
	t.Helper()
	if o.Now == nil {
		o.Now = clock()
	}
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close(t.Context()) })
	return j
}

func add(t *testing.T, j *Journal, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func started(operation string, steps ...string) Record {
	b := &Begin{Operation: operation, Cluster: "c", Bundle: "shop", Version: "1", PlanDigest: "sha256:x"}
	for _, s := range steps {
		b.Plan = append(b.Plan, PlanStep{ID: s, Phase: "p", Digest: "d-" + s, Hosts: []string{"h1", "h2"}})
	}
	return Record{Type: RunStarted, Begin: b}
}

func stepRecord(kind Type, id, host string) Record {
	return Record{Type: kind, Step: &Step{ID: id, Host: host, Digest: "d-" + id}}
}

// sample is a journal with everything in it.
func sample() []Record {
	failed := stepRecord(StepFailed, "b", "h2")
	failed.Step.Error = "the disk is full"
	return []Record{
		started(Install, "a", "b"),
		stepRecord(StepStarted, "a", "h1"), stepRecord(StepDone, "a", "h1"),
		stepRecord(StepStarted, "a", "h2"), stepRecord(StepDone, "a", "h2"),
		stepRecord(StepStarted, "b", "h1"), stepRecord(StepStarted, "b", "h2"), failed,
		{Type: RunFinished, End: &End{Outcome: Failed, Error: "step b failed"}},
	}
}

func content0(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRecordsComeBackAsTheyWereWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x", "y")
	j := mustOpen(t, dir, Options{})
	add(t, j, sample()...)
	before := j.Records()
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, dir, Options{})
	after := j.Records()
	if len(before) != 9 || len(after) != len(before) {
		t.Fatalf("%d records became %d", len(before), len(after))
	}
	for i := range before {
		a, _, _ := encode(before[i])
		b, _, _ := encode(after[i])
		if !bytes.Equal(a, b) || after[i].Seq != int64(i+1) {
			t.Errorf("record %d was %s and is %s", i, a, b)
		}
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the journal: %v %v", info.Mode(), err)
	}
	add(t, j, stepRecord(StepStarted, "b", "h2"))
}

// Power loss leaves a part of the last line, or zeros of it.
func TestTornLastLineIsCutOffAndKept(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	add(t, j, sample()...)
	j.Close(t.Context())
	whole := content0(t, dir)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	zeros := bytes.Clone(whole)
	clear(zeros[last+10:])
	holes := bytes.Clone(whole)
	clear(holes[last+10 : last+30])
	tails := map[string][]byte{"no newline": whole[:len(whole)-1], "one byte": whole[:last+1], "half": whole[:last+40], "zeros": zeros, "a hole": holes}
	for name, data := range tails {
		dir := t.TempDir()
		file := filepath.Join(dir, FileName)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Read(dir); err != nil || len(r) != 8 {
			t.Errorf("%s: status sees %d records (%v), want 8", name, len(r), err)
		}
		j := mustOpen(t, dir, Options{})
		if n := len(j.Records()); n != 8 {
			t.Errorf("%s: %d records are left, want 8", name, n)
		}
		add(t, j, Record{Type: RunFinished, End: &End{Outcome: OK}})
		j.Close(t.Context())
		if r, err := Read(dir); err != nil || len(r) != 9 {
			t.Errorf("%s: %d records after going on: %v", name, len(r), err)
		}
		kept, err := filepath.Glob(file + ".torn-*")
		if err != nil || len(kept) != 1 {
			t.Fatalf("%s: kept %v (%v)", name, kept, err)
		}
		if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, data[last:]) {
			t.Errorf("%s: kept %q (%v), want %q", name, got, err, data[last:])
		}
	}
}

// A journal that somebody changed must not decide what is run.
func TestChangesAreFound(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	add(t, j, sample()...)
	j.Close(t.Context())
	whole := string(content0(t, dir))
	lines := strings.SplitAfter(whole, "\n")
	cut := func(i int) string {
		return strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
	}
	swap := append([]string{}, lines...)
	swap[3], swap[4] = swap[4], swap[3]
	for name, text := range map[string]string{
		"a line in the middle is gone":  cut(4),
		"the first line is gone":        cut(0),
		"two lines changed places":      strings.Join(swap, ""),
		"a status was edited":           strings.Replace(whole, "step.failed", "step.done", 1),
		"a line stands twice":           strings.Replace(whole, lines[2], lines[2]+lines[2], 1),
		"the last line was edited":      strings.Replace(whole, `"outcome":"failed"`, `"outcome":"ok"`, 1),
		"a line was torn in the middle": strings.Replace(whole, lines[3], lines[3][:20]+"\n", 1),
		"blanks were put in":            strings.Replace(whole, `"type":`, `"type": `, 1),
		"an empty line":                 whole + "\n\n",
		"a line without sum":            whole + "{\"seq\":10}\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: opened with %v", name, err)
		}
		if got := string(content0(t, dir)); got != text {
			t.Errorf("%s: the damaged file was touched", name)
		}
	}
}

// The sum of each line is chained, so even a rewritten line with a right sum
// of its own does not fit.
func TestRewrittenLineDoesNotFitTheChain(t *testing.T) {
	r := sample()[0]
	r.Seq = 1
	one, _, _ := encode(r)
	r2 := sample()[1]
	r2.Seq, r2.Prev = 2, strings.Repeat("0", 64)
	two, _, _ := encode(r2)
	if _, err := scan("x", append(append(one, '\n'), append(two, '\n')...)); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestSecondRunIsRefusedWithTheProcessThatHasIt(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{User: "alice"})
	if !Busy(dir) {
		t.Error("nobody is seen working on it")
	}
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "alice") || !strings.Contains(err.Error(), "process ") {
		t.Errorf("got %v", err)
	}
	j.Close(t.Context())
	if Busy(dir) {
		t.Error("it is still taken")
	}
	mustOpen(t, dir, Options{})
}

func TestSecretsAreTakenOut(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{Redact: func(s string) string { return strings.ReplaceAll(s, "hunter2", "[secret]") }})
	b := started(Install, "a")
	b.Begin.User = "u hunter2"
	f := stepRecord(StepFailed, "a", "h1")
	f.Step.Error, f.Step.Detail = "login with hunter2 failed", "hunter2"
	add(t, j, b, f, Record{Type: RunFinished, End: &End{Outcome: Failed, Error: "hunter2"}})
	if data := content0(t, dir); bytes.Contains(data, []byte("hunter2")) || bytes.Count(data, []byte("[secret]")) != 4 {
		t.Errorf("the journal says %s", data)
	}
	if f.Step.Error != "login with hunter2 failed" {
		t.Error("the caller's record was changed")
	}
}

func TestLongTextsAreCut(t *testing.T) {
	j := mustOpen(t, t.TempDir(), Options{})
	r := stepRecord(StepFailed, "a", "h1")
	r.Step.Error = strings.Repeat("长", 1<<20)
	add(t, j, started(Install, "a"), r)
	if got := j.Records()[1].Step.Error; len(got) > maxText+8 || !strings.HasSuffix(got, "长…") {
		t.Errorf("kept %d bytes ending in %q", len(got), got[len(got)-8:])
	}
}

func TestDefaultDir(t *testing.T) {
	for _, bad := range []string{"", "..", ".", "a/b", "../x", "a\nb", strings.Repeat("x", 300)} {
		if d, err := DefaultDir(bad); err == nil {
			t.Errorf("the cluster %q would be kept in %s", bad, d)
		}
	}
	dir, err := DefaultDir("my-cluster")
	if err != nil {
		t.Fatal(err)
	}
	if isRoot() {
		if dir != "/var/lib/bundle/state/my-cluster" {
			t.Errorf("root's journal is in %s", dir)
		}
		return
	}
	t.Setenv("XDG_STATE_HOME", "/s")
	if dir, _ := DefaultDir("x"); dir != filepath.FromSlash("/s/bundle/x") {
		t.Errorf("the journal is in %s", dir)
	}
}

func TestUseAfterCloseIsAnError(t *testing.T) {
	j := mustOpen(t, t.TempDir(), Options{})
	j.Close(context.Background())
	if err := j.Append(started(Install)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
