package check

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Text writes the report for a terminal. verbose shows the evidence of what is
// right too.
func (r Report) Text(w io.Writer, verbose bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s on cluster %s, Kubernetes %s, %s\n", r.Bundle.Name, r.Bundle.Version, r.Cluster, orDash(r.Kubernetes), r.Time.Format(time.RFC3339))
	fmt.Fprintf(&b, "%s, signed by %s\n\n", orDash(r.Bundle.IndexDigest), orDash(strings.Join(r.Bundle.Signers, ", ")))
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "HOST\tROLES\tNODE\tSTATUS\tKUBELET")
	for _, h := range r.Hosts {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", h.Address, strings.Join(h.Roles, ","), orDash(h.Node), h.Status(), orDash(h.Kubelet))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	b.WriteByte('\n')
	for _, i := range r.Items {
		fmt.Fprintf(&b, "%-8s %-11s %s\n", i.Status, i.ID, i.Summary)
		if i.Status == Pass && !verbose {
			continue
		}
		for _, e := range i.Evidence {
			fmt.Fprintf(&b, "%-20s - %s\n", "", e)
		}
		if i.Omitted > 0 {
			fmt.Fprintf(&b, "%-20s - and %d more\n", "", i.Omitted)
		}
		if i.Hint != "" {
			fmt.Fprintf(&b, "%-20s hint: %s\n", "", i.Hint)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the report in one line.
func (r Report) Summary() string {
	verdict := "accepted"
	if !r.OK {
		verdict = "not accepted"
	}
	return fmt.Sprintf("%s: %d passed, %d failed, %s, %d skipped", verdict, r.Passed, r.Failed, many{r.Warnings, "warning"}, r.Skipped)
}

// Status is what the host is in the cluster, in one word.
func (h HostLine) Status() string {
	switch {
	case h.Node == "":
		return "missing"
	case h.Ready:
		return "Ready"
	}
	return "NotReady"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
