package install

import (
	"bytes"
	"context"
	"sync"

	"bundle/install/engine"
)

// noteKeeper passes what the API server's side tells on to the task that runs:
// steps at the API server run one at a time.
type noteKeeper struct {
	mu   sync.Mutex
	tell func(string)
}

func (n *noteKeeper) set(tell func(string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell = tell
}

func (n *noteKeeper) note(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.tell != nil {
		n.tell(line)
	}
}

// listen has notes go to the task of ctx, until done is called.
func (s *Session) listen(ctx context.Context) (_ context.Context, done func()) {
	s.notes.set(func(line string) { engine.Waiting(ctx, line) })
	return ctx, func() { s.notes.set(nil) }
}

func (s *Session) note(line string) { s.notes.note(line) }

// lastLine is a writer that tells each full line that is not blank.
type lastLine struct {
	tell func(string)
	rest []byte
}

// maxLine bounds what is kept of a line without an end.
const maxLine = 4 << 10

func (l *lastLine) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		l.rest = append(l.rest, line[:min(len(line), maxLine-min(len(l.rest), maxLine))]...)
		if !found {
			return n, nil
		}
		if text := bytes.TrimSpace(l.rest); len(text) > 0 {
			l.tell(string(text))
		}
		l.rest, p = l.rest[:0], rest
	}
}
