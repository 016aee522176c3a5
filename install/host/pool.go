package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// DefaultParallel is how many hosts [Each] works on at once if it is not
// told.
const DefaultParallel = 16

// Each calls fn for every host, limit at once ([DefaultParallel] if limit is
// less than 1), and waits for all. A host that fails stops no other. When ctx
// ends, hosts that wait are not begun, and fn is expected to return. The
// error, if any, is an [*Errors].
func Each(ctx context.Context, hosts []Host, limit int, fn func(ctx context.Context, h Host) error) error {
	if limit < 1 {
		limit = DefaultParallel
	}
	var g errgroup.Group
	g.SetLimit(limit)
	errs := make([]error, len(hosts))
	began := make([]bool, len(hosts))
	for i, h := range hosts {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if ctx.Err() == nil {
				began[i] = true
				errs[i] = fn(ctx, h)
			}
			return nil
		})
	}
	_ = g.Wait()
	all := &Errors{Total: len(hosts)}
	for i, h := range hosts {
		switch {
		case errs[i] != nil:
			all.List = append(all.List, HostError{Host: h.Name(), Err: errs[i]})
		case !began[i]:
			all.NotBegun = append(all.NotBegun, h.Name())
		}
	}
	if len(all.NotBegun) > 0 {
		all.cause = context.Cause(ctx)
	}
	if len(all.List) == 0 && len(all.NotBegun) == 0 {
		return nil
	}
	return all
}

// Errors are the hosts on which something failed, in the order of the hosts.
type Errors struct {
	List []HostError
	// NotBegun are hosts that were not tried because the context ended.
	NotBegun []string
	// Total counts all hosts.
	Total int
	cause error
}

// HostError is what failed on one host.
type HostError struct {
	Host string
	Err  error
}

// Error gives one sentence for one host, else a line for each.
func (e *Errors) Error() string {
	if len(e.List) == 1 && len(e.NotBegun) == 0 {
		return e.List[0].line()
	}
	var b strings.Builder
	if len(e.List) > 0 {
		fmt.Fprintf(&b, "%d of %d hosts failed:", len(e.List), e.Total)
		for _, h := range e.List {
			fmt.Fprintf(&b, "\n  %s", h.line())
		}
		if len(e.NotBegun) > 0 {
			b.WriteString("\n  ")
		}
	}
	if len(e.NotBegun) > 0 {
		fmt.Fprintf(&b, "not begun because it was stopped (%v): %s", e.cause, strings.Join(e.NotBegun, ", "))
	}
	return b.String()
}

// line names the host once, and it is one line.
func (h HostError) line() string {
	msg := strings.Join(strings.Fields(h.Err.Error()), " ")
	if strings.Contains(msg, h.Host) {
		return msg
	}
	return h.Host + ": " + msg
}

// Unwrap gives the errors of the hosts, and why others were not begun.
func (e *Errors) Unwrap() []error {
	var list []error
	for _, h := range e.List {
		list = append(list, h.Err)
	}
	if e.cause != nil {
		list = append(list, e.cause)
	}
	return list
}

// Hint gives each distinct hint of the hosts' errors, a line for each.
func (e *Errors) Hint() string {
	var hints []string
	for _, h := range e.List {
		hinted, ok := errors.AsType[interface {
			error
			Hint() string
		}](h.Err)
		if ok && hinted.Hint() != "" && !slices.Contains(hints, hinted.Hint()) {
			hints = append(hints, hinted.Hint())
		}
	}
	return strings.Join(hints, "\n")
}

// Object is the host, if there is only one.
func (e *Errors) Object() string {
	if len(e.List) == 1 {
		return e.List[0].Host
	}
	return ""
}
