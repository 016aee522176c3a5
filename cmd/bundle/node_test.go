package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"bundle/archive"
	"bundle/install/node/agent"
)

// cutter passes connections on to a server and, once so many bytes came back
// from it, kills the process that is downloading.
type cutter struct {
	to      string
	mu      sync.Mutex
	left    int64
	process *os.Process
}

func (c *cutter) serve(ln net.Listener) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", c.to)
			if err != nil {
				return
			}
			defer out.Close()
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			buf := make([]byte, 16<<10)
			for {
				n, err := out.Read(buf)
				c.count(n)
				if _, werr := in.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		}()
	}
}

func (c *cutter) arm(p *os.Process, after int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process, c.left = p, after
}

func (c *cutter) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return
	}
	if c.left -= int64(n); c.left <= 0 {
		_ = c.process.Signal(syscall.SIGKILL)
		c.process = nil
	}
}

// TestNodeRootfsSurvivesKill brings a root file system from a real registry,
// with TLS and a password, and kills the program on the way at several
// points. Each next run goes on, and the result is whole; nothing is at the
// target before.
func TestNodeRootfsSurvivesKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	command := func(stdin string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(exe, args...)
		cmd.Args[0] = "bundle" // testscript's way to be the command
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "HTTPS_PROXY=http://127.0.0.1:1")
		var out bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
		return cmd, &out
	}
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd, out := command(stdin, args...)
		if err := cmd.Run(); err != nil {
			t.Fatalf("bundle %v: %v\n%s", args, err, out)
		}
		return out.String()
	}
	files := map[string]string{}
	for i := range 6 {
		p := fmt.Sprintf("bin/program-%d", i)
		files[p] = strings.Repeat(fmt.Sprint(i), 1<<20)
		if err := os.MkdirAll(filepath.Join(dir, "ctx/bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ctx", p), []byte(files[p]), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ctx/Kubefile"), []byte("FROM scratch\nCOPY bin bin/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("", "build", "ctx", "--dialect", "0.9", "--name", "app", "--version", "1", "--unsigned", "-o", "app.tar.zst")
	digest := manifestDigest(t, filepath.Join(dir, "app.tar.zst"))

	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte("me:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, _ := command("", "serve", "app.tar.zst", "--insecure-skip-signature", "--addr", "127.0.0.1:0", "--tls", "auto", "--tls-dir", "tls", "--htpasswd", "htpasswd", "-o", "json")
	server.Stdout, server.Stderr = nil, io.Discard
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGTERM); _ = server.Wait() })
	var first struct{ Addr, CA string }
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &first) != nil {
		t.Fatalf("the server says %q, %v", line, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	c := &cutter{to: first.Addr}
	go c.serve(ln)

	const login = `{"username":"me","password":"s3cret"}`
	pull := func(to string) []string {
		return []string{"node", "rootfs", "--progress", "json", "--registry", "https://" + ln.Addr().String(), "--ca", first.CA,
			"--credentials", "-", "--ref", "bundle/app:1", "--digest", digest, "--to", to}
	}
	const kills = 8
	kept := 0
	for i := range kills {
		to := filepath.Join(dir, fmt.Sprint("host", i), "data/rootfs")
		cmd, out := command(login, pull(to)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.arm(cmd.Process, int64(6<<20)*int64(i)/kills+1)
		if cmd.Wait() == nil {
			t.Fatalf("run %d was not killed:\n%s", i, out)
		}
		if _, err := os.Lstat(to); err == nil {
			t.Fatalf("run %d was killed and the root file system is there", i)
		}
		var r agent.Result
		text := strings.TrimSpace(run(login, pull(to)...))
		if err := json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &r); err != nil || r.State != agent.Unpacked || r.Files != 6 {
			t.Fatalf("run %d after the kill: %+v, %v\n%s", i, r, err, text)
		}
		kept += r.Kept
		for p, want := range files {
			if got, err := os.ReadFile(filepath.Join(to, p)); err != nil || string(got) != want {
				t.Errorf("run %d: %s is wrong: %v", i, p, err)
			}
		}
		if _, err := os.Lstat(to + ".part"); err == nil {
			t.Errorf("run %d left its part behind", i)
		}
	}
	if kept == 0 {
		t.Error("no run went on where the killed one was")
	}
	to := filepath.Join(dir, "host0/data/rootfs")
	if text := run(login, pull(to)...); !strings.Contains(text, `"state":"unchanged"`) {
		t.Errorf("a further run says %s", text)
	}
	// Without the password, and with another CA.
	for name, args := range map[string][]string{
		"no password": {"--credentials", ""},
		"no CA":       {"--ca", ""},
	} {
		cmd, out := command("", append(pull(filepath.Join(dir, "other/data/rootfs")), args...)...)
		if err := cmd.Run(); err == nil || !strings.Contains(out.String(), `{"error":{`) || strings.Contains(out.String(), "s3cret") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func manifestDigest(t *testing.T, file string) string {
	t.Helper()
	r, err := archive.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == archive.KindBundle {
			return d.Digest.String()
		}
	}
	t.Fatal("the bundle has no manifest")
	return ""
}
