package install

import (
	"testing"
	"time"

	"bundle/install/check"
	"bundle/install/journal"
	"bundle/manifest"
)

// TestCourseOfTwoRuns: a step is as long as from its first host's beginning to
// its last one's end, in whichever run that was, and says what the plan said.
func TestCourseOfTwoRuns(t *testing.T) {
	at := func(min int) time.Time { return time.Date(2026, 1, 2, 3, min, 0, 0, time.UTC) }
	begin := &journal.Begin{
		Operation: journal.Install, IndexDigest: "sha256:1", User: "root", Host: "laptop",
		Plan: []journal.PlanStep{{ID: "a", Phase: "p", Digest: "1", Hosts: []string{"h1", "h2"}}, {ID: "b", Phase: "p", Digest: "1", Hosts: []string{"h1"}}, {ID: "c", Phase: "p", Digest: "1", Hosts: []string{"h1"}}},
	}
	step := func(typ journal.Type, min int, id, host string, took time.Duration) journal.Record {
		return journal.Record{Time: at(min), Type: typ, Step: &journal.Step{ID: id, Host: host, Digest: "1", Millis: took.Milliseconds(), Changed: true}}
	}
	records := []journal.Record{
		{Time: at(0), Type: journal.RunStarted, Begin: begin},
		step(journal.StepDone, 2, "a", "h1", time.Minute), step(journal.StepDone, 4, "a", "h2", 90*time.Second),
		step(journal.StepFailed, 5, "b", "h1", time.Minute),
		{Time: at(6), Type: journal.RunFinished, End: &journal.End{Outcome: journal.Failed}},
		{Time: at(20), Type: journal.RunStarted, Begin: begin},
		step(journal.StepDone, 23, "b", "h1", 2*time.Minute),
		{Time: at(24), Type: journal.RunFinished, End: &journal.End{Outcome: journal.OK}},
	}
	rec := &Record{Bundle: check.Bundle{IndexDigest: "sha256:1"}, Steps: []RecordStep{{ID: "b", Kind: "exec", Summary: "Do b", Source: manifest.FileLine("Kubefile", 3)}}}
	c := courseOf(journal.Fold(records), rec)
	if c == nil || c.Runs != 2 || c.User != "root@laptop" || !c.Started.Equal(at(1)) || !c.Finished.Equal(at(23)) || len(c.Steps) != 3 {
		t.Fatalf("%+v", c)
	}
	if a := c.Steps[0]; a.Took() != 3*time.Minute || !a.Changed || len(a.Hosts) != 2 || a.Status != "done" {
		t.Errorf("%+v", a)
	}
	if b := c.Steps[1]; b.Took() != 2*time.Minute || b.Summary != "Do b" || b.Source != "Kubefile:3" || b.Status != "done" {
		t.Errorf("%+v", b)
	}
	if s := c.Steps[2]; s.Status != "pending" || !s.Started.IsZero() {
		t.Errorf("%+v", s)
	}
	// What is known of another bundle, or of a cluster that is being cleaned,
	// is not how this one came to be.
	if c := courseOf(journal.Fold(records), &Record{}); c != nil {
		t.Errorf("%+v", c)
	}
	clean := append(records, journal.Record{Time: at(30), Type: journal.RunStarted, Begin: &journal.Begin{Operation: journal.Clean}})
	if c := courseOf(journal.Fold(clean), rec); c != nil {
		t.Errorf("%+v", c)
	}
	if c := courseOf(journal.Fold(nil), rec); c != nil {
		t.Errorf("%+v", c)
	}
}
