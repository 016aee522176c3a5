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

// Report is the outcome of an acceptance.
type Report struct {
	OK         bool       `json:"ok"`
	Time       time.Time  `json:"time"`
	Bundle     Bundle     `json:"bundle"`
	Cluster    string     `json:"cluster"`
	Kubernetes string     `json:"kubernetes"`
	Hosts      []HostLine `json:"hosts"`
	Items      []Item     `json:"items"`
	Passed     int        `json:"passed"`
	Failed     int        `json:"failed"`
	Warnings   int        `json:"warnings"`
	Skipped    int        `json:"skipped"`
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
