package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// startTimeout bounds how long a shell may take to start: sudo asks name
// services, and those may be slow. settle is how long the result of one that
// did not start may take. endTimeout bounds stopping a script.
const (
	startTimeout = 60 * time.Second
	settle       = 10 * time.Second
	endTimeout   = 15 * time.Second
)

// forever is longer than any host stays silent without being given up.
const forever = 24 * time.Hour

// process is one started command line, here or on another machine.
type process struct {
	stdin          io.WriteCloser
	stdout, stderr io.Reader
	// done is closed when it ended or was lost; end is valid then.
	done chan struct{}
	end  end
	// beside starts another command line on the same connection, whatever
	// else runs there.
	beside opener
	// sever ends the whole connection, which may hang.
	sever func()
	// close drops it: its streams end, and one that is here is killed.
	close func()
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end is how a process ended.
type end struct {
	code   int
	signal string
	lost   error // the connection went away before it ended
}

// opener starts a command line.
type opener func(ctx context.Context, line string) (*process, error)

// machine is what this one and others have in common: all work is a script.
type machine struct {
	name string
	o    Options
	log  *hostLog
	// reach connects, if that is needed, and says how to start command lines
	// and how to become root there.
	reach func(ctx context.Context) (opener, root, error)
	// patience replaces endTimeout.
	patience time.Duration
	// lost is told of scripts that may go on without us.
	lost func(started)
}

// job is a script with what only we ask for.
type job struct {
	Command
	// private standard output is logged nowhere; the script leaves nothing
	// behind.
	private bool
	// open and root replace machine.reach where open is set.
	open opener
	root root
	// began is told who the script is.
	began func(started)
}

// Name implements [Host].
func (m *machine) Name() string { return m.name }

// Run implements [Host].
func (m *machine) Run(ctx context.Context, c Command) error { return m.run(ctx, job{Command: c}) }

func (m *machine) run(ctx context.Context, j job) (err error) {
	payload, err := j.payload()
	if err != nil {
		return fmt.Errorf("a script for %s cannot be run: %w", m.name, err)
	}
	log := m.log.begin(j.Label)
	defer func() { log.end(err) }()
	if ctx.Err() != nil {
		return m.stopped(ctx, j)
	}
	s, err := m.begin(ctx, &j)
	if err != nil {
		return err
	}
	p := s.process
	defer p.close()
	if j.began != nil {
		j.began(s.who)
	}
	stdin := feed(p.stdin, payload, j.Stdin)
	stdout := newPump(s.out[0], j.Stdout, m.o.Redactor, log.stream("out"), j.private)
	stderr := newPump(s.out[1], j.Stderr, m.o.Redactor, log.stream("err"), false)

	select {
	case <-p.done:
		linger := m.o.Linger
		if j.private {
			linger = forever
		}
		if p.end.lost == nil {
			drain(ctx, linger, stdout, stderr)
		}
	case <-ctx.Done():
	}
	// What ended before it could be stopped has a result.
	cancelled := ctx.Err() != nil && !(p.ended() && stdout.idle(forever) && stderr.idle(forever))
	if cancelled && !m.endScript(context.WithoutCancel(ctx), p.beside, j.root, s.who) {
		m.lost(s.who)
		p.sever()
	}
	p.close()
	stdin.stop(m.o.Grace)
	stdout.wait()
	stderr.wait()
	<-p.done
	switch {
	case cancelled:
		return m.stopped(ctx, j)
	case p.end.lost != nil:
		m.lost(s.who)
		return m.gone(p.end.lost)
	case stdin.err() != nil:
		return fmt.Errorf("a script on %s did not get all of its input: %w", m.name, stdin.err())
	case p.end.code != 0 || p.end.signal != "":
		return &ExitError{
			Host: m.name, Label: m.o.Redactor.String(j.Label), Code: p.end.code, Signal: p.end.signal,
			Stdout: stdout.last(), Stderr: stderr.last(), Log: m.log.name(),
		}
	}
	if err := errors.Join(stdout.err, stderr.err); err != nil {
		return fmt.Errorf("the output of a script on %s was not taken: %w", m.name, err)
	}
	return nil
}

// session is a process whose boot is ready for a script.
type session struct {
	*process
	who started
	out [2]*bufio.Reader
}

// begin starts boot and reads its marks. Until it returns, nothing of the
// script is on the way, so a connection that turns out to be dead is made
// once more.
func (m *machine) begin(ctx context.Context, j *job) (*session, error) {
	if j.open != nil {
		return m.tryBegin(ctx, j.open, j.root)
	}
	for again := false; ; again = true {
		open, way, err := m.reach(ctx)
		if err != nil {
			return nil, err
		}
		j.root = way
		s, err := m.tryBegin(ctx, open, way)
		if err == nil || again || ctx.Err() != nil || !errors.Is(err, ErrConnection) {
			return s, err
		}
	}
}

func (m *machine) tryBegin(ctx context.Context, open opener, way root) (*session, error) {
	mark := newMark()
	p, err := open(ctx, way.line(mark))
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, p.close)()
	timer := time.AfterFunc(startTimeout, p.close)
	defer timer.Stop()
	stderr := p.stderr
	if way.sudo && way.password != "" {
		go func() { _, _ = io.WriteString(p.stdin, way.password.Reveal()+"\n") }()
		// Asked again it was wrong, and without an answer it counts once.
		stderr = &listener{r: p.stderr, text: question(mark), again: func() { _ = p.stdin.Close() }}
	}
	s := &session{process: p}
	var wg sync.WaitGroup
	var junk [2]string
	var errs [2]error
	for i, r := range []io.Reader{p.stdout, stderr} {
		s.out[i] = bufio.NewReaderSize(r, 64<<10)
		wg.Go(func() {
			var who started
			who, junk[i], errs[i] = readMark(s.out[i], mark)
			if i == 0 {
				s.who = who
			}
			if errors.Is(errs[i], errEndless) {
				p.close()
			}
		})
	}
	wg.Wait()
	if errors.Join(errs[:]...) == nil {
		return s, nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	case <-time.After(settle):
	}
	p.close()
	<-p.done
	if ctx.Err() != nil {
		return nil, m.interrupted(ctx)
	}
	said := strings.ReplaceAll(junk[0]+"\n"+junk[1], question(mark), "")
	return nil, m.notStarted(p.end, way, said)
}

// endScript ends a script that runs in the process beside which open starts
// others. It tells whether that is certain.
func (m *machine) endScript(ctx context.Context, open opener, way root, who started) bool {
	ctx, cancel := context.WithTimeout(ctx, m.o.Grace+m.endLimit())
	defer cancel()
	tenths := int(m.o.Grace / (100 * time.Millisecond))
	err := m.run(ctx, job{
		Command: Command{Label: "stop", Script: endOf(who, tenths)},
		private: true, open: open, root: way,
	})
	return err == nil
}

func (m *machine) endLimit() time.Duration {
	if m.patience > 0 {
		return m.patience
	}
	return endTimeout
}

// stopped is the error of a script whose context ended.
func (m *machine) stopped(ctx context.Context, j job) error {
	what := "a script"
	if j.Label != "" {
		what = m.o.Redactor.String(j.Label)
	}
	return fmt.Errorf("%s on %s was stopped: %w", what, m.name, context.Cause(ctx))
}

// interrupted is the error of anything else whose context ended.
func (m *machine) interrupted(ctx context.Context) error {
	return fmt.Errorf("%s was given up: %w", m.name, context.Cause(ctx))
}

func (m *machine) gone(cause error) error {
	return &Error{
		Host: m.name, Class: ErrConnection, Err: cause,
		Reason: "went away while a script ran there, so whether it was done is not known",
		Next:   "see that the host is up, then run the same command again; what is left of the script is ended first",
	}
}

// notStarted says why boot never came to its mark.
func (m *machine) notStarted(e end, way root, junk string) error {
	said := lastLine(m.o.Redactor.String(junk))
	after := func(reason string) string {
		if said == "" {
			return reason
		}
		return reason + ": " + said
	}
	err := &Error{Host: m.name}
	switch {
	case e.lost != nil:
		err.Class, err.Err = ErrConnection, e.lost
		err.Reason = after("closed the connection before a script could start")
		err.Next = "see that the host is up and how many sessions its SSH server allows"
	case way.sudo:
		err.Class = ErrAuth
		err.Reason = after("does not let the user become root by sudo")
		err.Next = "log in as root, give the right password, or let the user run sudo without one"
		if strings.Contains(junk, "tty") {
			err.Next = "remove 'requiretty' from /etc/sudoers on the host, or log in as root"
		}
	case e.code == 127:
		err.Class = ErrShell
		err.Reason = after("has no bash")
		err.Next = "install bash on the host"
	default:
		err.Class = ErrShell
		err.Reason = after(fmt.Sprintf("starts no shell (code %d)", e.code))
		err.Next = "see that the user has a login shell and that its start-up files do not end it"
	}
	return err
}
