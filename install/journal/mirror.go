package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Mirror is a copy of a journal on another machine.
type Mirror interface {
	// Name is what the user calls the machine.
	Name() string
	// Read gives the whole journal that is there. It errs with fs.ErrNotExist
	// where there is none.
	Read(ctx context.Context) ([]byte, error)
	// Write puts data behind the first off bytes, on disk, and drops what was
	// there. before is the SHA-256 of those first bytes, in hex; where they
	// are others the error wraps [ErrDiverged].
	Write(ctx context.Context, off int64, before string, data []byte) error
	// Remove removes the journal and folders that are empty then.
	Remove(ctx context.Context) error
}

// sendTimeout bounds one try of bringing a mirror up to date.
const sendTimeout = 30 * time.Second

// Attach makes m follow the journal, once [Journal.Release] is called; until
// then m is only read. The longer one of both becomes the content of both, if
// the shorter one is how it begins; so a new machine takes over what the first
// master knows. Where they tell different stories the error wraps
// [ErrDiverged]. It has to be called before the first Append. A mirror that
// cannot be read is an error, one that later cannot be written is not: see
// [Options.MirrorFailed].
func (j *Journal) Attach(ctx context.Context, m Mirror) error {
	theirs, err := m.Read(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, err := scan("on "+m.Name(), theirs)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.usable() != nil:
		return j.usable()
	case j.wrote || j.mirror != nil:
		return errors.New("a mirror has to be attached before the first record is written")
	}
	merged, err := merge(m.Name(), j.data, theirs[:c.good])
	if err != nil {
		return err
	}
	if more := merged[len(j.data):]; len(more) > 0 {
		if err := j.write(more); err != nil {
			return err
		}
		j.records, j.sum = c.records, c.sum
	}
	j.mirror = follow(j, m, c.good, c.good < len(theirs))
	return nil
}

// Release lets the mirror be written from now on.
func (j *Journal) Release() {
	j.mu.Lock()
	f := j.mirror
	j.mu.Unlock()
	if f == nil {
		return
	}
	f.mu.Lock()
	f.held = false
	f.mu.Unlock()
	f.wake()
}

// Forget removes the mirror and follows it no more: its machine was cleaned.
func (j *Journal) Forget(ctx context.Context) error {
	j.mu.Lock()
	f := j.mirror
	j.mu.Unlock()
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = true
	return f.m.Remove(ctx)
}

// merge gives the longer one of two journals, of which one has to be the
// beginning of the other. Both consist of whole, good lines.
func merge(name string, ours, theirs []byte) ([]byte, error) {
	short, long := ours, theirs
	if len(short) > len(long) {
		short, long = long, short
	}
	if bytes.HasPrefix(long, short) {
		return long, nil
	}
	n := 0
	for n < len(short) && short[n] == long[n] {
		n++
	}
	return nil, diverged(name, bytes.Count(short[:n], []byte("\n"))+1)
}

func diverged(name string, line int) error {
	return &failure{
		text: fmt.Sprintf("the journal here and the one on %s tell different stories from record %d on", name, line),
		hint: "two machines have installed this cluster; keep the journal that is right and move the other away",
		kind: ErrDiverged,
	}
}

// Flush brings the mirror up to date now. Without one, or before it was
// released, it does nothing.
func (j *Journal) Flush(ctx context.Context) error {
	j.mu.Lock()
	f := j.mirror
	j.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.send(ctx)
}

// follower keeps a mirror up to date, behind the back of who appends.
type follower struct {
	j      *Journal
	m      Mirror
	kick   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex // one send at a time
	held bool       // nothing is to be sent
	at   int        // bytes that the mirror has
	dirt bool       // and a torn line behind them
	err  error      // of the last try
}

func follow(j *Journal, m Mirror, at int, dirt bool) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{j: j, m: m, kick: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}), held: true, at: at, dirt: dirt}
	go func() {
		defer close(f.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.kick:
				_ = f.send(ctx) // told through MirrorFailed
			}
		}
	}()
	return f
}

// wake says that there is something to send. It never waits.
func (f *follower) wake() {
	if f == nil {
		return
	}
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

func (f *follower) stop() {
	if f == nil {
		return
	}
	f.cancel()
	<-f.done
}

func (f *follower) send(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held {
		return nil
	}
	if errors.Is(f.err, ErrDiverged) {
		return f.err
	}
	before, rest := f.j.snapshot(f.at)
	if len(rest) == 0 && !f.dirt {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := f.m.Write(ctx, int64(f.at), before, rest)
	if err == nil {
		f.at, f.dirt, f.err = f.at+len(rest), false, nil
		return nil
	}
	if errors.Is(err, ErrDiverged) {
		err = &failure{
			text: fmt.Sprintf("somebody else writes to the journal on %s", f.m.Name()),
			hint: "see with bundle status on " + f.m.Name() + " who installs this cluster too",
			kind: ErrDiverged,
		}
	}
	first := f.err == nil || errors.Is(err, ErrDiverged)
	f.err = err
	if first && f.j.opts.MirrorFailed != nil && ctx.Err() != context.Canceled {
		f.j.opts.MirrorFailed(err)
	}
	return err
}
