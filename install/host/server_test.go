package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bundle/manifest/cluster"
)

// server is an SSH server that really runs commands, and fails on demand.
type server struct {
	t    *testing.T
	addr *net.TCPAddr

	// Set before start.
	password    string
	interactive bool // ask for the password in a dialogue
	key         ssh.PublicKey
	hostKeys    []ssh.Signer
	path        string // folders in front of PATH
	env         []string
	junk        string // what the login shell prints first, on both streams
	forward     bool
	maxSessions int
	// onConn can replace a connection, or refuse it with nil.
	onConn func(n int, c net.Conn) net.Conn
	// onExec can do something else than running the n-th command line of a
	// connection; it says whether it did.
	onExec func(conn, n int, ch ssh.Channel, req *ssh.Request) bool

	mu    sync.Mutex
	conns int
	lines []string
	open  map[net.Conn]bool
	wg    sync.WaitGroup
}

func newServer(t *testing.T) *server {
	needRoot(t)
	return &server{t: t, password: "let me in", hostKeys: []ssh.Signer{newSigner(t)}, forward: true, open: map[net.Conn]bool{}}
}

// needRoot skips what only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("scripts run as root on every host: run the tests as root")
	}
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newKeyFile writes a private key, locked if there is a password.
func newKeyFile(t *testing.T, path, password string) ssh.PublicKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if password == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(password))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s.PublicKey()
}

// start listens, and gives the target to reach it.
func (s *server) start() Target {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().(*net.TCPAddr)
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			n := s.conns
			if s.onConn != nil {
				if c = s.onConn(n, c); c == nil {
					s.mu.Unlock()
					continue
				}
			}
			s.open[c] = true
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(n, c) })
		}
	})
	s.t.Cleanup(func() {
		_ = l.Close()
		s.dropAll()
		s.wg.Wait()
	})
	return Target{Name: "10.0.0.7", Address: "127.0.0.1", Port: s.addr.Port, Password: cluster.Secret(s.password)}
}

// dropAll cuts every connection.
func (s *server) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// commandLines are all that were asked for.
func (s *server) commandLines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

func (s *server) config() *ssh.ServerConfig {
	c := &ssh.ServerConfig{MaxAuthTries: 6}
	wrong := errors.New("wrong")
	if s.password != "" && !s.interactive {
		c.PasswordCallback = func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if string(p) != s.password {
				return nil, wrong
			}
			return nil, nil
		}
	}
	if s.interactive {
		c.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			got, err := ask("", "", []string{"Token shown: ", "Password: "}, []bool{true, false})
			if err != nil || len(got) != 2 || got[0] != "" || got[1] != s.password {
				return nil, wrong
			}
			return nil, nil
		}
	}
	if s.key != nil {
		c.PublicKeyCallback = func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(k.Marshal(), s.key.Marshal()) {
				return nil, wrong
			}
			return nil, nil
		}
	}
	for _, k := range s.hostKeys {
		c.AddHostKey(k)
	}
	return c
}

func (s *server) serve(n int, c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	conn, chans, reqs, err := ssh.NewServerConn(c, s.config())
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	sessions, execs := 0, 0
	var mu sync.Mutex
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			mu.Lock()
			full := s.maxSessions > 0 && sessions >= s.maxSessions
			sessions++
			if full {
				sessions--
			}
			mu.Unlock()
			if full {
				_ = nc.Reject(ssh.ResourceShortage, "open failed")
				continue
			}
			ch, creqs, err := nc.Accept()
			if err != nil {
				continue
			}
			wg.Go(func() {
				for req := range creqs {
					if req.Type != "exec" {
						_ = req.Reply(false, nil)
						continue
					}
					mu.Lock()
					execs++
					k := execs
					mu.Unlock()
					wg.Go(func() {
						s.exec(n, k, ch, req)
						mu.Lock()
						sessions--
						mu.Unlock()
					})
				}
			})
		case "direct-tcpip":
			s.tunnel(nc, &wg)
		default:
			_ = nc.Reject(ssh.UnknownChannelType, "unknown")
		}
	}
	_ = conn.Close()
	wg.Wait()
}

func (s *server) exec(conn, n int, ch ssh.Channel, req *ssh.Request) {
	defer ch.Close()
	var m struct{ Line string }
	if err := ssh.Unmarshal(req.Payload, &m); err != nil {
		return
	}
	s.mu.Lock()
	s.lines = append(s.lines, m.Line)
	s.mu.Unlock()
	if s.onExec != nil && s.onExec(conn, n, ch, req) {
		return
	}
	_ = req.Reply(true, nil)
	if s.junk != "" {
		_, _ = io.WriteString(ch, s.junk)
		_, _ = io.WriteString(ch.Stderr(), s.junk)
	}
	s.run(ch, m.Line)
}

// run is what a server does: a shell in a session of its own, whose exit
// status is told while its output may still be held open.
func (s *server) run(ch ssh.Channel, line string) {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append([]string{"PATH=" + s.path + ":" + scriptPath, "HOME=" + s.t.TempDir(), "LANG=C.UTF-8"}, s.env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	or, ow, _ := os.Pipe()
	er, ew, _ := os.Pipe()
	cmd.Stdout, cmd.Stderr = ow, ew
	if err := cmd.Start(); err != nil {
		return
	}
	_ = ow.Close()
	_ = ew.Close()
	go func() {
		_, _ = io.Copy(stdin, ch)
		_ = stdin.Close()
	}()
	var out sync.WaitGroup
	out.Go(func() { _, _ = io.Copy(ch, or) })
	out.Go(func() { _, _ = io.Copy(ch.Stderr(), er) })
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		m := struct {
			Signal string
			Core   bool
			Error  string
			Lang   string
		}{Signal: map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM"}[ws.Signal()]}
		_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(m))
	} else {
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ S uint32 }{uint32(cmd.ProcessState.ExitCode())}))
	}
	out.Wait()
	_ = or.Close()
	_ = er.Close()
}

func (s *server) tunnel(nc ssh.NewChannel, wg *sync.WaitGroup) {
	if !s.forward {
		_ = nc.Reject(ssh.Prohibited, "administratively prohibited")
		return
	}
	var m struct {
		Host  string
		Port  uint32
		From  string
		FromP uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	c, err := net.Dial("tcp", net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))))
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		_ = c.Close()
		return
	}
	go ssh.DiscardRequests(reqs)
	wg.Go(func() {
		_, _ = io.Copy(c, ch)
		_ = c.(*net.TCPConn).CloseWrite()
	})
	wg.Go(func() {
		_, _ = io.Copy(ch, c)
		_ = ch.Close()
		_ = c.Close()
	})
}

// options are those of a test: quick, with files of their own.
func options(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	return Options{
		KnownHosts: filepath.Join(dir, "keys", "known_hosts"),
		LogDir:     filepath.Join(dir, "logs"),
		Home:       dir,
		Agent:      filepath.Join(dir, "no-agent"),
		Backoff:    func(int) time.Duration { return 0 },
		Grace:      300 * time.Millisecond,
		Linger:     time.Second,
	}
}

func mustDial(t *testing.T, target Target, o Options) Host {
	t.Helper()
	h, err := Dial(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// output runs a script and gives its standard output.
func output(t *testing.T, h Host, script string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := h.Run(t.Context(), Command{Script: script, Stdout: &out, Stderr: &errs}); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String()
}

// soon is a context that ends a test that hangs.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// readLog gives the log of a host.
func readLog(t *testing.T, o Options, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.LogDir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
