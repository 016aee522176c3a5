package preflight

import (
	"errors"
	"fmt"
	"slices"

	"bundle/manifest"
)

// ErrNotReady is wrapped by [Report.Err].
var ErrNotReady = errors.New("the hosts are not ready")

// Level says what a finding means for the install.
type Level string

// The levels. An error stops the install, a warning is for a person to weigh.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Error   Level = "error"
)

// Checks are the names of all checks, as [Needs.Ignore] takes them.
var Checks = []string{
	"reach", "root", "arch", "kernel", "os", "cpu", "memory", "disk", "disk-pressure", "inodes",
	"port", "clock", "time-sync", "hostname", "hostname-unique", "machine-id", "product-uuid", "mac",
	"address", "route", "swap", "resolv", "leftover", "runtime", "systemd", "cgroup", "selinux",
	"firewall", "module", "command", "device",
}

// UnknownChecks gives those of the names that are no checks.
func UnknownChecks(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(Checks, n) })
}

// Finding is the outcome of one check on one host.
type Finding struct {
	// Host by its address; empty for the machine that we run on.
	Host  string `json:"host"`
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Message is one sentence.
	Message string `json:"message"`
	// Hint is what to do about it, empty where there is nothing to do.
	Hint string `json:"hint,omitempty"`
	// Ignored tells that this was an error, and the user wants to go on.
	Ignored bool `json:"ignored,omitempty"`
}

// HostSummary is what a report says of a host besides findings.
type HostSummary struct {
	Host   string `json:"host"`
	Master bool   `json:"master"`
	// Reached is false where nothing else is known.
	Reached  bool   `json:"reached"`
	HostName string `json:"hostName,omitempty"`
	OS       string `json:"os,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Platform string `json:"platform,omitempty"`
	CPUs     int    `json:"cpus,omitempty"`
	Memory   int64  `json:"memory,omitempty"`
	// ClockOffset is how far the clock is ahead of ours, in seconds.
	ClockOffset float64 `json:"clockOffsetSeconds"`
}

// Report is the judgement over all hosts.
type Report struct {
	OK       bool          `json:"ok"`
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Hosts    []HostSummary `json:"hosts"`
	// Findings by host, in the order of the inventory; the operator's own
	// come last.
	Findings []Finding `json:"findings"`
	// Disks is the peak use of every file system that the install fills.
	Disks []Usage `json:"disks"`
}

// Problems are the findings of a level, in order.
func (r Report) Problems(level Level) []Finding {
	var list []Finding
	for _, f := range r.Findings {
		if f.Level == level {
			list = append(list, f)
		}
	}
	return list
}

// Err is nil if no finding is an error, else an error that wraps
// [ErrNotReady] and says all of them, a line each.
func (r Report) Err() error {
	if r.Errors == 0 {
		return nil
	}
	return &notReady{r.Problems(Error)}
}

type notReady struct{ findings []Finding }

// Error gives the sentence of the only finding, or a line for each.
func (e *notReady) Error() string {
	if len(e.findings) == 1 {
		return e.findings[0].line()
	}
	s := fmt.Sprintf("preflight found %d errors", len(e.findings))
	for _, f := range e.findings {
		s += "\n  " + f.line()
	}
	return s
}

// Unwrap gives [ErrNotReady].
func (e *notReady) Unwrap() error { return ErrNotReady }

// Hint is that of the first finding that has one, and how to go on anyway.
func (e *notReady) Hint() string {
	for _, f := range e.findings {
		if f.Hint != "" {
			return f.Hint
		}
	}
	return "--ignore " + e.findings[0].Check + " goes on all the same"
}

// Object names the host.
func (e *notReady) Object() string { return e.findings[0].Host }

func (f Finding) line() string {
	if f.Host == "" {
		return f.Message
	}
	return f.Host + ": " + f.Message
}

func platformText(p manifest.Platform) string {
	if p == (manifest.Platform{}) {
		return ""
	}
	return p.String()
}

// human writes a size with the unit that people read most easily.
func human(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/(1<<10), 0
	for f >= 1023.95 && i < len(units)-1 {
		f, i = f/(1<<10), i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
