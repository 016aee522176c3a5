package journal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what `bundle status` says: the last run, step by step. Field
// names are stable.
type Report struct {
	Cluster   string `json:"cluster"`
	Bundle    string `json:"bundle"`
	Version   string `json:"version"`
	Operation string `json:"operation,omitempty"`
	// Outcome is "none", "running", "ok", "failed" or "interrupted"; "partial"
	// where the run ended well and steps are left.
	Outcome  string    `json:"outcome"`
	Error    string    `json:"error,omitempty"`
	User     string    `json:"user,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Done and Total count steps.
	Done  int          `json:"done"`
	Total int          `json:"total"`
	Steps []StepReport `json:"steps"`
	// Cleaned is when the cluster was cleaned, where nothing came after.
	Cleaned time.Time `json:"cleaned,omitzero"`
}

// StepReport is one step of a [Report].
type StepReport struct {
	ID     string      `json:"id"`
	Phase  string      `json:"phase,omitempty"`
	Status Status      `json:"status"`
	Hosts  []HostState `json:"hosts"`
}

// Report makes the report. busy says whether a run is going on, see [Busy].
func (s *State) Report(cluster string, busy bool) Report {
	rep := Report{Cluster: cluster, Outcome: "none", Steps: []StepReport{}, Cleaned: s.Cleaned}
	run := s.last()
	if run == nil {
		return rep
	}
	rep.Bundle, rep.Version, rep.Operation = run.Bundle, run.Version, run.Operation
	rep.Started, rep.Finished, rep.Total = run.Started, run.Finished, len(run.Plan)
	rep.User = run.User
	if run.Begin.Host != "" {
		rep.User += "@" + run.Begin.Host
	}
	for _, p := range run.Plan {
		st := StepReport{ID: p.ID, Phase: p.Phase, Hosts: []HostState{}}
		for _, name := range p.Hosts {
			h := s.Host(run.Operation, p.ID, name)
			if h.Status != Pending && h.Digest != p.Digest {
				h = HostState{Host: name, Status: Pending}
			}
			st.Hosts = append(st.Hosts, h)
		}
		st.Status = whole(st.Hosts)
		if st.Status == Done || st.Status == Skipped {
			rep.Done++
		}
		rep.Steps = append(rep.Steps, st)
	}
	switch {
	case run.End == nil && busy:
		rep.Outcome = "running"
	case run.End == nil:
		rep.Outcome = Interrupted
	case run.End.Outcome == OK && !run.End.Complete:
		rep.Outcome = "partial"
	default:
		rep.Outcome, rep.Error = run.End.Outcome, run.End.Error
	}
	return rep
}

// whole gives the status of a step from those of its hosts: the one that a
// person has to look at first.
func whole(hosts []HostState) Status {
	count := map[Status]int{}
	for _, h := range hosts {
		count[h.Status]++
	}
	switch {
	case count[Broken] > 0:
		return Broken
	case count[Started] > 0:
		return Started
	case count[Pending] == len(hosts):
		return Pending
	case count[Pending] > 0:
		return Started
	case count[Skipped] == len(hosts):
		return Skipped
	}
	return Done
}

// Text writes the report for people.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	switch {
	case r.Outcome == "none" && !r.Cleaned.IsZero():
		fmt.Fprintf(&b, "%s was cleaned at %s; nothing is installed\n", r.Cluster, at(r.Cleaned))
	case r.Outcome == "none":
		fmt.Fprintf(&b, "%s: nothing was installed from here yet\n", r.Cluster)
	default:
		r.head(&b)
		r.table(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (r Report) head(b *strings.Builder) {
	fmt.Fprintf(b, "%s of %s %s on %s: ", r.Operation, r.Bundle, r.Version, r.Cluster)
	switch r.Outcome {
	case "running":
		b.WriteString("running")
	case OK:
		b.WriteString("finished")
	case "partial":
		b.WriteString("stopped where it was told to")
	default:
		b.WriteString(r.Outcome)
	}
	fmt.Fprintf(b, ", %d of %d steps done\n", r.Done, r.Total)
	fmt.Fprintf(b, "started %s", at(r.Started))
	if r.User != "" {
		b.WriteString(" by " + r.User)
	}
	if !r.Finished.IsZero() {
		fmt.Fprintf(b, ", ended %s", at(r.Finished))
	}
	b.WriteString("\n")
	if r.Error != "" {
		b.WriteString("reason: " + r.Error + "\n")
	}
}

func (r Report) table(b *strings.Builder) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	phase := ""
	for _, s := range r.Steps {
		if s.Phase != phase {
			tw.Flush()
			phase = s.Phase
			fmt.Fprintf(b, "\n%s\n", phase)
		}
		ready, millis, detail := 0, int64(0), ""
		for _, h := range s.Hosts {
			if h.Status == Done || h.Status == Skipped {
				ready++
			}
			millis = max(millis, h.Millis)
			if h.Detail != "" && detail == "" {
				detail = h.Detail
			}
		}
		took := ""
		if millis > 0 {
			took = (time.Duration(millis) * time.Millisecond).Round(100 * time.Millisecond).String()
		}
		if len(s.Hosts) > 1 {
			detail = fmt.Sprintf("%d of %d hosts", ready, len(s.Hosts))
		}
		fmt.Fprintln(tw, strings.TrimRight(fmt.Sprintf("  %s\t%s\t%s\t%s", s.Status, s.ID, took, oneLine(detail)), "\t "))
		for _, h := range s.Hosts {
			if h.Status == Broken || h.Status == Started {
				fmt.Fprintln(tw, strings.TrimRight(fmt.Sprintf("  \t  %s\t%s\t%s", h.Host, h.Status, oneLine(h.Error)), "\t "))
			}
		}
	}
	tw.Flush()
}

// oneLine keeps control characters of a host's output away from a terminal.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)), " ")
}
