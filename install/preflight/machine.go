package preflight

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bundle/manifest"
)

const gib = 1 << 30

// kubeadmMachine is what kubeadm refuses to go below.
func kubeadmMachine(master bool) Machine {
	if master {
		return Machine{CPUs: 2, Memory: 1700 << 20, By: "kubeadm", Firm: true}
	}
	return Machine{CPUs: 1, By: "kubeadm", Firm: true}
}

// recommended is what the makers of products that the bundle holds ask of a
// host. ack tells whether it is built on ACK Distro.
func recommended(c *manifest.Contents, u uses) (ack bool, list []func(master bool) Machine) {
	chart := func(name string) bool {
		return slices.ContainsFunc(c.Charts, func(x manifest.Chart) bool { return x.Name == name })
	}
	file := func(prefix string) bool {
		return slices.ContainsFunc(c.Files, func(f manifest.File) bool { return strings.HasPrefix(f.Path, prefix) })
	}
	size := func(by string, master, node Machine) {
		list = append(list, func(isMaster bool) Machine {
			m := node
			if isMaster {
				m = master
			}
			m.By, m.Slack = by, 10
			return m
		})
	}
	ack = chart("kube-core") || file("chart/kube-core/")
	if ack {
		size("ACK Distro", Machine{CPUs: 2, Memory: 4 * gib}, Machine{CPUs: 1, Memory: 2 * gib})
	}
	switch {
	case chart("aecp") && len(u.devices) > 0:
		m := Machine{CPUs: 16, Memory: 32 * gib, Disk: 50 * gib}
		size("CNStack with all functions", m, m)
	case chart("aecp"):
		m := Machine{CPUs: 8, Memory: 12 * gib, Disk: 50 * gib}
		size("CNStack with basic functions", m, m)
	case file("applications/cnstack-"):
		size("CNStack", Machine{CPUs: 8, Memory: 16 * gib, Disk: 80 * gib}, Machine{CPUs: 2, Memory: 4 * gib, Disk: 80 * gib})
	}
	return ack, list
}

// labelled reads the requirements that a bundle's labels state: bundle.require
// with .cpu, .memory or .disk behind it, for all hosts or, with .master or
// .node between, for some. They are the bundle's own word and so are errors.
func labelled(labels map[string]string, master bool) []Machine {
	role := "node"
	if master {
		role = "master"
	}
	get := func(what string) string {
		return cmp.Or(labels["bundle.require."+role+"."+what], labels["bundle.require."+what])
	}
	cpus, _ := strconv.Atoi(get("cpu"))
	m := Machine{CPUs: cpus, Memory: bytesOf(get("memory")), Disk: bytesOf(get("disk")), By: "the bundle", Firm: true, Slack: 10}
	if m.CPUs <= 0 && m.Memory == 0 && m.Disk == 0 {
		return nil
	}
	return []Machine{m}
}

var sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*(?i:([KMGT])(i?)B?)?$`)

// bytesOf reads "12GiB", "700MB"; what is no size is 0.
func bytesOf(s string) int64 {
	m := sizeText.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if m[2] != "" {
		f *= math.Pow(base, float64(1+strings.Index("KMGT", strings.ToUpper(m[2]))))
	}
	if f >= math.MaxInt64 {
		return 0
	}
	return int64(f)
}

// disk names of Linux; others under /dev are no disks.
var disk = regexp.MustCompile(`/dev/(?:(?:sd|vd|hd|xvd)[a-z]+[0-9]*|nvme[0-9]+n[0-9]+(?:p[0-9]+)?|mmcblk[0-9]+(?:p[0-9]+)?|loop[0-9]+|dm-[0-9]+|md[0-9]+|(?:mapper|disk)/[A-Za-z0-9_./:+-]+)\b`)

// blockDevices finds the disks that a line names.
func blockDevices(line string) []string { return disk.FindAllString(line, -1) }

// withoutComments drops the lines of a script that are comments.
func withoutComments(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
