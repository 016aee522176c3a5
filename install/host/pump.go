package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

// maxTail is how much of a script's last words an error keeps.
const maxTail = 4 << 10

// chunk is the size of one read.
const chunk = 128 << 10

// pump passes on one stream of output until it ends.
type pump struct {
	done chan struct{}
	// err is what the reader of the output answered; valid after done.
	err error
	// reading is since when the pump waits for output, 0 while it does not.
	reading atomic.Int64
	keep    *tail
}

// newPump reads r to its end. to gets it as it is; the log and the tail that
// errors use get it without secrets, or nothing if it is private.
func newPump(r io.Reader, to io.Writer, red *Redactor, log io.WriteCloser, private bool) *pump {
	p := &pump{done: make(chan struct{}), keep: &tail{max: maxTail}}
	var seen io.WriteCloser = discard{}
	if !private {
		seen = red.Writer(io.MultiWriter(p.keep, log))
	}
	go func() {
		defer close(p.done)
		buf := make([]byte, 32<<10)
		for {
			p.reading.Store(time.Now().UnixNano())
			n, err := r.Read(buf)
			p.reading.Store(0)
			if n > 0 {
				_, _ = seen.Write(buf[:n])
				if to != nil && p.err == nil {
					_, p.err = to.Write(buf[:n])
				}
			}
			if err != nil {
				_ = seen.Close()
				_ = log.Close()
				return
			}
		}
	}()
	return p
}

func (p *pump) wait() { <-p.done }

// last is the end of what came, without secrets.
func (p *pump) last() string { return strings.ReplaceAll(p.keep.String(), sourceName, "") }

// idle tells whether nothing came for d.
func (p *pump) idle(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	default:
	}
	since := p.reading.Load()
	return since != 0 && time.Since(time.Unix(0, since)) >= d
}

// lateRounds is how many times linger a script that ended is listened to, if
// what it left in the background never falls silent.
const lateRounds = 4

// drain waits for the rest of the output of a script that ended. What it left
// in the background may hold the streams open for ever, so they are given up
// when nothing came for linger, or too much after the end.
func drain(ctx context.Context, linger time.Duration, pumps ...*pump) {
	tick := time.NewTicker(min(max(linger/8, time.Millisecond), time.Second))
	defer tick.Stop()
	start := time.Now()
	for _, p := range pumps {
		for open := true; open; {
			select {
			case <-p.done:
				open = false
			case <-tick.C:
				late := time.Since(start) > lateRounds*linger
				open = !p.idle(linger) && !(late && p.idle(0))
			case <-ctx.Done():
				return
			}
		}
	}
}

// feeder passes input on to a process.
type feeder struct {
	done  chan struct{}
	cause error // what reading the input answered
	in    io.Reader
}

// feed writes the payload and then the input to w, and closes it.
func feed(w io.WriteCloser, payload []byte, in io.Reader) *feeder {
	f := &feeder{done: make(chan struct{}), in: in}
	go func() {
		defer close(f.done)
		defer w.Close()
		if _, err := w.Write(payload); err != nil || in == nil {
			return
		}
		buf := make([]byte, chunk)
		for {
			n, err := in.Read(buf)
			if n > 0 {
				// A script need not read all of its input.
				if _, err := w.Write(buf[:n]); err != nil {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				f.cause = err
				return
			}
		}
	}()
	return f
}

// stop waits for the input to end, which a reader that blocks can delay: it
// is left behind after grace.
func (f *feeder) stop(grace time.Duration) {
	if a, ok := f.in.(interface{ abandon() }); ok {
		a.abandon()
	}
	select {
	case <-f.done:
	case <-time.After(grace):
	}
}

// err is what reading the input answered, unless that was given up.
func (f *feeder) err() error {
	select {
	case <-f.done:
		if f.cause != nil && !errors.Is(f.cause, errAbandoned) {
			return fmt.Errorf("reading the input: %w", f.cause)
		}
	default:
	}
	return nil
}

// errAbandoned ends the reading of input whose script is gone.
var errAbandoned = errors.New("the script is gone")
