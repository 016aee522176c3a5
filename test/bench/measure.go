package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sample is one run of a job.
type sample struct {
	wall, cpu time.Duration
	rss       int64   // bytes, of the largest process
	disk      int64   // bytes, the most at any moment
	rate      float64 // bytes a second, where the job is to move some
}

// add counts a process that ended.
func (s *sample) add(p *os.ProcessState) {
	s.cpu += p.UserTime() + p.SystemTime()
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		s.rss = max(s.rss, u.Maxrss*1024)
	}
}

// exec runs one command of a job.
func (s *sample) exec(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &out)
	}
	s.add(cmd.ProcessState)
	return nil
}

// measure runs a job in an empty folder of its own, runs times. keep names a
// file in that folder that the last run leaves behind, moved to where the
// result says; it may be empty.
func (b *bench) measure(job, tool, keep string, runs int, do func(dir string, s *sample) error) (kept string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", job, tool)
	r := row{job: job, tool: tool}
	for range runs {
		dir, err := os.MkdirTemp(b.dir, "job-")
		if err != nil {
			return "", err
		}
		// Writes that are still on their way belong to the job before.
		syscall.Sync()
		var s sample
		peak := watch(dir)
		start := time.Now()
		err = do(dir, &s)
		if s.wall == 0 {
			s.wall = time.Since(start)
		}
		s.disk = peak()
		if err == nil && keep != "" {
			kept = filepath.Join(b.dir, filepath.Base(dir)+"-"+keep)
			err = os.Rename(filepath.Join(dir, keep), kept)
		}
		if rmErr := os.RemoveAll(dir); err == nil {
			err = rmErr
		}
		if err != nil {
			return "", fmt.Errorf("%s with %s: %w", job, tool, err)
		}
		r.runs = append(r.runs, s)
	}
	b.rows = append(b.rows, r)
	return kept, nil
}

// watch looks at a folder's size on disk until its result is called, which
// gives the largest size seen.
func watch(dir string) func() int64 {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var most int64
		for {
			select {
			case <-tick.C:
				most = max(most, onDisk(dir))
			case <-stop:
				result <- max(most, onDisk(dir))
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-result
	}
}

// onDisk adds up the blocks of all files. A file that goes away meanwhile
// counts as gone.
func onDisk(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// server is a process that answers until it is stopped.
type server struct {
	cmd   *exec.Cmd
	stdin io.Closer
	log   *bytes.Buffer
}

// stop ends the server and counts it.
func (v *server) stop(s *sample) {
	_ = v.stdin.Close()
	_ = v.cmd.Process.Signal(syscall.SIGTERM)
	_ = v.cmd.Wait()
	s.add(v.cmd.ProcessState)
}

// serverJSON starts a server that prints {"addr":…} when it is ready.
func serverJSON(cmd *exec.Cmd) (*server, string, error) {
	v := &server{cmd: cmd, log: &bytes.Buffer{}}
	cmd.Stderr = v.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	v.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready struct {
		Addr string `json:"addr"`
	}
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		v.stop(&sample{})
		return nil, "", fmt.Errorf("%s did not start: %w\n%s%s", cmd.Path, err, line, v.log)
	}
	return v, ready.Addr, nil
}

func startJSON(cmd *exec.Cmd) (addr string, stop func(), err error) {
	v, addr, err := serverJSON(cmd)
	if err != nil {
		return "", nil, err
	}
	return addr, func() { v.stop(&sample{}) }, nil
}
