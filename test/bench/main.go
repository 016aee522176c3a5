// Command bench runs the product and what a user would pick instead over the
// same images, on the same machine, one after the other, and prints what it
// measured as the document docs/performance.md.
//
// The images are made of Debian packages once and kept, see corpus.go. All
// traffic is loopback and the page cache is warm, so the network costs nothing
// but where it is made slow (link.go), and what is left is the tools' own work:
// wall time, CPU time of all their processes, the largest resident set of any
// of them, and the most disk that was in use at once besides the input. The
// median of -runs runs counts.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The slow link of the measurements.
const (
	linkTrip = 50 * time.Millisecond
	linkRate = 200e6 / 8 // bytes a second of one connection
)

// bench is what all jobs share.
type bench struct {
	dir      string // scratch
	bundle   string // the product's binary
	upstream string // HOST:PORT
	corpus   *corpus
	root     string   // the corpus's folder
	images   []string // NAME:v1
	list     string   // file of their names
	lock     string   // the same for imgpkg
	key, pub string

	// Made by one job, used by later ones.
	bundleFile, skopeoTar, imgpkgTar string
	cores, single                    float64 // CPUs, and bytes a second that one hashes

	rows    []row
	leftOut []string
}

// row is one line of the table.
type row struct {
	job, tool string
	runs      []sample
	note      string
}

func main() {
	runs := flag.Int("runs", 3, "how often each job runs; the median counts")
	only := flag.String("only", "", "comma-separated jobs to run besides save: slow, verify, first, pull, push, delta, compact (default: all)")
	dir := flag.String("dir", "", "folder for scratch files (default: a temporary one)")
	root := flag.String("corpus", "", "folder of the images, made if it is not there")
	out := flag.String("o", "", "write the document here, too")
	flag.Parse()
	if err := run(*dir, *root, *only, *out, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir, root, only, out string, runs int) (err error) {
	for _, tool := range []string{"crane", "skopeo", "tar", "registry"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: run make bench, which gets it", tool)
		}
	}
	if runs < 1 {
		return errors.New("-runs counts from 1")
	}
	if root == "" {
		return errors.New("-corpus must name the folder of the images")
	}
	b := &bench{root: root}
	if b.corpus, err = loadCorpus(root); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(dir, "bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	stop, err := b.prepare()
	if err != nil {
		return err
	}
	defer stop()
	before := load()
	for _, job := range []struct {
		name string
		run  func(int) error
	}{{"save", b.save}, {"slow", b.slow}, {"verify", b.verify}, {"first", b.firstPull}, {"pull", b.pullAll}, {"push", b.push}, {"delta", b.delta}, {"compact", b.compact}} {
		// What save makes, all others use.
		if only != "" && job.name != "save" && !slices.Contains(strings.Split(only, ","), job.name) {
			continue
		}
		if err := job.run(runs); err != nil {
			return err
		}
		// A run that is cut leaves what it has.
		if out != "" {
			if err := os.WriteFile(out, b.report(runs, before), 0o644); err != nil {
				return err
			}
		}
	}
	_, err = os.Stdout.Write(b.report(runs, before))
	return err
}

// prepare starts the upstream and makes the key and the lists.
func (b *bench) prepare() (stop func(), err error) {
	if b.bundle = os.Getenv("BUNDLE"); b.bundle == "" {
		return nil, errors.New("BUNDLE must name the binary: run make bench")
	}
	for k, v := range map[string]string{"BUNDLE_PASSWORD": "bench", "XDG_CACHE_HOME": filepath.Join(b.dir, "cache"), "HOME": b.dir} {
		if err := os.Setenv(k, v); err != nil {
			return nil, err
		}
	}
	b.key, b.pub = filepath.Join(b.dir, "ci.key"), filepath.Join(b.dir, "ci.pub")
	if out, err := exec.Command(b.bundle, "keygen", "-o", filepath.Join(b.dir, "ci")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bundle keygen: %w\n%s", err, out)
	}
	v, addr, err := distribution(b.root, filepath.Join(b.dir, "upstream.yml"))
	if err != nil {
		return nil, err
	}
	b.upstream = addr
	var names []string
	for _, img := range b.corpus.Images {
		b.images = append(b.images, img.Name+":v1")
		names = append(names, "registry.example.com/"+img.Name+":v1")
	}
	b.list, b.lock = filepath.Join(b.dir, "imageList"), filepath.Join(b.dir, "images.yml")
	if err = writeLines(b.list, names); err == nil {
		err = b.writeLock(b.lock, addr)
	}
	if err == nil {
		// What is measured is not the disk: all is read once.
		_, err = pull(addr, b.images, 4)
	}
	if err != nil {
		v.stop(&sample{})
		return nil, err
	}
	return func() { v.stop(&sample{}) }, nil
}

func writeLines(path string, lines []string) error {
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// writeLock writes the list of images that imgpkg takes.
func (b *bench) writeLock(path, addr string) error {
	lines := []string{"apiVersion: imgpkg.carvel.dev/v1alpha1", "kind: ImagesLock", "images:"}
	for _, img := range b.corpus.Images {
		lines = append(lines, "- image: "+addr+"/"+img.Name+"@"+img.Digest)
	}
	return writeLines(path, lines)
}

// has tells whether a tool is here, and notes if not.
func (b *bench) has(tool string) bool {
	if _, err := exec.LookPath(tool); err == nil {
		return true
	}
	b.leaveOut(tool + ": it is not on PATH and did not build")
	return false
}

func (b *bench) leaveOut(why string) {
	if !slices.Contains(b.leftOut, why) {
		b.leftOut = append(b.leftOut, why)
	}
}

// row finds the median of a job that ran.
func (b *bench) row(job, tool string) (sample, bool) {
	for _, r := range b.rows {
		if r.job == job && r.tool == tool {
			return median(r.runs), true
		}
	}
	return sample{}, false
}

// note says more of the job that ran last.
func (b *bench) note(format string, args ...any) {
	r := &b.rows[len(b.rows)-1]
	r.note = strings.TrimSpace(r.note + " " + fmt.Sprintf(format, args...))
}

// last is the median of the job that ran last.
func (b *bench) last() sample { return median(b.rows[len(b.rows)-1].runs) }

// median takes the run whose wall time lies in the middle, whole: numbers of
// different runs do not belong together.
func median(s []sample) sample {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b sample) int { return int(a.wall - b.wall) })
	return s[(len(s)-1)/2]
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s was not made", path)
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
