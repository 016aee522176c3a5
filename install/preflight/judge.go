package preflight

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bundle/install/host"
)

// HostFacts is what was learned of one host, or why nothing was.
type HostFacts struct {
	// Host is its address in the Clusterfile.
	Host  string
	Facts *Facts
	// Err is why there are no facts.
	Err error
}

// Judge holds what hosts say against what they must be. It gives exactly one
// finding for each check on each host that it could make.
func Judge(n Needs, hosts []HostFacts) Report {
	r := Report{Hosts: []HostSummary{}, Findings: []Finding{}, Disks: []Usage{}}
	reached := slices.DeleteFunc(slices.Clone(hosts), func(h HostFacts) bool { return h.Facts == nil })
	clocks := clocksOf(reached)
	for _, hn := range n.Hosts {
		i := slices.IndexFunc(hosts, func(h HostFacts) bool { return h.Host == hn.Address })
		j := &judge{needs: n, host: hn}
		switch {
		case i < 0:
			j.unreachable(nil)
		case hosts[i].Facts == nil:
			j.unreachable(hosts[i].Err)
		default:
			j.facts = hosts[i].Facts
			j.ok("reach", "the host answers")
			j.machine()
			j.disks()
			j.network()
			j.system()
			j.twins(reached)
			j.clock(clocks)
		}
		r.Findings = append(r.Findings, j.findings...)
		r.Disks = append(r.Disks, j.usages...)
		r.Hosts = append(r.Hosts, summary(hn, j.facts, clocks))
	}
	if f, ok := clocks.operator(n); ok {
		r.Findings = append(r.Findings, f)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Level == Error && slices.Contains(n.Ignore, f.Check) {
			f.Level, f.Ignored = Warning, true
		}
		switch f.Level {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		}
	}
	r.OK = r.Errors == 0
	return r
}

func summary(hn HostNeeds, f *Facts, c clocks) HostSummary {
	s := HostSummary{Host: hn.Address, Master: hn.Master}
	if f == nil {
		return s
	}
	s.Reached, s.HostName, s.OS, s.Kernel = true, f.HostName, f.OS.Name, f.Kernel
	s.Platform, s.CPUs, s.Memory = platformText(f.Platform), f.CPUs, f.Memory
	for _, x := range c.list {
		if x.host == hn.Address {
			s.ClockOffset = x.offset.Round(10 * time.Millisecond).Seconds()
		}
	}
	return s
}

// judge collects the findings of one host.
type judge struct {
	needs    Needs
	host     HostNeeds
	facts    *Facts
	findings []Finding
	usages   []Usage
}

func (j *judge) add(level Level, check, hint, format string, args ...any) {
	j.findings = append(j.findings, Finding{
		Host: j.host.Address, Check: check, Level: level, Hint: hint, Message: fmt.Sprintf(format, args...),
	})
}

func (j *judge) ok(check, format string, args ...any) { j.add(OK, check, "", format, args...) }

func (j *judge) warn(check, hint, format string, args ...any) {
	j.add(Warning, check, hint, format, args...)
}

func (j *judge) fail(check, hint, format string, args ...any) {
	j.add(Error, check, hint, format, args...)
}

// unreachable turns the error of a connection into the one finding of the
// host. Such errors name the host themselves.
func (j *judge) unreachable(err error) {
	if err == nil {
		j.fail("reach", "", "nobody asked the host for its facts")
		return
	}
	text := strings.TrimPrefix(plainLong(err.Error()), j.host.Address+": ")
	if e, ok := errors.AsType[*host.Error](err); ok {
		text = "the host " + plainLong(e.Reason)
	}
	hint := "check its address, port, user and password or key in the Clusterfile"
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && h.Hint() != "" {
		hint = plainLong(h.Hint())
	}
	j.fail("reach", hint, "%s", text)
}

// twins looks for what must differ from all hosts before this one and does
// not.
func (j *judge) twins(all []HostFacts) {
	same := func(get func(*Facts, string) []string) (value string, others []string) {
		for _, v := range get(j.facts, j.host.Address) {
			for _, o := range all {
				if o.Host == j.host.Address {
					break
				}
				if slices.Contains(get(o.Facts, o.Host), v) {
					value, others = v, append(others, o.Host)
				}
			}
			if others != nil {
				return value, others
			}
		}
		return "", nil
	}
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	if v, o := same(func(f *Facts, addr string) []string { return one(strings.ToLower(j.needs.nameOf(addr, f))) }); o != nil {
		j.fail("hostname-unique", "give each host a name of its own: hostnamectl set-hostname NAME", "the host name %s is also that of %s", v, join(o))
	} else {
		j.ok("hostname-unique", "no other host has its name")
	}
	if v, o := same(func(f *Facts, _ string) []string { return one(f.MachineID) }); o != nil {
		j.warn("machine-id", "on one of them: rm /etc/machine-id && systemd-machine-id-setup", "the machine id %s is also that of %s, as if one were a copy", v, join(o))
	} else {
		j.ok("machine-id", "no other host has its machine id")
	}
	if v, o := same(func(f *Facts, _ string) []string { return one(f.ProductID) }); o != nil {
		j.warn("product-uuid", "give each virtual machine a UUID of its own", "the product UUID %s is also that of %s, as if one were a copy", v, join(o))
	} else {
		j.ok("product-uuid", "no other host has its product UUID")
	}
	if v, o := same(func(f *Facts, _ string) []string { return macs(f) }); o != nil {
		j.fail("mac", "give each virtual machine a MAC address of its own", "the MAC address %s is also that of %s", v, join(o))
	} else {
		j.ok("mac", "no other host has its MAC addresses")
	}
}

// macs are those that a network could confuse: of devices, and of what the
// default route goes through.
func macs(f *Facts) []string {
	var list []string
	for _, l := range f.Links {
		if l.MAC != "" && strings.Trim(l.MAC, "0:") != "" && (l.Real || slices.Contains(f.Routes, l.Name)) {
			list = append(list, l.MAC)
		}
	}
	return list
}

// nameOf is the host name that a host will have.
func (n Needs) nameOf(address string, f *Facts) string {
	for _, h := range n.Hosts {
		if h.Address == address {
			return cmp.Or(h.Name, f.HostName)
		}
	}
	return f.HostName
}

// join writes a list as in a sentence.
func join(list []string) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0]
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// plainLong is plain for sentences.
func plainLong(s string) string {
	const limit = 5
	words := strings.Fields(s)
	var b strings.Builder
	for _, w := range words {
		if b.Len() > limit*maxText {
			b.WriteString(" …")
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(plain(w))
	}
	return b.String()
}
