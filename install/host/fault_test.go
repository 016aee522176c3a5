package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// begun runs a script that tells its process id and then stays.
func begun(t *testing.T, ctx context.Context, h Host, script string) (string, <-chan error) {
	t.Helper()
	first := &firstLine{line: make(chan string, 1)}
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx, Command{Script: "echo $$\n" + script, Stdout: first}) }()
	select {
	case pid := <-first.line:
		return pid, done
	case err := <-done:
		t.Fatalf("the script ended: %v", err)
		return "", nil
	}
}

func running(pid string) bool {
	cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && len(cmdline) > 0
}

// checkLost drops connections under a script: its outcome is not known, it
// is not run again, and what is left of it ends before anything else begins.
func checkLost(t *testing.T, h Host, drop func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "runs")
	pid, done := begun(t, soon(t), h, "echo run >>"+file+"; sleep 300")
	drop()
	err := <-done
	var e *Error
	if !errors.Is(err, ErrConnection) || !errors.As(err, &e) || e.Host != h.Name() || !strings.HasPrefix(err.Error(), h.Name()+" went away while") {
		t.Fatalf("got %v", err)
	}
	if !running(pid) {
		t.Fatal("the script ended by itself, which proves nothing")
	}
	if got := output(t, h, "cat "+file+"; cat /proc/"+pid+"/cmdline 2>/dev/null || true"); got != "run\n" {
		t.Errorf("the next script finds %q", got)
	}
	if running(pid) {
		t.Error("the lost script goes on beside the next one")
	}
}

func TestLostScriptIsEndedAndNotRepeated(t *testing.T) {
	s := newServer(t)
	checkLost(t, mustDial(t, s.start(), options(t)), s.dropAll)
}

func TestLostScriptOfRealSSHD(t *testing.T) {
	s := newSSHD(t)
	for _, target := range []Target{s.target, s.as("withpw")} {
		checkLost(t, mustDial(t, target, options(t)), s.dropAll)
	}
}

func TestIdleConnectionThatBrokeIsMadeAgain(t *testing.T) {
	s := newServer(t)
	h := mustDial(t, s.start(), options(t))
	for n := 1; n <= 3; n++ {
		if got := output(t, h, "echo fine"); got != "fine\n" || s.count() != n {
			t.Errorf("got %q over %d connections, want %d", got, s.count(), n)
		}
		s.dropAll()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := h.DialContext(soon(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestConnectionThatBreaksBeforeAScriptIsMadeAgain(t *testing.T) {
	s := newServer(t)
	var broke atomic.Bool
	s.onExec = func(conn, n int, ch ssh.Channel, req *ssh.Request) bool {
		if n != 2 || broke.Swap(true) {
			return false
		}
		s.dropAll()
		return true
	}
	h := mustDial(t, s.start(), options(t))
	file := filepath.Join(t.TempDir(), "runs")
	output(t, h, "echo run >>"+file)
	if got, _ := os.ReadFile(file); string(got) != "run\n" || s.count() != 2 {
		t.Errorf("it ran %q over %d connections", got, s.count())
	}
	// One that always breaks is given up.
	s.onExec = func(_, _ int, ch ssh.Channel, _ *ssh.Request) bool { s.dropAll(); return true }
	if err := h.Run(soon(t), Command{}); !errors.Is(err, ErrConnection) || !strings.HasPrefix(err.Error(), "10.0.0.7 ") {
		t.Errorf("got %v", err)
	}
}

// throttled is a connection that can be cut after some bytes from the
// client, or fall silent.
type throttled struct {
	net.Conn
	left   atomic.Int64
	silent chan struct{} // closed: nothing comes and goes any more
	over   chan struct{}
	once   sync.Once
}

func (c *throttled) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.silent:
		<-c.over
		return 0, net.ErrClosed
	default:
	}
	if c.left.Add(-int64(n)) < 0 {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *throttled) Write(p []byte) (int, error) {
	select {
	case <-c.silent:
		<-c.over
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(p)
	}
}

func (c *throttled) Close() error {
	c.once.Do(func() { close(c.over) })
	return c.Conn.Close()
}

func throttle(c net.Conn, left int64, silent chan struct{}) net.Conn {
	th := &throttled{Conn: c, silent: silent, over: make(chan struct{})}
	th.left.Store(left)
	return th
}

func TestUploadGoesOnWhereTheConnectionBroke(t *testing.T) {
	s := newServer(t)
	const each, size = 3 << 20, 10<<20 + 1
	var received atomic.Int64
	s.onConn = func(n int, c net.Conn) net.Conn {
		received.Add(each)
		return throttle(c, each, make(chan struct{}))
	}
	h := mustDial(t, s.start(), options(t))
	file := filepath.Join(t.TempDir(), "bundle")
	var sent int64
	if err := h.Upload(soon(t), file, 0o600, pattern{}, size, func(n int64) { sent += n }); err != nil {
		t.Fatal(err)
	}
	checkPattern(t, file, size)
	// No byte is sent twice but those that were on the way.
	if sent != size || received.Load() > 2*size {
		t.Errorf("reported %d of %d bytes; up to %d were sent", sent, int64(size), received.Load())
	}
}

func TestUploadThatGetsNowhereIsGivenUp(t *testing.T) {
	s := newServer(t)
	s.onConn = func(n int, c net.Conn) net.Conn { return throttle(c, 40<<10, make(chan struct{})) }
	h := mustDial(t, s.start(), options(t))
	file := filepath.Join(t.TempDir(), "bundle")
	err := h.Upload(soon(t), file, 0o600, pattern{}, 1<<20, nil)
	if !errors.Is(err, ErrConnection) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("half a file stands under its name")
	}
}

func TestSilentConnectionIsGivenUp(t *testing.T) {
	s := newServer(t)
	silent := make(chan struct{})
	s.onConn = func(n int, c net.Conn) net.Conn {
		if n > 1 {
			return c
		}
		return throttle(c, 1<<40, silent)
	}
	o := options(t)
	o.KeepAlive = 300 * time.Millisecond
	h := mustDial(t, s.start(), o)
	pid, done := begun(t, soon(t), h, "sleep 300")
	close(silent)
	if err := <-done; !errors.Is(err, ErrConnection) {
		t.Errorf("got %v", err)
	}
	output(t, h, "true")
	if running(pid) {
		t.Error("the lost script goes on")
	}
}

func TestStopOverASilentConnectionIsBounded(t *testing.T) {
	s := newServer(t)
	silent := make(chan struct{})
	s.onConn = func(n int, c net.Conn) net.Conn {
		if n > 1 {
			return c
		}
		return throttle(c, 1<<40, silent)
	}
	o := options(t)
	o.KeepAlive = -1
	h := mustDial(t, s.start(), o)
	h.(*remote).patience = 2 * time.Second // the second stop has to be over by then
	ctx, cancel := context.WithCancel(soon(t))
	pid, done := begun(t, ctx, h, "sleep 300")
	close(silent)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	output(t, h, "true")
	if running(pid) {
		t.Error("the stopped script goes on")
	}
}

// Nothing begins beside a lost script that does not end.
func TestLostScriptThatDoesNotEndIsNotJoined(t *testing.T) {
	s := newServer(t)
	silent := make(chan struct{})
	s.onConn = func(n int, c net.Conn) net.Conn {
		if n > 1 {
			return c
		}
		return throttle(c, 1<<40, silent)
	}
	o := options(t)
	o.KeepAlive = 300 * time.Millisecond
	h := mustDial(t, s.start(), o)
	pid, done := begun(t, soon(t), h, "sleep 300")
	close(silent)
	if err := <-done; !errors.Is(err, ErrConnection) {
		t.Errorf("got %v", err)
	}
	r := h.(*remote)
	grace := r.o.Grace
	r.patience, r.o.Grace = time.Nanosecond, 0 // so that no stop is in time
	mark := filepath.Join(t.TempDir(), "mark")
	if err := h.Run(soon(t), Command{Script: "touch " + mark}); !errors.Is(err, ErrConnection) || !strings.Contains(err.Error(), "is still busy with what is left of an earlier script") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a script ran beside the lost one")
	}
	r.patience, r.o.Grace = 0, grace
	output(t, h, "true")
	if running(pid) {
		t.Error("the lost script goes on")
	}
}

func TestHostsThatCannotBeReachedSayWhy(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	talker := func(say string, hold bool) int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, say)
				if !hold {
					// Read what came, so that the end is no reset.
					_, _ = io.CopyN(io.Discard, c, 1)
					_ = c.Close()
				}
			}
		}()
		return l.Addr().(*net.TCPAddr).Port
	}
	for _, test := range []struct {
		name    string
		target  Target
		timeout time.Duration
		want    string
	}{
		{"no sshd", Target{Address: "127.0.0.1", Port: closed.Addr().(*net.TCPAddr).Port}, 0, "h refuses connections to its SSH port"},
		{"closes at once", Target{Address: "127.0.0.1", Port: talker("", false)}, 0, "h closes the connection at 127.0.0.1:"},
		{"web server", Target{Address: "127.0.0.1", Port: talker("HTTP/1.1 400 Bad Request\r\n\r\n", false)}, 0, "h "},
		{"says nothing", Target{Address: "127.0.0.1", Port: talker("", true)}, 400 * time.Millisecond, "h answers at 127.0.0.1:"},
		{"old protocol", Target{Address: "127.0.0.1", Port: talker("SSH-1.5-old\r\n", true)}, 200 * time.Millisecond, "h "},
		{"no such name", Target{Address: "no-such-host.invalid"}, 0, "h is a name that cannot be looked up"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(t)
			o.ConnectTimeout = test.timeout
			o.Dialer = &fakeDNS{}
			tries := 0
			o.OnRetry = func(host string, attempt int, reason error) {
				if tries++; host != "h" || attempt != tries || !errors.Is(reason, ErrConnection) {
					t.Errorf("told about %s, try %d: %v", host, attempt, reason)
				}
			}
			test.target.Name, test.target.Password = "h", secret
			_, err := Dial(soon(t), test.target, o)
			var e *Error
			if !errors.Is(err, ErrConnection) || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), test.want) || e.Hint() == "" {
				t.Errorf("got %q, hint %q", err, e.Hint())
			}
			if strings.Count(err.Error(), "\n") != 0 || tries != DefaultRetries {
				t.Errorf("after %d retries: %q", tries, err)
			}
		})
	}
}

// fakeDNS knows no names, without asking anybody.
type fakeDNS struct{}

func (fakeDNS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	if net.ParseIP(host) == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func TestConnectIsTriedAgain(t *testing.T) {
	s := newServer(t)
	s.onConn = func(n int, c net.Conn) net.Conn {
		if n < 3 {
			_ = c.Close()
			return nil
		}
		return c
	}
	if got := output(t, mustDial(t, s.start(), options(t)), "echo in"); got != "in\n" {
		t.Errorf("got %q", got)
	}
	if s.count() != 3 {
		t.Errorf("%d connections", s.count())
	}
}

func TestConnectStopsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			cancel(why)
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	_, err = Dial(ctx, Target{Name: "h", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Password: secret}, options(t))
	if !errors.Is(err, why) || err.Error() != "h was given up: enough" {
		t.Errorf("got %v", err)
	}
	// Between tries, too.
	o := options(t)
	ctx, cancel = context.WithCancelCause(t.Context())
	o.Backoff = func(int) time.Duration { cancel(why); return time.Hour }
	_ = l.Close()
	_, err = Dial(ctx, Target{Name: "h", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Password: secret}, o)
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	s := newServer(t)
	h := mustDial(t, s.start(), options(t))
	pid, done := begun(t, soon(t), h, "exec sleep 300")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrConnection) {
		t.Errorf("got %v", err)
	}
	if err := h.Run(soon(t), Command{}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	output(t, Local("x", options(t)), "kill "+pid)
}

func TestServersThatMisbehave(t *testing.T) {
	status := func(ch ssh.Channel, code uint32) {
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ C uint32 }{code}))
	}
	for _, test := range []struct {
		name  string
		exec  func(s *server, ch ssh.Channel, req *ssh.Request) bool
		class error
		want  string
	}{
		{"refuses commands", func(_ *server, _ ssh.Channel, req *ssh.Request) bool {
			_ = req.Reply(false, nil)
			return true
		}, ErrShell, "10.0.0.7 refuses to run commands over SSH"},
		{"kills the session", func(_ *server, ch ssh.Channel, req *ssh.Request) bool {
			_ = req.Reply(true, nil)
			return true
		}, ErrConnection, "10.0.0.7 closed the connection before a script could start"},
		{"has no bash", func(_ *server, ch ssh.Channel, req *ssh.Request) bool {
			_ = req.Reply(true, nil)
			_, _ = io.WriteString(ch.Stderr(), "sh: 1: bash: not found\n")
			status(ch, 127)
			return true
		}, ErrShell, "10.0.0.7 has no bash: sh: 1: bash: not found"},
		{"lets nobody in", func(_ *server, ch ssh.Channel, req *ssh.Request) bool {
			_ = req.Reply(true, nil)
			_, _ = io.WriteString(ch, "This account is currently not available.\n")
			status(ch, 1)
			return true
		}, ErrShell, "10.0.0.7 starts no shell (code 1): This account is currently not available."},
		{"prints without end", func(_ *server, ch ssh.Channel, req *ssh.Request) bool {
			_ = req.Reply(true, nil)
			_, _ = io.Copy(ch, zeros{})
			return true
		}, ErrConnection, "10.0.0.7 closed the connection before a script could start"},
		{"bad status", func(_ *server, ch ssh.Channel, req *ssh.Request) bool {
			_ = req.Reply(true, nil)
			_, _ = ch.SendRequest("exit-status", true, []byte{1})
			_, _ = ch.SendRequest("exit-signal", true, []byte{1})
			return true
		}, ErrConnection, "10.0.0.7 closed the connection before a script could start"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.onExec = func(_, _ int, ch ssh.Channel, req *ssh.Request) bool { return test.exec(s, ch, req) }
			_, err := Dial(soon(t), s.start(), options(t))
			var e *Error
			if !errors.Is(err, test.class) || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), test.want) || e.Hint() == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSessionKilledUnderAScript(t *testing.T) {
	s := newServer(t)
	kill := make(chan struct{})
	s.onExec = func(_, n int, ch ssh.Channel, req *ssh.Request) bool {
		if n != 2 {
			return false
		}
		go func() {
			<-kill
			_ = ch.Close()
		}()
		return false
	}
	h := mustDial(t, s.start(), options(t))
	pid, done := begun(t, soon(t), h, "sleep 300")
	close(kill)
	if err := <-done; !errors.Is(err, ErrConnection) {
		t.Errorf("got %v", err)
	}
	output(t, h, "true")
	if running(pid) || s.count() != 1 {
		t.Errorf("the lost script runs: %v; %d connections", running(pid), s.count())
	}
}

func TestScriptEndedByASignal(t *testing.T) {
	s := newServer(t)
	s.onExec = func(_, n int, ch ssh.Channel, req *ssh.Request) bool {
		if n == 2 {
			// As if the login shell had been killed.
			_ = req.Reply(true, nil)
			var m struct{ Line string }
			_ = ssh.Unmarshal(req.Payload, &m)
			s.run(ch, "exec "+m.Line)
			return true
		}
		return false
	}
	h := mustDial(t, s.start(), options(t))
	var exit *ExitError
	err := h.Run(soon(t), Command{Label: "it", Script: "kill -KILL $$"})
	if !errors.As(err, &exit) || exit.Signal != "KILL" || exit.Code != 137 || err.Error() != "it on 10.0.0.7 was ended by the signal KILL" {
		t.Errorf("got %v", err)
	}
}

func TestFewSessionsAreEnough(t *testing.T) {
	servers := map[string]func(t *testing.T) Target{
		"ours": func(t *testing.T) Target {
			s := newServer(t)
			s.maxSessions, s.forward = 1, false
			return s.start()
		},
		"real": func(t *testing.T) Target { return newSSHD(t, "MaxSessions 1", "AllowTcpForwarding no").target },
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			h := mustDial(t, start(t), options(t))
			ctx, cancel := context.WithCancel(soon(t))
			pid, done := begun(t, ctx, h, "sleep 300")
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func() {
					if got := output(t, h, fmt.Sprintf("echo %d", i)); got != fmt.Sprintf("%d\n", i) {
						t.Errorf("got %q", got)
					}
				})
			}
			wg.Wait()
			exerciseDial(t, h)
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if running(pid) {
				t.Error("the stopped script goes on")
			}
		})
	}
}

func TestLoginThatPrintsBreaksNothing(t *testing.T) {
	s := newServer(t)
	s.junk = strings.Repeat("Authorised use only!\n", 1000) + "no end of line"
	h := mustDial(t, s.start(), options(t))
	exerciseFiles(t, h)
	var errs bytes.Buffer
	if err := h.Run(soon(t), Command{Script: "echo x >&2", Stderr: &errs}); err != nil || errs.String() != "x\n" {
		t.Errorf("got %q, %v", errs.String(), err)
	}
}

func TestWriterThatFailsIsSaid(t *testing.T) {
	needRoot(t)
	h := Local("h", options(t))
	full := errors.New("full")
	err := h.Run(soon(t), Command{Script: "seq 100000", Stdout: failing{full}})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "h ") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("broken")
	err = h.Run(soon(t), Command{Script: "cat", Stdin: io.MultiReader(strings.NewReader("x"), failing{broken})})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Read([]byte) (int, error)  { return 0, f.err }

// A script whose input never ends, and never comes, still ends.
func TestInputThatNeverComesHoldsNothingUp(t *testing.T) {
	needRoot(t)
	r, w := io.Pipe()
	defer w.Close()
	if err := Local("h", options(t)).Run(soon(t), Command{Script: "true", Stdin: r}); err != nil {
		t.Error(err)
	}
}

// What a script leaves behind may speak for ever.
func TestTalkingServiceHoldsNothingUp(t *testing.T) {
	needRoot(t)
	o := options(t)
	o.Linger = 50 * time.Millisecond
	h := Local("h", o)
	var out bytes.Buffer
	err := h.Run(soon(t), Command{Script: "(for i in $(seq 300); do echo x; sleep 0.01; done) & echo $!", Stdout: &out})
	if err != nil {
		t.Error(err)
	}
	if len(out.String()) > 2*200 {
		t.Error("it was listened to until it fell silent")
	}
}

// Where the stopping script itself cannot run, the group is killed anyway.
func TestNothingOfAStoppedScriptIsLeftHere(t *testing.T) {
	needRoot(t)
	h := Local("h", options(t))
	h.(*local).patience = time.Nanosecond
	h.(*local).o.Grace = 0
	ctx, cancel := context.WithCancel(soon(t))
	pid, done := begun(t, ctx, h, "trap '' TERM; sleep 300")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// A killed process is gone only when the kernel comes to it.
	for deadline := time.Now().Add(10 * time.Second); running(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stopped script goes on")
		}
	}
}

func TestAddressesThatNoHostCanConnectTo(t *testing.T) {
	s := newServer(t)
	h := mustDial(t, s.start(), options(t))
	for _, a := range [][2]string{{"tcp", "10.0.0.1"}, {"tcp", "10.0.0.1:http"}, {"tcp", "10.0.0.1:70000"}, {"udp", "10.0.0.1:53"}, {"unix", "/run/x"}} {
		if _, err := h.DialContext(soon(t), a[0], a[1]); !errors.Is(err, ErrTarget) {
			t.Errorf("%v gives %v", a, err)
		}
	}
	if s.count() != 1 {
		t.Error("the connection was given up for it")
	}
}

func TestDialStopsWithItsContext(t *testing.T) {
	for _, forward := range []bool{true, false} {
		s := newServer(t)
		s.forward = forward
		h := mustDial(t, s.start(), options(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.DialContext(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Local("h", options(t)).DialContext(soon(t), "tcp", "127.0.0.1:0"); !errors.Is(err, ErrTarget) {
		t.Errorf("got %v", err)
	}
}
