package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// save: from a registry to one file that can be carried.
func (b *bench) save(runs int) (err error) {
	const job = "registry → one file"
	b.bundleFile, err = b.measure(job, "bundle build (signed)", "out.tar.zst", runs, func(dir string, s *sample) error {
		return s.exec(b.bundle, "build", "--image-list", filepath.Join(b.dir, "imageList"), "--mirror", "*="+b.upstream,
			"--name", "bench", "--version", "1", "--key", b.key, "-o", filepath.Join(dir, "out.tar.zst"))
	})
	if err != nil {
		return err
	}
	_, err = b.measure(job, "crane + tar", "", runs, func(dir string, s *sample) error {
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
	b.skopeoTar, err = b.measure(job, "skopeo + tar", "out.tar", runs, func(dir string, s *sample) error {
		layout := filepath.Join(dir, "layout")
		for _, img := range b.images {
			if err := s.exec("skopeo", "copy", "-q", "--src-tls-verify=false", "docker://"+b.upstream+"/"+img, "oci:"+layout+":"+img); err != nil {
				return err
			}
		}
		return s.exec("tar", "-cf", filepath.Join(dir, "out.tar"), "-C", layout, ".")
	})
	return err
}

// verify: is every byte what it should be? Without a signature only the
// product can also say who vouches for it. The bound is how fast the CPUs can
// hash.
func (b *bench) verify(runs int) error {
	const job = "is the file whole?"
	info, err := os.Stat(b.bundleFile)
	if err != nil {
		return err
	}
	if _, err := b.measure(job, "bundle verify", "", runs, func(_ string, s *sample) error {
		start := time.Now()
		err := s.exec(b.bundle, "verify", b.bundleFile, "--key", b.pub)
		s.wall = time.Since(start)
		s.rate = float64(info.Size()) / s.wall.Seconds()
		return err
	}); err != nil {
		return err
	}
	bound := float64(runtime.NumCPU()) * hashRate()
	row := &b.rows[len(b.rows)-1]
	row.note = fmt.Sprintf("%.0f %% of all CPUs hashing", 100*median(row.runs).rate/bound)
	_, err = b.measure(job, "tar -x + sha256sum", "", runs, func(dir string, s *sample) error {
		if err := s.exec("tar", "-xf", b.skopeoTar, "-C", dir); err != nil {
			return err
		}
		return s.exec("sh", "-c", `cd "$1"/blobs/sha256 && for f in *; do echo "$f  $f"; done | sha256sum -c --quiet`, "sh", dir)
	})
	return err
}

// hashRate is how many bytes one CPU hashes in a second.
func hashRate() float64 {
	buf := make([]byte, 1<<20)
	h := sha256.New()
	const n = 512
	start := time.Now()
	for range n {
		_, _ = h.Write(buf)
	}
	return n * float64(len(buf)) / time.Since(start).Seconds()
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
		if err := s.exec("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout+":"+img, "docker://"+addr+"/"+img); err != nil {
			return err
		}
	}
	return nil
}

// serve starts the product's registry on the file.
func (b *bench) serve() (*server, string, error) {
	return serverJSON(exec.Command(b.bundle, "serve", b.bundleFile, "--key", b.pub, "--addr", "127.0.0.1:0", "-o", "json"))
}

// firstPull: from a file on the target to the first image wholly pulled.
func (b *bench) firstPull(runs int) error {
	const job = "file → first image pulled"
	if _, err := b.measure(job, "bundle serve", "", runs, func(_ string, s *sample) error {
		start := time.Now()
		v, addr, err := b.serve()
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
	_, err := b.measure(job, "tar -x + skopeo + distribution", "", runs, func(dir string, s *sample) error {
		start := time.Now()
		v, addr, err := distribution(dir)
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
	// Loaded once, outside of the measuring; restarted for each run.
	var loaded sample
	v, addr, err := distribution(b.dir)
	if err != nil {
		return err
	}
	err = b.load(b.dir, addr, &loaded)
	v.stop(&loaded)
	if err != nil {
		return err
	}
	for _, nodes := range []int{1, 4, 16} {
		job := fmt.Sprintf("%d nodes pull all", nodes)
		if nodes == 1 {
			job = "one node pulls all"
		}
		for _, from := range []struct {
			tool  string
			start func() (*server, string, error)
		}{
			{"bundle serve", b.serve},
			{"distribution on a folder", func() (*server, string, error) { return distribution(b.dir) }},
		} {
			if _, err := b.measure(job, from.tool, "", runs, func(_ string, s *sample) error {
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
	const job = "file → another registry"
	into := func(do func(dir, addr string, s *sample) error) func(string, *sample) error {
		return func(dir string, s *sample) error {
			target := filepath.Join(b.dir, "target-"+filepath.Base(dir))
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			v, addr, err := distribution(target)
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
	if _, err := b.measure(job, "bundle push", "", runs, into(func(_, addr string, s *sample) error {
		return s.exec(b.bundle, "push", b.bundleFile, addr, "--key", b.pub)
	})); err != nil {
		return err
	}
	_, err := b.measure(job, "tar -x + skopeo", "", runs, into(b.load))
	return err
}
