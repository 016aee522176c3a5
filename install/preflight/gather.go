package preflight

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"bundle/install/host"
)

// gatherLimit bounds how long a host may take to answer.
const gatherLimit = 2 * time.Minute

// Gather asks a host for its facts. What the host's clock says is held
// against our own before the script was sent and when its first line came, so
// that a slow connection is not taken for a wrong clock.
func Gather(ctx context.Context, h host.Host, q Query) (*Facts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, gatherLimit, fmt.Errorf("%w: nothing came for %s", ErrFacts, gatherLimit))
	defer cancel()
	out := &answer{}
	before := time.Now()
	err := h.Run(ctx, host.Command{Script: Script, Env: q.Env(), Stdout: out})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	f, err := ParseFacts(out.buf.Bytes())
	if err != nil {
		return nil, err
	}
	f.Before, f.After = before, out.first
	if f.Time.Nanosecond() == 0 {
		f.Before = f.Before.Add(-time.Second) // its clock shows whole seconds
	}
	return f, nil
}

// answer keeps what came, as far as it may be long, and when it began.
type answer struct {
	buf   bytes.Buffer
	first time.Time
}

func (a *answer) Write(p []byte) (int, error) {
	if room := maxAnswer + 1 - a.buf.Len(); room > 0 {
		a.buf.Write(p[:min(len(p), room)])
	}
	if a.first.IsZero() && bytes.Contains(a.buf.Bytes(), []byte("=begin\n")) {
		a.first = time.Now()
	}
	return len(p), nil
}
