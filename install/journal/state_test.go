package journal

import (
	"bytes"
	"encoding/json"
	"testing"
)

func fold(records ...Record) *State { return Fold(records) }

func TestStateOfASample(t *testing.T) {
	s := fold(sample()...)
	for _, test := range []struct {
		id, host string
		want     Status
	}{{"a", "h1", Done}, {"a", "h2", Done}, {"b", "h1", Started}, {"b", "h2", Broken}, {"c", "h1", Pending}} {
		if got := s.Host(Install, test.id, test.host); got.Status != test.want {
			t.Errorf("%s on %s is %s, want %s", test.id, test.host, got.Status, test.want)
		}
	}
	if got := s.Host(Clean, "a", "h1"); got.Status != Pending {
		t.Errorf("cleaning takes the install's steps for its own: %v", got)
	}
}

// What removed data stays done when everything else is started over.
func TestRestartForgetsAllButWhatRemovesData(t *testing.T) {
	danger := stepRecord(StepDone, "wipe", "h1")
	danger.Step.Destructive = true
	again := started(Install, "a", "wipe")
	again.Begin.Restart = true
	s := fold(started(Install, "a", "wipe"), stepRecord(StepDone, "a", "h1"), danger, again)
	if got := s.Host(Install, "a", "h1").Status; got != Pending {
		t.Errorf("a is %s", got)
	}
	if got := s.Host(Install, "wipe", "h1").Status; got != Done {
		t.Errorf("wipe is %s and would run again", got)
	}
}

func TestCleanedForgetsEverything(t *testing.T) {
	records := append(sample(), started(Clean, "clean.x"))
	if s := fold(records...); !s.Cleaning() {
		t.Error("half a cleaning is not noticed")
	}
	s := fold(append(records, Record{Type: Cleaned})...)
	if s.Cleaning() || s.Host(Install, "a", "h1").Status != Pending || s.Last(Install) != nil {
		t.Error("something is left of the install")
	}
}

func TestStepsBeforeAnyRunAreNoPanic(t *testing.T) {
	fold(stepRecord(StepDone, "a", "h1"), Record{Type: RunFinished, End: &End{}}, Record{Type: "newer.kind"})
}

func TestStatusText(t *testing.T) {
	j := mustOpen(t, t.TempDir(), Options{})
	b := started(Install, "a", "b", "c")
	b.Begin.User, b.Begin.Host = "alice", "laptop"
	done := stepRecord(StepDone, "a", "h1")
	done.Step.Millis, done.Step.Detail = 61234, "up\x1b[31m to date"
	records := sample()
	records[0], records[2] = b, done
	add(t, j, records...)
	var out bytes.Buffer
	rep := j.State().Report("c", false)
	if err := rep.Text(&out); err != nil {
		t.Fatal(err)
	}
	want := `install of shop 1 on c: failed, 1 of 3 steps done
started 2026-01-02 03:04:07 UTC by alice@laptop, ended 2026-01-02 03:04:15 UTC
reason: step b failed

p
  done     a     1m1.2s  2 of 2 hosts
  failed   b             0 of 2 hosts
             h1  started
             h2  failed  the disk is full
  pending  c             0 of 2 hosts
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
	data, err := json.Marshal(rep)
	if err != nil || !bytes.Contains(data, []byte(`"outcome":"failed"`)) || !bytes.Contains(data, []byte(`"status":"pending"`)) {
		t.Errorf("%s %v", data, err)
	}
}

func TestStatusWithoutAnything(t *testing.T) {
	var out bytes.Buffer
	if err := fold().Report("c", false).Text(&out); err != nil || out.String() != "c: nothing was installed from here yet\n" {
		t.Errorf("got %q (%v)", out.String(), err)
	}
}

func TestOutcomes(t *testing.T) {
	end := func(e End) Record { return Record{Type: RunFinished, End: &e} }
	for _, test := range []struct {
		records []Record
		busy    bool
		want    string
	}{
		{nil, false, "none"},
		{[]Record{started(Install, "a")}, true, "running"},
		{[]Record{started(Install, "a")}, false, "interrupted"},
		{[]Record{started(Install, "a"), end(End{Outcome: OK})}, false, "partial"},
		{[]Record{started(Install, "a"), end(End{Outcome: OK, Complete: true})}, false, "ok"},
		{[]Record{started(Install, "a"), end(End{Outcome: Failed})}, false, "failed"},
	} {
		if got := fold(test.records...).Report("c", test.busy).Outcome; got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	j, err := Open(dir, Options{Now: clock()})
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range sample() {
		if err := j.Append(r); err != nil {
			f.Fatal(err)
		}
	}
	whole := bytes.Clone(j.data)
	j.Close(f.Context())
	f.Add(whole)
	f.Add(whole[:len(whole)-20])
	f.Add(append(bytes.Clone(whole), 0, 0, 0))
	f.Add(bytes.Replace(whole, []byte("done"), []byte("DONE"), 1))
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"seq":1,"type":"run.started","sum":"` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := scan("x", data)
		if err != nil {
			return
		}
		if c.good > len(data) || len(data[c.good:]) > 0 && bytes.Count(data[c.good:], []byte("\n")) > 1 {
			t.Fatalf("good %d of %d", c.good, len(data))
		}
		// What was accepted is what we would write, so it reads the same
		// again, and every part of it is a journal.
		again, err := scan("x", data[:c.good])
		if err != nil || len(again.records) != len(c.records) || again.sum != c.sum {
			t.Fatalf("%d records became %d: %v", len(c.records), len(again.records), err)
		}
		var out bytes.Buffer
		if err := Fold(c.records).Report("c", false).Text(&out); err != nil {
			t.Fatal(err)
		}
	})
}
