package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// remote is a machine behind SSH.
type remote struct {
	machine
	target Target
	addr   string

	// turn is held by who connects; the rest is its.
	turn     chan struct{}
	link     *link
	way      root
	knowsWay bool

	mu     sync.Mutex
	closed bool
	left   []started
	dead   chan struct{} // closed by Close
}

// link is one connection.
type link struct {
	client *ssh.Client
	dead   chan struct{}
	cause  error // why it ended; valid after dead
}

// Dial connects to a host, logs in and becomes root. Later calls of its
// methods connect again where the connection broke.
func Dial(ctx context.Context, t Target, o Options) (Host, error) {
	r, err := newRemote(t, o)
	if err != nil {
		return nil, err
	}
	if _, err := r.connected(ctx); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

func newRemote(t Target, o Options) (*remote, error) {
	r := &remote{
		target: t.withDefaults(),
		turn:   make(chan struct{}, 1),
		dead:   make(chan struct{}),
	}
	r.name, r.o = r.target.Name, o.withDefaults()
	r.addr = net.JoinHostPort(strings.Trim(r.target.Address, "[]"), strconv.Itoa(r.target.Port))
	r.o.Redactor.Add(t.Password, t.KeyPassword, t.SudoPassword)
	log, err := openLog(o.LogDir, r.name, r.o.Redactor)
	if err != nil {
		return nil, r.noLog(err)
	}
	r.log = log
	r.reach = r.reachable
	r.machine.lost = r.leave
	return r, nil
}

// Local implements [Host].
func (r *remote) Local() bool { return false }

// Close implements [Host]. What runs fails with [ErrConnection].
func (r *remote) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.dead)
	r.mu.Unlock()
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.link != nil {
		_ = r.link.client.Close()
		<-r.link.dead
	}
	return r.log.Close()
}

// leave notes a script that may go on without us.
func (r *remote) leave(s started) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = append(r.left, s)
}

func (r *remote) reachable(ctx context.Context) (opener, root, error) {
	l, err := r.connected(ctx)
	if err != nil {
		return nil, root{}, err
	}
	return func(ctx context.Context, line string) (*process, error) {
		return r.open(ctx, l, line)
	}, r.way, nil
}

// connected gives the connection, and makes it first if there is none.
func (r *remote) connected(ctx context.Context) (*link, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, r.interrupted(ctx)
	}
	if r.link != nil && r.link.alive() && !r.hasLeft() {
		return r.link, nil
	}
	// Close ends a connect, too.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-r.dead:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	for attempt := 0; ; attempt++ {
		l, err := r.connect(ctx)
		if err == nil {
			return l, nil
		}
		if ctx.Err() != nil {
			if context.Cause(ctx) == ErrClosed {
				return nil, r.isClosed()
			}
			return nil, r.interrupted(ctx)
		}
		if attempt >= r.o.Retries || errors.Is(err, ErrAuth) || errors.Is(err, ErrHostKey) || errors.Is(err, ErrShell) {
			r.log.note("%v", err)
			return nil, err
		}
		r.log.note("%v; trying again", err)
		r.o.OnRetry(r.name, attempt+1, err)
		timer := time.NewTimer(r.o.Backoff(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// connect makes a connection, finds out how to be root there, and ends what
// an earlier connection left running.
func (r *remote) connect(ctx context.Context) (*link, error) {
	if r.isDone() {
		return nil, r.isClosed()
	}
	l := r.link
	if l == nil || !l.alive() {
		var err error
		if l, err = r.login(ctx); err != nil {
			return nil, err
		}
		r.link = l
	}
	open := func(ctx context.Context, line string) (*process, error) { return r.open(ctx, l, line) }
	if !r.knowsWay {
		way, err := r.findWay(ctx, open)
		if err != nil {
			return nil, err
		}
		r.way, r.knowsWay = way, true
	}
	busy := false
	for _, s := range r.takeLeft() {
		r.log.note("ending what is left of a script")
		if !r.endScript(ctx, open, r.way, s) {
			r.leave(s)
			busy = true
		}
	}
	if !l.alive() {
		return nil, &Error{Host: r.name, Class: ErrConnection, Reason: "closed the connection right after the login",
			Next: "see that the host is up", Err: l.cause}
	}
	if busy {
		return nil, &Error{Host: r.name, Class: ErrConnection, Reason: "is still busy with what is left of an earlier script, which does not end",
			Next: "look what hangs there, a disk or a mount for instance, and run the same command again"}
	}
	return l, nil
}

// findWay tries how to be root: as we are, by sudo, by sudo with a password.
func (r *remote) findWay(ctx context.Context, open opener) (root, error) {
	probe := func(way root) (started, error) {
		var who started
		err := r.run(ctx, job{
			Command: Command{Label: "login"}, private: true,
			open: open, root: way, began: func(s started) { who = s },
		})
		return who, err
	}
	who, err := probe(root{})
	if err != nil || who.uid == 0 {
		return root{}, err
	}
	way := root{sudo: true}
	if who, err = probe(way); errors.Is(err, ErrAuth) && r.target.SudoPassword != "" {
		way.password = r.target.SudoPassword
		who, err = probe(way)
	}
	if err == nil && who.uid != 0 {
		err = &Error{Host: r.name, Class: ErrAuth, Reason: "does not make the user root by sudo",
			Next: "log in as root, or let the user run everything by sudo"}
	}
	return way, err
}

func (r *remote) hasLeft() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.left) > 0
}

func (r *remote) takeLeft() []started {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.left
	r.left = nil
	return list
}

func (r *remote) isDone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// login makes a connection.
func (r *remote) login(ctx context.Context) (*link, error) {
	a, err := r.auth()
	if err != nil {
		return nil, err
	}
	defer a.close()
	pinned, err := keyringAt(r.o.KnownHosts).pinned(r.addr)
	if err != nil {
		return nil, &Error{Host: r.name, Class: ErrHostKey, Err: err,
			Reason: fmt.Sprintf("cannot be checked: the file of host keys is not usable: %s", printable(err.Error())),
			Next:   "mend or remove that file, or name another one"}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, r.o.ConnectTimeout)
	defer cancel()
	conn, err := r.o.Dialer.DialContext(ctx, "tcp", r.addr)
	if err != nil {
		if parent.Err() != nil {
			return nil, r.interrupted(parent)
		}
		return nil, r.noDial(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	var offered string
	client, chans, reqs, err := ssh.NewClientConn(conn, r.addr, &ssh.ClientConfig{
		User: r.target.User,
		Auth: a.methods,
		HostKeyCallback: func(addr string, remote net.Addr, key ssh.PublicKey) error {
			offered = key.Type()
			return r.verify(addr, remote, key)
		},
		HostKeyAlgorithms: keyAlgorithms(pinned),
		ClientVersion:     "SSH-2.0-bundle",
	})
	if !stop() || err != nil {
		_ = conn.Close()
		switch {
		case parent.Err() != nil:
			return nil, r.interrupted(parent)
		case ctx.Err() != nil:
			err = ctx.Err()
		}
		return nil, r.noLogin(err, a, offered)
	}
	l := &link{
		client: ssh.NewClient(client, chans, reqs),
		dead:   make(chan struct{}),
	}
	go func() {
		l.cause = l.client.Wait()
		close(l.dead)
	}()
	if r.o.KeepAlive > 0 {
		go l.keepAlive(r.o.KeepAlive)
	}
	r.log.note("connected to %s as %s", r.addr, r.target.User)
	return l, nil
}

// keepAlive asks for signs of life and ends the connection when three are
// owed.
func (l *link) keepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.dead:
			return
		}
		answered := make(chan struct{})
		go func() {
			_, _, _ = l.client.SendRequest("keepalive@openssh.com", true, nil)
			close(answered)
		}()
		limit := time.NewTimer(3 * every)
		select {
		case <-answered:
		case <-l.dead:
		case <-limit.C:
			_ = l.client.Close()
		}
		limit.Stop()
	}
}

// noDial says why there is no connection.
func (r *remote) noDial(err error) error {
	e := &Error{Host: r.name, Class: ErrConnection, Err: err, Next: "see that the host is up and its address and SSH port are right"}
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = fmt.Sprintf("refuses connections to its SSH port %d", r.target.Port)
		e.Next = "see that sshd runs there and that the port is right"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = fmt.Sprintf("does not answer at %s within %s", r.addr, r.o.ConnectTimeout)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		e.Reason = fmt.Sprintf("cannot be reached: there is no way to %s", r.addr)
	case errors.As(err, &dns):
		e.Reason = "is a name that cannot be looked up"
		e.Next = "use the IP address"
	default:
		e.Reason = fmt.Sprintf("cannot be connected to at %s: %s", r.addr, printable(err.Error()))
	}
	return e
}

// noLogin says why a connection did not become a login.
func (r *remote) noLogin(err error, a *auth, offered string) error {
	if ours, ok := errors.AsType[*Error](err); ok {
		return ours
	}
	said := err.Error()
	e := &Error{Host: r.name, Class: ErrConnection, Err: err}
	switch {
	case strings.Contains(said, "unable to authenticate"), strings.Contains(said, "Too many authentication failures"):
		e.Class = ErrAuth
		e.Reason = fmt.Sprintf("refuses the login of user %s with %s", r.target.User, strings.Join(a.tried, " and "))
		e.Next = "check the user, the password and the key"
		if r.target.Password != "" && !strings.Contains(said, "password") && !strings.Contains(said, "keyboard-interactive") {
			e.Reason += ", and takes no passwords at all"
			e.Next = "use a key, or allow passwords (PasswordAuthentication, PermitRootLogin) in the host's sshd_config"
		}
		if len(a.missing) > 0 {
			e.Reason += "; " + strings.Join(a.missing, "; ")
		}
	case strings.Contains(said, "no common algorithm for host key"):
		e.Class = ErrHostKey
		e.Reason = "shows no host key of a kind that is safe to use"
		e.Next = "make an ed25519 key on the host (ssh-keygen -A)"
	case errors.Is(err, context.DeadlineExceeded):
		e.Reason = fmt.Sprintf("answers at %s, but not as an SSH server within %s", r.addr, r.o.ConnectTimeout)
		e.Next = "see that sshd runs on that port and is not overloaded"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		e.Reason = fmt.Sprintf("closes the connection at %s before the login", r.addr)
		e.Next = "see that the port is that of sshd and that it lets this machine in (MaxStartups, hosts.deny, a firewall)"
	default:
		e.Reason = fmt.Sprintf("does not speak SSH with us at %s: %s", r.addr, printable(strings.TrimPrefix(said, "ssh: handshake failed: ")))
		e.Next = "see that the port is that of sshd"
	}
	return e
}

func (m *machine) isClosed() error {
	return &Error{Host: m.name, Class: ErrClosed, Reason: "was closed already"}
}

func (m *machine) noLog(err error) error {
	return fmt.Errorf("the log of %s cannot be written: %w", m.name, err)
}
