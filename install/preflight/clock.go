package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// How far a clock may be off. Certificates made on one host are not valid yet
// on another that is behind it.
const (
	skewWarning = 5 * time.Second
	skewError   = time.Minute
)

// clock is how far a host is ahead of this machine, give or take.
type clock struct {
	host         string // empty for this machine
	offset, give time.Duration
}

// clocks are all that were read, and which of them the rest is held against:
// the middle one, so that of several clocks the odd one out is blamed.
type clocks struct {
	list      []clock
	reference clock
}

func clocksOf(hosts []HostFacts) clocks {
	c := clocks{list: []clock{{}}}
	for _, h := range hosts {
		f := h.Facts
		if f.Time.IsZero() || f.Before.IsZero() || f.After.Before(f.Before) {
			continue
		}
		give := f.After.Sub(f.Before) / 2
		c.list = append(c.list, clock{h.Host, f.Time.Sub(f.Before) - give, give})
	}
	sorted := slices.SortedFunc(slices.Values(c.list), func(a, b clock) int { return cmp.Compare(a.offset, b.offset) })
	c.reference = sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		// Of the two in the middle the one that agrees with this machine.
		if o := sorted[len(sorted)/2-1]; o.offset.Abs() < c.reference.offset.Abs() {
			c.reference = o
		}
	}
	return c
}

// skew is by how much a clock is wrong for certain, and which way.
func (c clocks) skew(x clock) time.Duration {
	d := x.offset - c.reference.offset
	sure := max(d.Abs()-x.give-c.reference.give, 0)
	if d < 0 {
		return -sure
	}
	return sure
}

// judge says in words how far a clock is off the others.
func (c clocks) judge(x clock, whose string) Finding {
	f := Finding{Host: x.host, Check: "clock", Level: OK}
	skew := c.skew(x)
	if skew.Abs() <= skewWarning {
		f.Message = whose + " agrees with the others"
		return f
	}
	f.Level = Warning
	if skew.Abs() > skewError {
		f.Level = Error
	}
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	than := "the other clocks"
	if len(c.list) == 2 {
		than = "that of this machine"
	}
	f.Message = fmt.Sprintf("%s is %s %s %s", whose, skew.Abs().Round(time.Second), way, than)
	f.Hint = "set all clocks from one source: chronyd or ntpd"
	return f
}

func (j *judge) clock(c clocks) {
	i := slices.IndexFunc(c.list, func(x clock) bool { return x.host == j.host.Address })
	if i < 0 {
		j.warn("clock", "", "the host does not tell what its clock says")
	} else {
		j.findings = append(j.findings, c.judge(c.list[i], "the clock"))
	}
	const sync = "time-sync"
	switch by := j.facts.anyActive("chronyd", "chrony", "ntpd", "ntp", "ntpsec", "openntpd", "systemd-timesyncd"); {
	case by != "":
		j.ok(sync, "%s keeps the clock", by)
	case len(j.needs.Hosts) > 1 && j.facts.Init == "systemd":
		j.warn(sync, "run chronyd or ntpd on all hosts, with one source", "nothing keeps the clock in step with the other hosts")
	default:
		j.ok(sync, "one host, or not known")
	}
}

// operator judges the clock of this machine, where there are enough others to
// tell that it is the odd one out.
func (c clocks) operator(n Needs) (Finding, bool) {
	if len(c.list) < 3 {
		return Finding{}, false
	}
	f := c.judge(clock{}, "the clock of this machine")
	return f, f.Level != OK
}
