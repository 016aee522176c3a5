package preflight

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"bundle/manifest"
)

// ErrFacts is wrapped by the errors of [ParseFacts].
var ErrFacts = errors.New("the host's answer cannot be read")

// Limits of one answer.
const (
	maxAnswer = 1 << 20
	maxText   = 200
	maxItems  = 2000
)

// ParseFacts reads what the script printed. Noise before the first section,
// such as a message of the day, is passed over; an answer that ends early or
// is too long is an error that wraps [ErrFacts].
func ParseFacts(answer []byte) (*Facts, error) {
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("%w: it is longer than %d KiB", ErrFacts, maxAnswer>>10)
	}
	sections := map[string][]string{}
	name, begun := "", false
	for line := range strings.Lines(string(answer)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "="):
			name = line[1:]
			begun = begun || name == "begin"
			sections[name] = sections[name][:0:0]
		case begun && strings.HasPrefix(line, " ") && len(sections[name]) < maxItems:
			sections[name] = append(sections[name], line[1:])
		}
	}
	if _, ended := sections["end"]; !begun || !ended {
		return nil, fmt.Errorf("%w: it breaks off", ErrFacts)
	}
	p := parser{sections}
	f := &Facts{
		OS: p.os(), CPUs: int(min(number(p.text("cpus")), 1<<20)), Memory: p.memory(),
		Root: p.text("id") == "0", HostName: p.text("hostname"), Init: p.text("init"),
		Cgroup: int(min(number(p.text("cgroup")), 2)), Enforcing: p.text("selinux") == "1",
		Disks: p.disks(), Listeners: p.listeners(), Swaps: p.swaps(),
		Nameservers: p.nameservers("resolv"), Resolved: p.nameservers("resolved"),
		Leftovers: p.leftovers(), Units: p.units(), Modules: p.modules(), Commands: p.commands(),
		Devices: p.devices(), Links: p.links(), Routes: p.texts("route"), Addresses: p.addresses(),
		MachineID: p.text("machine"), ProductID: strings.ToLower(p.text("product")), Time: p.time(),
	}
	if u := p.sections["uname"]; len(u) == 2 {
		f.Kernel = plain(u[0])
		f.Platform = manifest.NewPlatform("linux", goArch(plain(u[1])), "")
	}
	return f, nil
}

// goArch spells what uname -m prints as Go does, where NewPlatform does not.
func goArch(machine string) string {
	switch machine {
	case "i386", "i486", "i586", "i686":
		return "386"
	case "armv7l", "armv8l":
		return "arm"
	case "loongarch64":
		return "loong64"
	}
	return machine
}

type parser struct{ sections map[string][]string }

// text gives the first line of a section.
func (p parser) text(name string) string {
	if s := p.sections[name]; len(s) > 0 {
		return plain(s[0])
	}
	return ""
}

func (p parser) texts(name string) []string {
	var list []string
	for _, line := range p.sections[name] {
		if t := plain(line); t != "" {
			list = append(list, t)
		}
	}
	return list
}

func (p parser) os() OS {
	var o OS
	for _, line := range p.sections["os"] {
		key, value, ok := strings.Cut(line, "=")
		value = plain(strings.Trim(strings.TrimSpace(value), `"'`))
		switch {
		case !ok && o.Name == "":
			o.Name = plain(line)
		case key == "ID":
			o.ID = strings.ToLower(value)
		case key == "VERSION_ID":
			o.Version = value
		case key == "PRETTY_NAME":
			o.Name = value
		}
	}
	return o
}

func (p parser) memory() int64 {
	for _, line := range p.sections["memory"] {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			return kib(f[1])
		}
	}
	return 0
}

// dfLine takes the columns of df -P apart: a device and a mount point may
// have blanks in them.
var dfLine = regexp.MustCompile(`^(.*?)\s+(\d+|-)\s+(-?\d+|-)\s+(-?\d+|-)\s+(?:\d+%|-)\s+(/.*)$`)

func (p parser) disks() []Disk {
	var list []Disk
	for _, line := range p.sections["disk"] {
		kind, rest, _ := strings.Cut(line, " ")
		if kind == "p" {
			list = append(list, Disk{Path: plain(rest)})
			continue
		}
		m := dfLine.FindStringSubmatch(rest)
		if m == nil || len(list) == 0 {
			continue
		}
		d := &list[len(list)-1]
		switch kind {
		case "k":
			d.Device, d.Mount = plain(m[1]), plain(m[5])
			d.Size, d.Free = kib(m[2]), kib(m[4])
		case "i":
			d.Inodes, d.InodesFree = number(m[2]), number(m[4])
		}
	}
	return list
}

func (p parser) listeners() []Listener {
	type owner struct {
		pid  int
		name string
	}
	owners := map[string]owner{}
	for _, line := range p.sections["owners"] {
		f := strings.SplitN(line, " ", 3)
		if len(f) != 3 {
			continue
		}
		// A socket that systemd passed on has two owners; the other is the one.
		if o, ok := owners[f[0]]; !ok || o.pid == 1 {
			owners[f[0]] = owner{int(min(number(f[1]), math.MaxInt32)), plain(f[2])}
		}
	}
	var list []Listener
	for _, line := range p.sections["listen"] {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		if addr, ok := procAddr(f[1]); ok {
			o := owners[f[9]]
			list = append(list, Listener{Addr: addr, PID: o.pid, Process: o.name})
		}
	}
	return list
}

// procAddr reads an address of /proc/net/tcp: words of four bytes, each in the
// order of a little-endian machine, which all our platforms are.
func procAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || (len(host) != 8 && len(host) != 32) {
		return netip.AddrPort{}, false
	}
	raw := make([]byte, len(host)/2)
	for i := range raw {
		b, err := strconv.ParseUint(host[2*i:2*i+2], 16, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		raw[i/4*4+3-i%4] = byte(b)
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}

func (p parser) swaps() []string {
	var list []string
	for _, line := range p.sections["swaps"] {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "Filename" {
			list = append(list, plain(f[0]))
		}
	}
	return list
}

func (p parser) nameservers(section string) []string {
	var list []string
	for _, line := range p.sections[section] {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			list = append(list, plain(f[1]))
		}
	}
	return list
}

func (p parser) leftovers() []Leftover {
	var list []Leftover
	for _, line := range p.sections["leftover"] {
		kind, name, _ := strings.Cut(line, " ")
		if name = plain(name); name != "" && (kind == "file" || kind == "dir" || kind == "link") {
			list = append(list, Leftover{kind, name})
		}
	}
	return list
}

// units reads blocks of properties, in any order, with empty lines between.
func (p parser) units() []Unit {
	var list []Unit
	props := map[string]string{}
	flush := func() {
		if props["LoadState"] == "loaded" && props["Id"] != "" {
			list = append(list, Unit{strings.TrimSuffix(props["Id"], ".service"), props["ActiveState"] == "active"})
		}
		clear(props)
	}
	for _, line := range p.sections["units"] {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			flush()
			continue
		}
		props[key] = plain(value)
	}
	flush()
	return list
}

func (p parser) modules() map[string]string {
	m := map[string]string{}
	for _, line := range p.sections["modules"] {
		if state, name, ok := strings.Cut(line, " "); ok {
			m[plain(name)] = plain(state)
		}
	}
	return m
}

func (p parser) commands() map[string]bool {
	m := map[string]bool{}
	for _, line := range p.sections["commands"] {
		if state, name, ok := strings.Cut(line, " "); ok {
			m[plain(name)] = state == "have"
		}
	}
	return m
}

func (p parser) devices() []Device {
	var list []Device
	for _, line := range p.sections["devices"] {
		key, value, _ := strings.Cut(line, " ")
		value = plain(value)
		if key == "d" {
			list = append(list, Device{Path: value})
			continue
		}
		if len(list) == 0 {
			continue
		}
		d := &list[len(list)-1]
		switch key {
		case "size":
			d.There = true
			if n := number(value); n < math.MaxInt64/512 {
				d.Size = n * 512
			}
		case "mount":
			d.Users = append(d.Users, "mounted at "+value)
		case "swap":
			d.Users = append(d.Users, "used as swap")
		case "part":
			d.Users = append(d.Users, "partition "+value)
		case "holder":
			d.Users = append(d.Users, "volume "+value)
		case "fs":
			d.Content = value
		}
	}
	return list
}

func (p parser) links() []Link {
	var list []Link
	for _, line := range p.sections["net"] {
		if f := strings.Fields(line); len(f) == 3 {
			list = append(list, Link{Name: plain(f[1]), MAC: strings.ToLower(plain(f[2])), Real: f[0] == "device"})
		}
	}
	return list
}

func (p parser) addresses() []netip.Addr {
	var list []netip.Addr
	for _, line := range p.sections["addresses"] {
		s, _, _ := strings.Cut(strings.TrimSpace(line), "/")
		if a, err := netip.ParseAddr(s); err == nil {
			list = append(list, a.Unmap().WithZone(""))
		}
	}
	return list
}

// time reads seconds and, where date knows them, nanoseconds.
func (p parser) time() time.Time {
	seconds, fraction, _ := strings.Cut(p.text("clock"), ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s < 0 || s > 1<<40 {
		return time.Time{}
	}
	ns, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil || len(fraction) != 9 || ns < 0 {
		ns = 0
	}
	return time.Unix(s, ns)
}

// number reads a count; what is none, or negative, is 0.
func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// kib reads a number of KiB and gives bytes.
func kib(s string) int64 {
	n := number(s)
	if n > math.MaxInt64>>10 {
		return math.MaxInt64
	}
	return n << 10
}

// plain makes a host's text fit for one line of a report.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	for i := range s {
		if i > maxText {
			return s[:i] + "…"
		}
	}
	return s
}
