package check

import (
	"errors"
	"fmt"
	"time"
)

// ErrFailed is wrapped by [Report.Err].
var ErrFailed = errors.New("acceptance failed")

// Status is the outcome of one item.
type Status string

// The outcomes. Skipped items could not be looked at, which is said why.
const (
	Pass    Status = "pass"
	Warning Status = "warning"
	Fail    Status = "fail"
	Skipped Status = "skipped"
)

// Item is one thing that was checked.
type Item struct {
	// ID is one of the Item constants.
	ID string `json:"id"`
	// Title and TitleZH say what it is about.
	Title   string `json:"title"`
	TitleZH string `json:"titleZh"`
	Status  Status `json:"status"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Evidence is what was seen, a line each: what is wrong, or where nothing
	// is, what was looked at. At most [MaxEvidence]; Omitted counts the rest.
	Evidence []string `json:"evidence"`
	Omitted  int      `json:"omitted,omitempty"`
	// Hint is what to do, where something is wrong.
	Hint string `json:"hint,omitempty"`

	zh struct {
		summary, hint string
		evidence      []string
	}
}

// The items.
const (
	ItemNodes     = "nodes"
	ItemReleases  = "releases"
	ItemWorkloads = "workloads"
	ItemPods      = "pods"
	ItemImages    = "images"
	ItemNodePorts = "node-ports"
	ItemRegistry  = "registry"
)

// MaxEvidence bounds the lines of one item.
const MaxEvidence = 100

// HostLine is what the report says of a host.
type HostLine struct {
	Host
	// Node is its name in the cluster, empty where it is no node.
	Node    string `json:"node"`
	Ready   bool   `json:"ready"`
	Kubelet string `json:"kubelet"`
	OS      string `json:"os"`
	Runtime string `json:"runtime"`
}

// ReleaseLine is what the report says of a Helm release.
type ReleaseLine struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Status is Helm's, or "missing".
	Status string `json:"status"`
	// OK: it is deployed. Foreign: the bundle does not install it.
	OK         bool   `json:"ok"`
	Foreign    bool   `json:"foreign,omitempty"`
	Chart      string `json:"chart,omitempty"`
	Version    string `json:"version,omitempty"`
	AppVersion string `json:"appVersion,omitempty"`
}

// WorkloadLine is what the report says of what runs pods.
type WorkloadLine struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Desired   int32  `json:"desired"`
	Ready     int32  `json:"ready"`
	OK        bool   `json:"ok"`
	// Progress says how far it is, and why not further.
	Progress string `json:"progress"`
}

// ImageLine is one image that runs.
type ImageLine struct {
	// Name in the bundle, or as it was asked for where it is not there.
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Pods is how many run it.
	Pods int `json:"pods"`
	// OK: the digest is one of the bundle's.
	OK bool `json:"ok"`
}

// Course is how the install went, as its journal says.
type Course struct {
	// Outcome is that of the last run: "ok", "failed" or "interrupted".
	Outcome string `json:"outcome"`
	// User says who ran it last, and from where.
	User string `json:"user,omitempty"`
	// Started is the first step's beginning, Finished the last one's end.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Runs is how often the install was started until it was there.
	Runs  int          `json:"runs"`
	Steps []CourseStep `json:"steps"`
}

// CourseStep is one step of the plan, over all hosts.
type CourseStep struct {
	ID      string `json:"id"`
	Phase   string `json:"phase"`
	Kind    string `json:"kind,omitempty"`
	Summary string `json:"summary,omitempty"`
	Source  string `json:"source,omitempty"`
	// Status is the journal's: "done", "skipped", "failed", "started" or
	// "pending".
	Status   string    `json:"status"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Hosts    []string  `json:"hosts"`
	// Changed: it found something to do.
	Changed bool `json:"changed,omitempty"`
}

// Took is how long the step took, from the first host's beginning to the last
// one's end.
func (s CourseStep) Took() time.Duration { return s.Finished.Sub(s.Started) }

// Report is the outcome of an acceptance.
type Report struct {
	OK         bool       `json:"ok"`
	Time       time.Time  `json:"time"`
	Bundle     Bundle     `json:"bundle"`
	Cluster    string     `json:"cluster"`
	Kubernetes string     `json:"kubernetes"`
	Hosts      []HostLine `json:"hosts"`
	Items      []Item     `json:"items"`
	// What was seen one by one: expected releases and those that are there,
	// workloads, and images that run.
	Releases  []ReleaseLine  `json:"releases"`
	Workloads []WorkloadLine `json:"workloads"`
	Images    []ImageLine    `json:"images"`
	// Course is nil where this machine has no journal of the install.
	Course   *Course `json:"course,omitempty"`
	Passed   int     `json:"passed"`
	Failed   int     `json:"failed"`
	Warnings int     `json:"warnings"`
	Skipped  int     `json:"skipped"`
}

// Err is nil where nothing failed, else an error that wraps [ErrFailed] and
// says what did, a line for each item.
func (r Report) Err() error {
	if r.OK {
		return nil
	}
	e := &failed{}
	for _, i := range r.Items {
		if i.Status == Fail {
			e.items = append(e.items, i)
		}
	}
	return e
}

type failed struct{ items []Item }

// Error gives the sentence of the only item, or a line for each.
func (e *failed) Error() string {
	if len(e.items) == 1 {
		return e.items[0].Summary
	}
	s := fmt.Sprintf("acceptance found %d things wrong", len(e.items))
	for _, i := range e.items {
		s += "\n  " + i.Summary
	}
	return s
}

// Unwrap gives [ErrFailed].
func (e *failed) Unwrap() error { return ErrFailed }

// Hint is that of the first item that has one.
func (e *failed) Hint() string {
	for _, i := range e.items {
		if i.Hint != "" {
			return i.Hint
		}
	}
	return ""
}
