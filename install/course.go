package install

import (
	"errors"
	"io/fs"
	"time"

	"bundle/install/check"
	"bundle/install/journal"
)

// Course tells how the install that is checked went, from the journal on this
// machine. It is nil where there is none, or where it is of another bundle.
func (s *Session) Course() (*check.Course, error) {
	records, err := journal.Read(s.o.State)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec, err := s.job.record(s.o.Signers)
	if err != nil {
		return nil, err
	}
	return courseOf(journal.Fold(records), rec), nil
}

func courseOf(st *journal.State, rec *Record) *check.Course {
	last := st.Last(journal.Install)
	if last == nil || st.Cleaning() || last.IndexDigest != rec.Bundle.IndexDigest {
		return nil
	}
	r := st.Report("", false)
	c := &check.Course{Outcome: r.Outcome, User: r.User, Steps: []check.CourseStep{}}
	for _, run := range st.Runs {
		if run.Operation == journal.Install && run.IndexDigest == last.IndexDigest {
			c.Runs++
		}
	}
	said := map[string]RecordStep{}
	for _, s := range rec.Steps {
		said[s.ID] = s
	}
	for _, s := range r.Steps {
		step := courseStep(s)
		what := said[s.ID]
		step.Kind, step.Summary, step.Source = what.Kind, what.Summary, string(what.Source)
		c.Steps = append(c.Steps, step)
		if !step.Started.IsZero() && (c.Started.IsZero() || step.Started.Before(c.Started)) {
			c.Started = step.Started
		}
		c.Finished = later(c.Finished, step.Finished)
	}
	return c
}

// courseStep is a step from the first host's beginning to the last one's end.
func courseStep(s journal.StepReport) check.CourseStep {
	c := check.CourseStep{ID: s.ID, Phase: s.Phase, Status: string(s.Status), Hosts: []string{}}
	for _, h := range s.Hosts {
		c.Hosts = append(c.Hosts, h.Host)
		c.Changed = c.Changed || h.Changed
		if h.Status != journal.Done && h.Status != journal.Broken {
			continue // nobody saw its end
		}
		from := h.Time.Add(-time.Duration(h.Millis) * time.Millisecond)
		if c.Started.IsZero() || from.Before(c.Started) {
			c.Started = from
		}
		c.Finished = later(c.Finished, h.Time)
	}
	return c
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
