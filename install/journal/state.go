package journal

import (
	"slices"
	"time"
)

// Status is how far a step has got.
type Status string

// The statuses of a step on a host, and of a whole step.
const (
	Pending Status = "pending"
	// Started is a step of which nobody saw the end: it runs now, or the run
	// was stopped.
	Started Status = "started"
	Done    Status = "done"
	Broken  Status = "failed"
	Skipped Status = "skipped"
)

// HostState is what is known of one step on one host.
type HostState struct {
	Host   string    `json:"host"`
	Status Status    `json:"status"`
	Time   time.Time `json:"time,omitzero"`
	// Digest is that of the step that ran.
	Digest    string `json:"digest,omitempty"`
	Changed   bool   `json:"changed,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Error     string `json:"error,omitempty"`
	Untouched bool   `json:"untouched,omitempty"`
	Millis    int64  `json:"millis,omitempty"`
	// Attempt is that of the record that says it was started.
	Attempt string `json:"-"`

	destructive bool
}

// Run is one run.
type Run struct {
	Begin
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	// End is nil where nobody saw the end.
	End *End `json:"end,omitempty"`
}

// State is what a journal says, all in all.
type State struct {
	// Runs in order, without those before the last cleaning.
	Runs []*Run
	// Cleaned is when the cluster was cleaned last.
	Cleaned time.Time

	hosts map[key]HostState
}

type key struct{ operation, id, host string }

// Fold makes the state of all records.
func Fold(records []Record) *State {
	s := &State{hosts: map[key]HostState{}}
	for _, r := range records {
		s.add(r)
	}
	return s
}

func (s *State) add(r Record) {
	switch r.Type {
	case RunStarted:
		if r.Begin.Restart {
			for k, h := range s.hosts {
				if k.operation == r.Begin.Operation && !h.destructive {
					delete(s.hosts, k)
				}
			}
		}
		s.Runs = append(s.Runs, &Run{Begin: *r.Begin, Started: r.Time})
	case RunFinished:
		if run := s.last(); run != nil {
			run.End, run.Finished = r.End, r.Time
		}
	case StepStarted, StepDone, StepFailed, StepSkipped:
		if run := s.last(); run != nil {
			s.step(run.Operation, r)
		}
	case Cleaned:
		*s = State{Cleaned: r.Time, hosts: map[key]HostState{}}
	}
}

func (s *State) step(operation string, r Record) {
	h := HostState{
		Host: r.Step.Host, Time: r.Time, Digest: r.Step.Digest, Changed: r.Step.Changed, Detail: r.Step.Detail,
		Error: r.Step.Error, Untouched: r.Step.Untouched, Millis: r.Step.Millis, destructive: r.Step.Destructive,
	}
	k := key{operation, r.Step.ID, r.Step.Host}
	h.Attempt = s.hosts[k].Attempt
	switch r.Type {
	case StepStarted:
		h.Status, h.Attempt = Started, r.Attempt()
	case StepDone:
		h.Status = Done
	case StepSkipped:
		h.Status = Skipped
	case StepFailed:
		h.Status = Broken
		if r.Step.Interrupted {
			h.Status = Started
		}
	}
	s.hosts[k] = h
}

func (s *State) last() *Run {
	if len(s.Runs) == 0 {
		return nil
	}
	return s.Runs[len(s.Runs)-1]
}

// Last is the last run of an operation, nil where there is none.
func (s *State) Last(operation string) *Run {
	for _, r := range slices.Backward(s.Runs) {
		if r.Operation == operation {
			return r
		}
	}
	return nil
}

// Host tells what is known of a step on a host.
func (s *State) Host(operation, id, host string) HostState {
	if h, ok := s.hosts[key{operation, id, host}]; ok {
		return h
	}
	return HostState{Host: host, Status: Pending}
}

// Cleaning tells whether a cleaning has begun and not ended, so that nothing
// that was installed can be relied on.
func (s *State) Cleaning() bool { return s.Last(Clean) != nil }
