package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

type waitKey struct{}

// waiter keeps what a task waits for.
type waiter struct {
	task Task
	hook func(Task, string)

	mu   sync.Mutex
	what string
}

func (w *waiter) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.what
}

// Waiting is for a [Runner]: it says what its task waits for now, such as
// "deployment web: 1 of 3 ready". Where the time runs out and the runner does
// not say why, this is what the error names.
func Waiting(ctx context.Context, what string) {
	w, ok := ctx.Value(waitKey{}).(*waiter)
	if !ok {
		return
	}
	w.mu.Lock()
	same := w.what == what
	w.what = what
	w.mu.Unlock()
	if !same && w.hook != nil {
		w.hook(w.task, what)
	}
}

var errTimeout = errors.New("the time of the step is over")

// timeoutError is a task that took longer than it may.
type timeoutError struct {
	limit time.Duration
	err   error // the runner's
}

func (e *timeoutError) Error() string { return fmt.Sprintf("not done after %s: %v", e.limit, e.err) }
func (e *timeoutError) Unwrap() error { return e.err }

// Timeout implements the interface of net.Error's first half.
func (e *timeoutError) Timeout() bool { return true }

// said is what the runner had to say, beyond that the time is over.
func (e *timeoutError) said() string {
	s := e.err.Error()
	if s == context.DeadlineExceeded.Error() || s == context.Canceled.Error() || s == errTimeout.Error() {
		return ""
	}
	return s
}

// Untouched marks the error of a task that failed before it did anything, so
// that it is simply run again.
func Untouched(err error) error {
	if err == nil {
		return nil
	}
	return untouchedError{err}
}

type untouchedError struct{ error }

func (e untouchedError) Unwrap() error { return e.error }

// Untouched implements what [Runner] says about errors.
func (untouchedError) Untouched() bool { return true }

// untouched tells whether a task failed before it did anything.
func untouched(err error) bool {
	var u interface{ Untouched() bool }
	return errors.As(err, &u) && u.Untouched()
}

func hintOf(err error) (string, bool) {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return h.Hint(), true
	}
	return "", false
}
