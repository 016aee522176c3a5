package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// aim is what the product promises of a measurement.
type aim struct {
	what  string
	limit float64
	least bool // the limit is the least, not the most
	value func() (float64, bool)
}

func (b *bench) aims() []aim {
	ratio := func(job, ours, theirs string) func() (float64, bool) {
		return func() (float64, bool) {
			x, ok := b.row(job, ours)
			y, ok2 := b.row(job, theirs)
			return x.wall.Seconds() / y.wall.Seconds(), ok && ok2
		}
	}
	save := func(of func(sample) float64) func() (float64, bool) {
		return func() (float64, bool) {
			s, ok := b.row(jobSave, toolBuild)
			return of(s), ok
		}
	}
	list := []aim{
		{"build, wall time against imgpkg", 0.8, false, ratio(jobSave, toolBuild, toolImgpkg)},
		{"build, disk at the worst moment against the file's size", 1.01, false, save(func(s sample) float64 {
			size, err := fileSize(b.bundleFile)
			if err != nil {
				return 0
			}
			return float64(s.disk) / float64(size)
		})},
		{"build, peak RSS in MB", 200, false, save(func(s sample) float64 { return float64(s.rss) / 1e6 })},
		{"build over the slow link, of what its connections can carry", 0.9, true, func() (float64, bool) {
			s, ok := b.row(jobSlow, toolBuild)
			return s.rate / (ourJobs * linkRate), ok
		}},
		{"verify, against all CPUs hashing", 0.8, true, func() (float64, bool) {
			s, ok := b.row(jobVerify, toolVerify)
			return s.rate / (b.cores * b.single), ok
		}},
	}
	for _, n := range nodeCounts {
		list = append(list, aim{jobPull(n) + ", wall time against distribution on a folder", 1, false, ratio(jobPull(n), toolServe, toolFolder)})
	}
	return append(list, aim{"push, wall time against imgpkg", 1, false, ratio(jobPush, toolPush, toolImgpkg)})
}

// report is the document.
func (b *bench) report(runs int, before string) []byte {
	var w bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	c := b.corpus
	p("# Performance")
	p("")
	p("`make bench` wrote this document; no figure in it was put there by hand. It runs")
	p("`bundle` and what a user would pick instead over the same images, on the same")
	p("machine, one after the other. Traffic is loopback and the page cache is warm, so")
	p("what is left is the tools' own work. Compare rows of one run only. What a large")
	p("bundle and a large fleet take is in [scale.md](scale.md).")
	p("")
	p("## What was run")
	p("")
	p("- %s: %s, %d CPUs (%s), %s of memory, %s", time.Now().UTC().Format(time.DateOnly), kernel(), runtime.NumCPU(), cpuModel(), memory(), c.Release)
	p("- median of %d runs, where not said otherwise; load %s before, %s after", runs, before, load())
	for _, v := range versions(b.bundle) {
		p("- %s", v)
	}
	p("- %d images of %d Debian packages: %d blobs of %.1f MB, among them %d layers of %.1f MB uncompressed", len(c.Images), c.Packages, c.Blobs, float64(c.Bytes)/1e6, c.Layers, float64(c.Raw)/1e6)
	for _, s := range c.Writers {
		p("  - %d layers by %s, %.1f MB", s.Layers, writerNames[s.Writer], float64(s.Bytes)/1e6)
	}
	if b.single > 0 {
		p("- SHA-256 on one CPU: %.0f MB/s", b.single/1e6)
	}
	p("- the slow link: %s there and back, %.0f Mbit/s for each connection", linkTrip, linkRate*8/1e6)
	b.leaveOut("hauler and mindthegap: the Go module proxy does not have them")
	for _, s := range b.leftOut {
		p("- left out: %s", s)
	}
	p("")
	p("## What we promise")
	p("")
	p("| | aim | measured | |")
	p("|---|---|---|---|")
	for _, a := range b.aims() {
		v, ok := a.value()
		if !ok {
			p("| %s | %s | not measured | |", a.what, a.bound())
			continue
		}
		met := "met"
		if a.least && v < a.limit || !a.least && v > a.limit {
			met = "**missed**"
		}
		p("| %s | %s | %.3g | %s |", a.what, a.bound(), v, met)
	}
	p("")
	p("Every blob that is served is hashed on its way out, once: the first pull of anything")
	p("pays for that, and where nodes and registry share few CPUs, as here, it shows.")
	p("")
	p("## All figures")
	p("")
	p("CPU time is that of all processes of a tool, RSS that of the largest, and disk the most")
	p("that was in use at once besides the input. Where nodes pull, they are ours and hash")
	p("what they get, and CPU and memory are the server's. Linux gives a process no peak below that of the one")
	p("that started it, so RSS is at most what is said: late in the table, where the benchmark")
	p("itself has grown, several tools show its own. `bundle build` brings the file to disk")
	p("before it ends, and `imgpkg` leaves that to the kernel. Of two runs the faster counts.")
	p("")
	p("| job | tool | wall s | CPU s | peak RSS MB | disk MB | |")
	p("|---|---|---|---|---|---|---|")
	for _, r := range b.rows {
		s := median(r.runs)
		note := r.note
		if s.rate > 0 {
			note = strings.TrimSpace(fmt.Sprintf("%.0f MB/s %s", s.rate/1e6, note))
		}
		if len(r.runs) != runs {
			note = strings.TrimSpace(fmt.Sprintf("%s (n=%d)", note, len(r.runs)))
		}
		p("| %s | %s | %.2f | %.2f | %.0f | %.0f | %s |",
			r.job, r.tool, s.wall.Seconds(), s.cpu.Seconds(), float64(s.rss)/1e6, float64(s.disk)/1e6, note)
	}
	p("")
	p("The single runs, wall seconds:")
	p("")
	for _, r := range b.rows {
		var all []string
		for _, s := range r.runs {
			all = append(all, fmt.Sprintf("%.2f", s.wall.Seconds()))
		}
		p("- %s, %s: %s", r.job, r.tool, strings.Join(all, " "))
	}
	return w.Bytes()
}

func (a aim) bound() string {
	sign := "≤"
	if a.least {
		sign = "≥"
	}
	return fmt.Sprintf("%s %g", sign, a.limit)
}

var writerNames = map[string]string{
	goGzip: "Go's gzip, as Docker's", pGzip: "pgzip, as podman's and buildah's", zStd: "zstd", noComp: "tar alone, not compressed",
}

// versions asks the tools who they are.
func versions(bundle string) []string {
	var list []string
	for _, tool := range [][]string{
		{"bundle", bundle, "version"},
		{"imgpkg", "imgpkg", "version"},
		{"crane", "crane", "version"},
		{"skopeo", "skopeo", "--version"},
		{"distribution", "registry", "--version"},
		{"tar", "tar", "--version"},
	} {
		out, err := exec.Command(tool[1], tool[2:]...).Output()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if err != nil || line == "" {
			line = "version unknown"
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, tool[0]))
		list = append(list, strings.TrimSpace(tool[0]+" "+line))
	}
	return list
}

func kernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	// What a provider puts behind the number is its own business.
	number, _, _ := strings.Cut(strings.TrimSpace(string(data)), "-")
	return "Linux " + number
}

// field finds a line "NAME : VALUE" of a file in /proc.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func cpuModel() string { return field("/proc/cpuinfo", "model name") }

func memory() string {
	var kb float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kb); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.0f GB", kb*1024/1e9)
}

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(data))[0]
}
