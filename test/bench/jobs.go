package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The names of jobs and tools, where the report asks for them again.
const (
	jobSave   = "registry → one file"
	jobSlow   = "the same over the slow link"
	jobVerify = "is the file whole?"
	jobFirst  = "file → first image pulled"
	jobPush   = "file → another registry"
	jobDelta  = "delta of a patch release"
	jobSmall  = "compact"

	toolBuild  = "bundle build (signed)"
	toolVerify = "bundle verify"
	toolServe  = "bundle serve"
	toolPush   = "bundle push"
	toolImgpkg = "imgpkg, 5 workers"
	toolFolder = "distribution on a folder"

	ourJobs, imgpkgJobs = 8, 5 // connections, by default

	// Tools that take many times longer than what they are compared with run
	// once: so great a distance needs no median.
	once = 1
)

// jobPull names the job of so many nodes.
func jobPull(nodes int) string {
	if nodes == 1 {
		return "one node pulls all"
	}
	return fmt.Sprintf("%d nodes pull all", nodes)
}

var nodeCounts = []int{1, 4, 16}

// build runs the product's build of a list from an upstream.
func (b *bench) build(s *sample, list, upstream, out string, more ...string) error {
	return s.exec(b.bundle, append([]string{"build", "--image-list", list, "--mirror", "*=" + upstream,
		"--name", "bench", "--version", "1", "--key", b.key, "-o", out}, more...)...)
}

// imgpkgSave copies all images into a tar.
func imgpkgSave(s *sample, lock, out string) error {
	return s.exec("imgpkg", "copy", "--lock", lock, "--to-tar", out, "--concurrency", fmt.Sprint(imgpkgJobs), "--registry-insecure", "-y", "--tty=false")
}

// save: from a registry to one file that can be carried.
func (b *bench) save(runs int) (err error) {
	b.bundleFile, err = b.measure(jobSave, toolBuild, "out.tar.zst", runs, func(dir string, s *sample) error {
		return b.build(s, b.list, b.upstream, filepath.Join(dir, "out.tar.zst"))
	})
	if err != nil {
		return err
	}
	size, err := fileSize(b.bundleFile)
	if err != nil {
		return err
	}
	b.note("a file of %.0f MB", float64(size)/1e6)
	if b.has("imgpkg") {
		b.imgpkgTar, err = b.measure(jobSave, toolImgpkg, "out.tar", runs, func(dir string, s *sample) error {
			return imgpkgSave(s, b.lock, filepath.Join(dir, "out.tar"))
		})
		if err != nil {
			return err
		}
	}
	_, err = b.measure(jobSave, "crane + tar", "", once, func(dir string, s *sample) error {
		layout := filepath.Join(dir, "layout")
		args := []string{"pull", "--format=oci"}
		for _, img := range b.images {
			args = append(args, b.upstream+"/"+img)
		}
		if err := s.exec("crane", append(args, layout)...); err != nil {
			return err
		}
		return s.exec("tar", "-cf", filepath.Join(dir, "out.tar"), "-C", layout, ".")
	})
	if err != nil {
		return err
	}
	b.skopeoTar, err = b.measure(jobSave, "skopeo + tar", "out.tar", once, func(dir string, s *sample) error {
		layout := filepath.Join(dir, "layout")
		for _, img := range b.images {
			if err := s.exec("skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false", "docker://"+b.upstream+"/"+img, "oci:"+layout+":"+img); err != nil {
				return err
			}
		}
		return s.exec("tar", "-cf", filepath.Join(dir, "out.tar"), "-C", layout, ".")
	})
	return err
}

// slow: the same through a link with latency. What it can carry is the rate of
// one connection times the connections that the tool opens.
func (b *bench) slow(runs int) error {
	link, err := newSlowLink(b.upstream, linkTrip, linkRate)
	if err != nil {
		return err
	}
	defer link.close()
	if err := link.check(); err != nil {
		return err
	}
	sizes, err := b.sizes()
	if err != nil {
		return err
	}
	note := func(jobs int) {
		can := float64(jobs) * linkRate
		b.note("%.0f %% of what %d connections can carry; %.0f %% is the most without cutting a blob in pieces",
			100*b.last().rate/can, jobs, 100*float64(b.corpus.Bytes)/can/longest(sizes, jobs).Seconds())
	}
	if _, err := b.measure(jobSlow, toolBuild, "", runs, func(dir string, s *sample) error {
		start := time.Now()
		err := b.build(s, b.list, link.addr(), filepath.Join(dir, "out.tar.zst"))
		s.wall = time.Since(start)
		s.rate = float64(b.corpus.Bytes) / s.wall.Seconds()
		return err
	}); err != nil {
		return err
	}
	note(ourJobs)
	if !b.has("imgpkg") {
		return nil
	}
	lock := filepath.Join(b.dir, "slow.yml")
	if err := b.writeLock(lock, link.addr()); err != nil {
		return err
	}
	if _, err := b.measure(jobSlow, toolImgpkg, "", runs, func(dir string, s *sample) error {
		start := time.Now()
		err := imgpkgSave(s, lock, filepath.Join(dir, "out.tar"))
		s.wall = time.Since(start)
		s.rate = float64(b.corpus.Bytes) / s.wall.Seconds()
		return err
	}); err != nil {
		return err
	}
	note(imgpkgJobs)
	return nil
}

// sizes are those of all blobs, the largest first.
func (b *bench) sizes() ([]int64, error) {
	seen := map[string]int64{}
	for _, img := range b.images {
		blobs, err := blobsOf(b.upstream, img)
		if err != nil {
			return nil, err
		}
		for _, d := range blobs {
			seen[d.Digest] = d.Size
		}
	}
	sizes := slices.Sorted(maps.Values(seen))
	slices.Reverse(sizes)
	return sizes, nil
}

// longest is how long the busiest connection takes if every blob, the largest
// first, goes to the connection that has the least.
func longest(sizes []int64, connections int) time.Duration {
	busy := make([]int64, connections)
	for _, n := range sizes {
		busy[slices.Index(busy, slices.Min(busy))] += n
	}
	return time.Duration(float64(slices.Max(busy)) / linkRate * float64(time.Second))
}

// verify: is every byte what it should be? Without a signature only the
// product can also say who vouches for it. The bound is how fast the CPUs can
// hash.
func (b *bench) verify(runs int) error {
	size, err := fileSize(b.bundleFile)
	if err != nil {
		return err
	}
	b.cores, b.single = float64(runtime.NumCPU()), hashRate()
	if _, err := b.measure(jobVerify, toolVerify, "", runs, func(_ string, s *sample) error {
		start := time.Now()
		err := s.exec(b.bundle, "verify", b.bundleFile, "--key", b.pub)
		s.wall = time.Since(start)
		s.rate = float64(size) / s.wall.Seconds()
		return err
	}); err != nil {
		return err
	}
	b.note("%.0f %% of all CPUs hashing", 100*b.last().rate/(b.cores*b.single))
	_, err = b.measure(jobVerify, "tar -x + sha256sum", "", once, func(dir string, s *sample) error {
		if err := s.exec("tar", "-xf", b.skopeoTar, "-C", dir); err != nil {
			return err
		}
		return s.exec("sh", "-c", `cd "$1"/blobs/sha256 && for f in *; do echo "$f  $f"; done | sha256sum -c --quiet`, "sh", dir)
	})
	return err
}

// hashRate is how many bytes one CPU hashes in a second, the best of some
// tries: what disturbs can only make it slower.
func hashRate() float64 {
	buf := make([]byte, 1<<20)
	var best float64
	for range 5 {
		h := sha256.New()
		const n = 512
		start := time.Now()
		for range n {
			_, _ = h.Write(buf)
		}
		best = max(best, n*float64(len(buf))/time.Since(start).Seconds())
	}
	return best
}

// load unpacks the tar and copies every image into a registry.
func (b *bench) load(dir, addr string, s *sample) error {
	layout := filepath.Join(dir, "layout")
	if err := os.Mkdir(layout, 0o700); err != nil {
		return err
	}
	if err := s.exec("tar", "-xf", b.skopeoTar, "-C", layout); err != nil {
		return err
	}
	for _, img := range b.images {
		if err := s.exec("skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout+":"+img, "docker://"+addr+"/"+img); err != nil {
			return err
		}
	}
	return nil
}

// serve starts the product's registry on bundles.
func (b *bench) serve(files ...string) (*server, string, error) {
	return serverJSON(exec.Command(b.bundle, append([]string{"serve", "--key", b.pub, "--addr", "127.0.0.1:0", "-o", "json"}, files...)...))
}

// folder starts the reference registry on the corpus.
func (b *bench) folder() (*server, string, error) {
	return distribution(b.root, filepath.Join(b.dir, "folder.yml"))
}

// firstPull: from a file on the target to the first image wholly pulled.
func (b *bench) firstPull(runs int) error {
	if _, err := b.measure(jobFirst, toolServe, "", runs, func(_ string, s *sample) error {
		start := time.Now()
		v, addr, err := b.serve(b.bundleFile)
		if err != nil {
			return err
		}
		_, err = pull(addr, b.images[:1], 4)
		s.wall = time.Since(start)
		v.stop(s)
		return err
	}); err != nil {
		return err
	}
	_, err := b.measure(jobFirst, "tar -x + skopeo + distribution", "", once, func(dir string, s *sample) error {
		start := time.Now()
		v, addr, err := distribution(dir, filepath.Join(dir, "config.yml"))
		if err != nil {
			return err
		}
		if err = b.load(dir, addr, s); err == nil {
			_, err = pull(addr, b.images[:1], 4)
		}
		s.wall = time.Since(start)
		v.stop(s)
		return err
	})
	return err
}

// pullAll: nodes that each pull every image over four streams, from servers
// that are ready. CPU and memory are the server's; the nodes are ours, hash
// what they get, run on the same machine and are the same for both.
func (b *bench) pullAll(runs int) error {
	for _, nodes := range nodeCounts {
		if nodes > 4 {
			runs = once
		}
		for _, from := range []struct {
			tool  string
			start func() (*server, string, error)
		}{
			{toolServe, func() (*server, string, error) { return b.serve(b.bundleFile) }},
			{toolFolder, b.folder},
		} {
			if _, err := b.measure(jobPull(nodes), from.tool, "", runs, func(_ string, s *sample) error {
				v, addr, err := from.start()
				if err != nil {
					return err
				}
				start := time.Now()
				n, err := pullNodes(addr, b.images, nodes, 4)
				s.wall = time.Since(start)
				s.rate = float64(n) / s.wall.Seconds()
				v.stop(s)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// push: from the file into a registry that is there already and empty. Disk
// is what the tools need, the registry's own left out.
func (b *bench) push(runs int) error {
	into := func(do func(dir, addr string, s *sample) error) func(string, *sample) error {
		return func(dir string, s *sample) error {
			target := filepath.Join(b.dir, "target-"+filepath.Base(dir))
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			v, addr, err := distribution(target, filepath.Join(target, "config.yml"))
			if err != nil {
				return err
			}
			start := time.Now()
			err = do(dir, addr, s)
			s.wall = time.Since(start)
			v.stop(&sample{})
			if rmErr := os.RemoveAll(target); err == nil {
				err = rmErr
			}
			return err
		}
	}
	if _, err := b.measure(jobPush, toolPush, "", runs, into(func(_, addr string, s *sample) error {
		return s.exec(b.bundle, "push", b.bundleFile, addr, "--key", b.pub)
	})); err != nil {
		return err
	}
	if b.has("imgpkg") {
		if _, err := b.measure(jobPush, toolImgpkg, "", runs, into(func(_, addr string, s *sample) error {
			return s.exec("imgpkg", "copy", "--tar", b.imgpkgTar, "--to-repo", addr+"/bench", "--concurrency", fmt.Sprint(imgpkgJobs), "--registry-insecure", "-y", "--tty=false")
		})); err != nil {
			return err
		}
		b.note("into one repository")
	}
	_, err := b.measure(jobPush, "tar -x + skopeo", "", once, into(b.load))
	return err
}

// nextList writes the list of the patch release: some images changed, most
// did not.
func (b *bench) nextList() (string, error) {
	var names []string
	for _, img := range b.corpus.Images {
		tag := ":v1"
		if img.Next != "" {
			tag = ":v2"
		}
		names = append(names, "registry.example.com/"+img.Name+tag)
	}
	path := filepath.Join(b.dir, "imageList.next")
	return path, writeLines(path, names)
}

// delta: what must be carried for a release in which few images changed.
func (b *bench) delta(runs int) error {
	list, err := b.nextList()
	if err != nil {
		return err
	}
	file, err := b.measure(jobDelta, "bundle build --base", "delta.tar.zst", runs, func(dir string, s *sample) error {
		return b.build(s, list, b.upstream, filepath.Join(dir, "delta.tar.zst"), "--base", b.bundleFile)
	})
	if err != nil {
		return err
	}
	size, err := fileSize(file)
	if err != nil {
		return err
	}
	b.note("%.1f MB for changed layers of %.1f MB (%+.2f %%)", float64(size)/1e6, float64(b.corpus.Changed)/1e6, 100*(float64(size)/float64(b.corpus.Changed)-1))
	return nil
}

// compact: the smaller form, where the program has it.
func (b *bench) compact(int) error {
	help, err := exec.Command(b.bundle, "build", "--help").CombinedOutput()
	if err != nil {
		return fmt.Errorf("bundle build --help: %w", err)
	}
	if !strings.Contains(string(help), "--compact") {
		b.leaveOut("compact bundles: this program has no build --compact")
		return nil
	}
	file, err := b.measure(jobSmall, "bundle build --compact", "out.tar.zst", once, func(dir string, s *sample) error {
		return b.build(s, b.list, b.upstream, filepath.Join(dir, "out.tar.zst"), "--compact")
	})
	if err != nil {
		return err
	}
	size, err := fileSize(file)
	if err != nil {
		return err
	}
	b.note("a file of %.0f MB, %.3f of the blobs' size", float64(size)/1e6, float64(size)/float64(b.corpus.Bytes))
	_, err = b.measure(jobSmall, "bundle serve, one node pulls all", "", once, func(_ string, s *sample) error {
		v, addr, err := b.serve(file)
		if err != nil {
			return err
		}
		start := time.Now()
		n, err := pull(addr, b.images, 4)
		s.wall = time.Since(start)
		s.rate = float64(n) / s.wall.Seconds()
		v.stop(s)
		return err
	})
	return err
}
