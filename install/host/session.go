package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// open starts a command line over a connection. Where the server opens no
// further session on it (MaxSessions), a connection is made for this one.
func (r *remote) open(ctx context.Context, l *link, line string) (*process, error) {
	p, err := r.session(ctx, l, line)
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
		return p, err
	}
	extra, loginErr := r.login(ctx)
	if loginErr != nil {
		return nil, loginErr
	}
	if p, err = r.session(ctx, extra, line); err != nil {
		_ = extra.client.Close()
		return nil, err
	}
	drop := p.close
	p.close = sync.OnceFunc(func() {
		drop()
		_ = extra.client.Close()
	})
	return p, nil
}

// session starts a command line over a connection.
func (r *remote) session(ctx context.Context, l *link, line string) (*process, error) {
	type answer struct {
		ch   ssh.Channel
		reqs <-chan *ssh.Request
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		ch, reqs, err := l.client.OpenChannel("session", nil)
		got <- answer{ch, reqs, err}
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		go func() {
			if late := <-got; late.err == nil {
				go ssh.DiscardRequests(late.reqs)
				_ = late.ch.Close()
			}
		}()
		return nil, r.interrupted(ctx)
	}
	if a.err != nil {
		return nil, r.noSession(l, a.err)
	}
	p := &process{
		stdin: stdinOf{a.ch}, stdout: a.ch, stderr: a.ch.Stderr(),
		done:  make(chan struct{}),
		close: sync.OnceFunc(func() { _ = a.ch.Close() }),
		beside: func(ctx context.Context, line string) (*process, error) {
			return r.open(ctx, l, line)
		},
		sever: func() { _ = l.client.Close() },
	}
	go func() {
		p.end = watch(a.reqs)
		close(p.done)
		for req := range a.reqs {
			reply(req)
		}
	}()
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	ok, err := a.ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{line}))
	if err == nil && ok {
		return p, nil
	}
	p.close()
	<-p.done
	switch {
	case ctx.Err() != nil:
		return nil, r.interrupted(ctx)
	case err != nil:
		return nil, r.noSession(l, err)
	}
	return nil, &Error{Host: r.name, Class: ErrShell, Reason: "refuses to run commands over SSH",
		Next: "see that the user may run commands there (ForceCommand, sftp-only accounts)"}
}

// watch waits until a session ended or was lost.
func watch(reqs <-chan *ssh.Request) end {
	for req := range reqs {
		reply(req)
		switch req.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if ssh.Unmarshal(req.Payload, &m) == nil {
				return end{code: int(m.Status)}
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}
			if ssh.Unmarshal(req.Payload, &m) == nil {
				return end{code: 128 + int(signals[m.Signal]), signal: printable(m.Signal)}
			}
		}
	}
	return end{lost: errNoStatus}
}

// errNoStatus is a session that was closed before its end was told.
var errNoStatus = errors.New("the session was closed without a result")

func reply(req *ssh.Request) {
	if req.WantReply {
		_ = req.Reply(false, nil)
	}
}

// signals are the numbers of the signals that SSH names.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}

// stdinOf ends the input of a channel without ending the channel.
type stdinOf struct{ ssh.Channel }

func (s stdinOf) Close() error { return s.CloseWrite() }

// noSession says why a session was not opened.
func (r *remote) noSession(l *link, cause error) error {
	if refused, ok := errors.AsType[*ssh.OpenChannelError](cause); ok {
		return &Error{Host: r.name, Class: ErrShell, Err: cause,
			Reason: fmt.Sprintf("opens no further session: %s", printable(refused.Message)),
			Next:   "raise MaxSessions in the host's sshd_config"}
	}
	if cause == nil {
		cause = io.EOF
	}
	// Whatever it is, this connection is of no use any more.
	_ = l.client.Close()
	<-l.dead
	return &Error{Host: r.name, Class: ErrConnection, Err: cause, Reason: "closed the connection",
		Next: "see that the host is up, then run the same command again"}
}
