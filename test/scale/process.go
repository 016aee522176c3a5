package scale

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// usage is what a process took.
type usage struct {
	wall time.Duration
	cpu  time.Duration
	rss  int64 // bytes, at its peak
}

func (u usage) String() string {
	return fmt.Sprintf("%s, %s of CPU, %d MB", u.wall.Round(time.Millisecond), u.cpu.Round(time.Millisecond), u.rss/1e6)
}

func usageOf(p *os.ProcessState, wall time.Duration) usage {
	return usage{wall, p.UserTime() + p.SystemTime(), p.SysUsage().(*syscall.Rusage).Maxrss << 10}
}

// bundle is the binary under test.
func bundle(t *testing.T) string {
	t.Helper()
	b := os.Getenv("BUNDLE")
	if b == "" {
		t.Fatal("BUNDLE must name the binary; run make scale")
	}
	return b
}

// run runs the tool.
func run(t *testing.T, args ...string) (string, usage) {
	t.Helper()
	cmd := exec.Command(bundle(t), args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bundle %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return string(out), usageOf(cmd.ProcessState, time.Since(start))
}

// server is a running bundle serve.
type server struct {
	cmd   *exec.Cmd
	addr  string
	start time.Time
	ready time.Duration // from its start to where it listens
	ended bool
}

func serve(t *testing.T, file, key string) *server {
	t.Helper()
	v := &server{cmd: exec.Command(bundle(t), "serve", file, "--key", key, "--addr", "127.0.0.1:0", "-o", "json", "--log-level", "error")}
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	v.start = time.Now()
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !v.ended {
			_ = v.cmd.Process.Kill()
			_ = v.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	v.ready = time.Since(v.start)
	var at struct{ Addr string }
	if err == nil {
		err = json.Unmarshal(line, &at)
	}
	if err != nil {
		t.Fatalf("bundle serve did not start: %v\n%s", err, line)
	}
	v.addr = at.Addr
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return v
}

// stop ends it in good order.
func (v *server) stop(t *testing.T) usage {
	t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	v.ended = true
	if err := v.cmd.Wait(); err != nil {
		t.Errorf("bundle serve ended with %v", err)
	}
	return usageOf(v.cmd.ProcessState, time.Since(v.start))
}

// kill ends it as a power cut does.
func (v *server) kill() {
	v.ended = true
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}
