package host

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

// IsLocal tells whether addr is this machine: one of the addresses of its
// interfaces, loopback included.
func IsLocal(addr string) bool {
	if strings.EqualFold(addr, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if o, ok := netip.AddrFromSlice(n.IP); ok && o.Unmap() == ip {
			return true
		}
	}
	return false
}

// local is this machine.
type local struct {
	machine
	logErr error

	mu     sync.Mutex
	closed bool
}

// Local is this machine under the name that the user calls it. Without root
// scripts run by sudo, which must not ask for a password.
func Local(name string, o Options) Host {
	l := &local{}
	l.name, l.o = name, o.withDefaults()
	l.log, l.logErr = openLog(o.LogDir, name, l.o.Redactor)
	l.reach = l.here
	l.machine.lost = func(started) {}
	return l
}

// Local implements [Host].
func (l *local) Local() bool { return true }

// Close implements [Host].
func (l *local) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.log.Close()
}

// DialContext implements [Host].
func (l *local) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil && ctx.Err() != nil {
		return nil, l.interrupted(ctx)
	}
	if err != nil {
		return nil, l.noTarget(address, err)
	}
	return c, nil
}

func (l *local) here(context.Context) (opener, root, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, root{}, l.isClosed()
	case l.logErr != nil:
		return nil, root{}, l.noLog(l.logErr)
	}
	return startLocal, root{sudo: os.Geteuid() != 0}, nil
}

// startLocal starts a command line in a session of its own. It sees nothing
// of our environment but the names of who we are.
func startLocal(_ context.Context, line string) (*process, error) {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + scriptPath}
	for _, name := range []string{"HOME", "USER", "LOGNAME"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.SysProcAttr = ownSession()
	var ours, theirs [3]*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			if f != nil {
				_ = f.Close()
			}
		}
	}
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			closeAll(theirs[:])
			return nil, err
		}
		if ours[i], theirs[i] = r, w; i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p := &process{
		stdin: ours[0], stdout: ours[1], stderr: ours[2],
		done: make(chan struct{}), beside: startLocal, sever: func() {},
	}
	var running sync.Mutex // held while the process must not be reaped
	began := make(chan error)
	go func() {
		// The process dies with the thread that started it, so that nothing
		// goes on behind the back of an installer that was killed.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		closeAll(theirs[:])
		began <- err
		if err != nil {
			return
		}
		waitExit(cmd.Process.Pid)
		running.Lock()
		err = cmd.Wait()
		p.end = endOfLocal(cmd, err)
		close(p.done)
		running.Unlock()
	}()
	if err := <-began; err != nil {
		closeAll(ours[:])
		return nil, err
	}
	p.close = sync.OnceFunc(func() {
		running.Lock()
		select {
		case <-p.done:
		default:
			killGroup(cmd.Process.Pid)
		}
		running.Unlock()
		closeAll(ours[:])
	})
	return p, nil
}

func endOfLocal(cmd *exec.Cmd, err error) end {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return end{lost: err}
	}
	if name, number := signalOf(cmd.ProcessState); number != 0 {
		return end{code: 128 + number, signal: name}
	}
	return end{code: cmd.ProcessState.ExitCode()}
}
