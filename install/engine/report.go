package engine

import (
	"time"
)

// Report is what a run did. Field names are stable.
type Report struct {
	Operation string `json:"operation"`
	Cluster   string `json:"cluster"`
	Bundle    string `json:"bundle"`
	Version   string `json:"version"`
	// Outcome is "ok", "failed" or "interrupted"; empty where the run was
	// refused.
	Outcome string `json:"outcome"`
	// Nothing is set where everything was done before, since Finished.
	Nothing  bool      `json:"nothing,omitempty"`
	Finished time.Time `json:"finished,omitzero"`
	// Complete is set where every step of the plan is done.
	Complete bool `json:"complete"`
	// Ran, Done and Changed count steps: those run now, those that were done
	// before, and those run now that changed something.
	Ran     int      `json:"ran"`
	Done    int      `json:"done"`
	Changed int      `json:"changed"`
	Seconds float64  `json:"seconds"`
	Notices []string `json:"notices,omitempty"`
	// Steps are those that were run now.
	Steps []StepReport `json:"steps"`
}

// StepReport is one step of a [Report].
type StepReport struct {
	ID    string       `json:"id"`
	Phase string       `json:"phase"`
	Hosts []HostReport `json:"hosts"`
}

// HostReport is one host of a step.
type HostReport struct {
	Host    string  `json:"host"`
	OK      bool    `json:"ok"`
	Changed bool    `json:"changed,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}
