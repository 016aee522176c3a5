package preflight

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Text writes the report for people: each host with what is wrong there, then
// the peak use of disks. verbose lists what is right too.
func (r Report) Text(w io.Writer, verbose bool) error {
	t := &printer{w: w}
	for _, h := range r.Hosts {
		t.host(h)
		good := 0
		for _, f := range r.Findings {
			if f.Host != h.Host {
				continue
			}
			if f.Level == OK && !verbose {
				good++
				continue
			}
			t.finding(f)
		}
		if good > 0 {
			t.f("  %-8s %d checks\n", "ok", good)
		}
	}
	for _, f := range r.Findings {
		if f.Host == "" {
			t.f("this machine\n")
			t.finding(f)
		}
	}
	t.disks(r.Disks)
	t.f("\n%s\n", r.Summary())
	return t.err
}

// Summary is the report in one line.
func (r Report) Summary() string {
	s := fmt.Sprintf("%s, %s on %s", count(r.Errors, "error"), count(r.Warnings, "warning"), count(len(r.Hosts), "host"))
	if r.OK {
		return s + ": ready"
	}
	return s + ": not ready"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type printer struct {
	w   io.Writer
	err error
}

func (t *printer) f(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

func (t *printer) host(h HostSummary) {
	role := "node"
	if h.Master {
		role = "master"
	}
	parts := []string{h.Host, role}
	if h.Reached {
		parts = append(parts, h.HostName, h.OS, h.Kernel, h.Platform, count(h.CPUs, "CPU"), human(h.Memory))
	}
	t.f("%s\n", strings.Join(parts, "  "))
}

func (t *printer) finding(f Finding) {
	level := string(f.Level)
	if f.Ignored {
		level = "ignored"
	}
	t.f("  %-8s %-15s %s\n", level, f.Check, f.Message)
	if f.Hint != "" && f.Level != OK {
		t.f("  %-8s %-15s hint: %s\n", "", "", f.Hint)
	}
}

func (t *printer) disks(list []Usage) {
	if len(list) == 0 || t.err != nil {
		return
	}
	t.f("\npeak disk use\n")
	tw := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  host\tmount\tneeds\tfree\tsize\tfor")
	for _, u := range list {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", u.Host, u.Mount, human(u.Need), human(u.Free), human(u.Size), u.parts())
	}
	if err := tw.Flush(); t.err == nil {
		t.err = err
	}
}
