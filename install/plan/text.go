package plan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Marks of steps in the text form.
const (
	markDestructive = "!"
	markOpaque      = "$"
)

// Text writes the plan for people: by phase, one line a step.
func (p *Plan) Text(w io.Writer) error {
	var b strings.Builder
	hosts := map[string]bool{}
	opaque := 0
	for _, s := range p.Steps {
		for _, h := range s.Hosts {
			hosts[h] = true
		}
		if s.Opaque() {
			opaque++
		}
	}
	fmt.Fprintf(&b, "%s of %s %s on %s: %s, %s\n", p.Operation, p.Bundle, p.Version, p.Cluster, count(len(p.Steps), "step"), count(len(hosts), "host"))
	for i := 0; i < len(p.Steps); {
		n := i
		for n < len(p.Steps) && p.Steps[n].Phase == p.Steps[i].Phase {
			n++
		}
		p.phase(&b, p.Steps[i:n], i, len(hosts))
		i = n
	}
	p.foot(&b, opaque)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Plan) phase(b *strings.Builder, steps []Step, before, hosts int) {
	head := printable(steps[0].Phase)
	for _, s := range steps {
		if len(s.After) > 0 {
			head += ", plugins " + p.PluginOrder
			break
		}
	}
	fmt.Fprintf(b, "\n%s\n", head)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i, s := range steps {
		mark := ""
		if s.Destructive {
			mark += markDestructive
		}
		if s.Opaque() {
			mark += markOpaque
		}
		fmt.Fprintf(tw, "%4d %-2s %s\t%s\t%s\t%s\n", before+i+1, mark, printable(s.ID), where(s, hosts), printable(string(s.Source)), printable(s.Summary))
		for _, d := range s.Dangers {
			fmt.Fprintf(tw, "         removes\t\t%s\t%s\n", printable(string(d.Source)), printable(clip(d.Text)))
		}
	}
	tw.Flush()
}

func where(s Step, all int) string {
	out := ""
	switch {
	case len(s.Hosts) == 1:
		out = printable(s.Hosts[0])
	case len(s.Hosts) == all:
		out = fmt.Sprintf("all %d hosts", all)
	default:
		out = count(len(s.Hosts), "host")
	}
	if s.Serial {
		out += " in turn"
	}
	return out
}

func (p *Plan) foot(b *strings.Builder, opaque int) {
	if n := len(p.Destructive()); n > 0 {
		fmt.Fprintf(b, "\n%s %s data; each is run once on a host and asked about", markDestructive, verb(n, "removes", "remove"))
	}
	if opaque > 0 {
		fmt.Fprintf(b, "\n%s %s shell as it stands", markOpaque, verb(opaque, "is", "are"))
	}
	if len(p.Destructive())+opaque > 0 {
		b.WriteString("\n")
	}
	if len(p.Warnings) > 0 {
		fmt.Fprintf(b, "\n%s\n", count(len(p.Warnings), "warning"))
		for _, x := range p.Warnings {
			text := printable(x.Text)
			if x.Source != "" {
				text = printable(string(x.Source)) + ": " + text
			}
			fmt.Fprintf(b, "  %s\n", text)
		}
	}
}

// verb says how many steps do something.
func verb(n int, one, many string) string {
	if n == 1 {
		return "1 step " + one
	}
	return fmt.Sprintf("%d steps %s", n, many)
}

// printable keeps control characters of an input away from a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
