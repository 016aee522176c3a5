package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// DialContext implements [Host]. Where the SSH server forwards no
// connections, bash makes them.
func (r *remote) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := checkDial(network, address); err != nil {
		return nil, r.noTarget(address, err)
	}
	for again := false; ; again = true {
		l, err := r.connected(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := l.client.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		refused, ok := errors.AsType[*ssh.OpenChannelError](err)
		switch {
		case ctx.Err() != nil:
			return nil, r.interrupted(ctx)
		case ok && refused.Reason == ssh.ConnectionFailed:
			return nil, r.noTarget(address, errors.New(refused.Message))
		case ok && network != "unix":
			return r.dialByShell(ctx, address)
		case ok:
			return nil, r.noTarget(address, err)
		}
		if err = r.noSession(l, err); again {
			return nil, err
		}
	}
}

// checkDial refuses what no host can connect to.
func checkDial(network, address string) error {
	switch network {
	case "tcp", "tcp4", "tcp6":
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("%q is no port", port)
		}
	case "unix":
	default:
		return net.UnknownNetworkError(network)
	}
	return nil
}

// noTarget says that the host does not reach an address.
func (m *machine) noTarget(address string, cause error) error {
	return &Error{
		Host: m.name, Class: ErrTarget, Err: cause,
		Reason: fmt.Sprintf("cannot connect to %s: %s", address, printable(m.o.Redactor.String(cause.Error()))),
		Next:   "see that the service runs, and what a firewall on that host allows",
	}
}

// dialScript joins its streams with a connection, after a line that tells
// that it is there.
const dialScript = `exec 3<>"/dev/tcp/$H/$P" 4<&0 || exit 1
echo
cat <&4 >&3 & c=$!
cat <&3
kill $c 2>/dev/null
exit 0
`

// shellConn is a connection that bash made. It has no deadlines.
type shellConn struct {
	*io.PipeReader // what came
	in             *io.PipeWriter
	cancel         context.CancelFunc
	done           chan struct{}
	addr           shellAddr
}

func (r *remote) dialByShell(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, r.noTarget(address, err)
	}
	// The connection outlives the context of the dial.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	outR, outW := io.Pipe()
	inR, inW := io.Pipe()
	c := &shellConn{PipeReader: outR, in: inW, cancel: cancel, done: make(chan struct{}), addr: shellAddr(address)}
	there := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(c.done)
		err := r.run(own, job{
			Command: Command{
				Label: "connecting to " + address, Script: dialScript,
				Env:   map[string]string{"H": host, "P": port},
				Stdin: abandoned{inR}, Stdout: &afterLine{w: outW, there: there},
			},
			private: true,
		})
		failed <- err
		_ = inR.CloseWithError(net.ErrClosed)
		if _, ours := errors.AsType[*ExitError](err); ours || err == nil {
			err = io.EOF
		}
		_ = outW.CloseWithError(err)
	}()
	select {
	case <-there:
		if stop() {
			return c, nil
		}
		_ = c.Close()
		return nil, r.interrupted(ctx)
	case err := <-failed:
		stop()
		cancel()
		if exit, ok := errors.AsType[*ExitError](err); ok {
			err = r.noTarget(address, errors.New(exit.LastLine()))
		}
		if ctx.Err() != nil {
			err = r.interrupted(ctx)
		}
		return nil, err
	}
}

// Write implements [net.Conn].
func (c *shellConn) Write(p []byte) (int, error) { return c.in.Write(p) }

// Close implements [net.Conn]. It waits until nothing of the connection is
// left on the host.
func (c *shellConn) Close() error {
	c.cancel()
	_ = c.PipeReader.CloseWithError(net.ErrClosed)
	_ = c.in.CloseWithError(io.EOF)
	<-c.done
	return nil
}

// LocalAddr implements [net.Conn].
func (c *shellConn) LocalAddr() net.Addr { return shellAddr("") }

// RemoteAddr implements [net.Conn].
func (c *shellConn) RemoteAddr() net.Addr { return c.addr }

var errNoDeadline = errors.New("this connection has no deadlines")

// SetDeadline implements [net.Conn].
func (c *shellConn) SetDeadline(time.Time) error { return errNoDeadline }

// SetReadDeadline implements [net.Conn].
func (c *shellConn) SetReadDeadline(time.Time) error { return errNoDeadline }

// SetWriteDeadline implements [net.Conn].
func (c *shellConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

type shellAddr string

func (shellAddr) Network() string  { return "tcp" }
func (a shellAddr) String() string { return string(a) }

// abandoned is input that is not waited for once its reader is gone.
type abandoned struct{ *io.PipeReader }

func (a abandoned) abandon() { _ = a.PipeReader.Close() }

// Read implements [io.Reader].
func (a abandoned) Read(p []byte) (int, error) {
	n, err := a.PipeReader.Read(p)
	if errors.Is(err, io.ErrClosedPipe) {
		err = errAbandoned
	}
	return n, err
}

// afterLine passes on what comes after the first, empty line.
type afterLine struct {
	w     io.Writer
	there chan struct{}
	once  sync.Once
}

func (a *afterLine) Write(p []byte) (n int, err error) {
	skip := 0
	a.once.Do(func() {
		close(a.there)
		skip = 1
	})
	if n, err = len(p), nil; len(p) > skip {
		_, err = a.w.Write(p[skip:])
	}
	return n, err
}
