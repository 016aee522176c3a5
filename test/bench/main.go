// Command bench runs the product and what a user would pick instead over the
// same images, on the same machine, one after the other, and prints one table.
//
// All traffic is loopback and the page cache is warm, so the network costs
// nothing and what is left is the tools' own work: wall time, CPU time of all
// their processes, the largest resident set of any of them, and the most disk
// that was in use at once besides the input. The median of -runs runs counts.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is what all jobs share.
type bench struct {
	dir      string // scratch
	bundle   string // the product's binary
	upstream string // HOST:PORT
	images   []string
	key, pub string

	// Made by one job, used by later ones.
	bundleFile, skopeoTar string

	rows []row
}

// row is one line of the table.
type row struct {
	job, tool string
	runs      []sample
	note      string
}

func main() {
	images := flag.Int("images", 16, "how many images")
	layer := flag.Int64("layer-bytes", 16<<20, "size of the layer that each image has for itself")
	runs := flag.Int("runs", 1, "how often each job runs; the median counts")
	only := flag.String("only", "", "comma-separated jobs to run besides save: verify, first, pull, push (default: all)")
	dir := flag.String("dir", "", "folder for scratch files (default: a temporary one)")
	flag.Parse()
	if err := run(*dir, *only, *images, *layer, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir, only string, images int, layer int64, runs int) (err error) {
	for _, tool := range []string{"crane", "skopeo", "tar", "registry"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: run make bench, which gets it", tool)
		}
	}
	if images < 1 || runs < 1 {
		return fmt.Errorf("-images and -runs count from 1")
	}
	b := &bench{}
	if b.dir, err = os.MkdirTemp(dir, "bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	stop, err := b.prepare(images, layer)
	if err != nil {
		return err
	}
	defer stop()
	for _, job := range []struct {
		name string
		run  func(int) error
	}{{"save", b.save}, {"verify", b.verify}, {"first", b.firstPull}, {"pull", b.pullAll}, {"push", b.push}} {
		// What save makes, all others use.
		if only != "" && job.name != "save" && !slices.Contains(strings.Split(only, ","), job.name) {
			continue
		}
		if err := job.run(runs); err != nil {
			return err
		}
	}
	b.print(images, layer, runs)
	return nil
}

// prepare makes the images and the key.
func (b *bench) prepare(images int, layer int64) (stop func(), err error) {
	if b.bundle = os.Getenv("BUNDLE"); b.bundle == "" {
		b.bundle = filepath.Join(b.dir, "bundle")
		if err := goBuild(b.bundle, "./cmd/bundle"); err != nil {
			return nil, err
		}
	}
	up := filepath.Join(b.dir, "upstream")
	if err := goBuild(up, "./internal/upstream/cmd/upstream"); err != nil {
		return nil, err
	}
	var list strings.Builder
	for i := range images {
		_, _ = fmt.Fprintf(&list, "registry.example.com/bench/image-%02d:v1\n", i)
		b.images = append(b.images, fmt.Sprintf("bench/image-%02d:v1", i))
	}
	// The upstream gives its first five images special forms, which not every
	// tool here can carry; they are made and not asked for.
	special := filepath.Join(b.dir, "special")
	names := filepath.Join(b.dir, "imageList")
	if err := os.WriteFile(special, []byte("x/1:v\nx/2:v\nx/3:v\nx/4:v\nx/5:v\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(names, []byte(list.String()), 0o600); err != nil {
		return nil, err
	}
	platform := "linux/" + runtime.GOARCH
	addr, stop, err := startJSON(exec.Command(up, "-layer-bytes", fmt.Sprint(layer), "-platform", platform, special, names))
	if err != nil {
		return nil, err
	}
	b.upstream = addr
	for k, v := range map[string]string{"BUNDLE_PASSWORD": "bench", "XDG_CACHE_HOME": filepath.Join(b.dir, "cache")} {
		if err := os.Setenv(k, v); err != nil {
			stop()
			return nil, err
		}
	}
	b.key, b.pub = filepath.Join(b.dir, "ci.key"), filepath.Join(b.dir, "ci.pub")
	if out, err := exec.Command(b.bundle, "keygen", "-o", filepath.Join(b.dir, "ci")).CombinedOutput(); err != nil {
		stop()
		return nil, fmt.Errorf("bundle keygen: %w\n%s", err, out)
	}
	return stop, nil
}

func goBuild(out, pkg string) error {
	goCmd := os.Getenv("GO")
	if goCmd == "" {
		goCmd = "go"
	}
	cmd := exec.Command(goCmd, "build", "-C", "../..", "-trimpath", "-o", out, pkg)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// print writes the table as Markdown.
func (b *bench) print(images int, layer int64, runs int) {
	fmt.Printf("%d images of %.1f MB on one shared layer, %d CPUs, %s, %s; median of %d; load %s\n\n",
		images, float64(layer)/1e6, runtime.NumCPU(), kernel(), time.Now().Format(time.DateOnly), runs, load())
	fmt.Println("| job | tool | wall s | CPU s | peak RSS MB | extra disk MB | |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, r := range b.rows {
		s := median(r.runs)
		note := r.note
		if s.rate > 0 {
			note = strings.TrimSpace(fmt.Sprintf("%.0f MB/s %s", s.rate/1e6, note))
		}
		fmt.Printf("| %s | %s | %.2f | %.2f | %.0f | %.0f | %s |\n",
			r.job, r.tool, s.wall.Seconds(), s.cpu.Seconds(), float64(s.rss)/1e6, float64(s.disk)/1e6, note)
	}
}

// median takes the run whose wall time lies in the middle, whole: numbers of
// different runs do not belong together.
func median(s []sample) sample {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b sample) int { return int(a.wall - b.wall) })
	return s[(len(s)-1)/2]
}

func kernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return "Linux " + strings.TrimSpace(string(data))
}

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:1], " ")
}
