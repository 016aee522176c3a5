package agent

import (
	"errors"
	"fmt"
	"syscall"

	"bundle/archive"
)

// Classes of errors, for errors.Is.
var (
	// ErrDamaged says that what a registry gave is not what the bundle holds.
	ErrDamaged = archive.ErrDamaged
	// ErrSpace says that the disk is too small.
	ErrSpace = errors.New("the disk is full")
	// ErrOptions says that an option cannot be used.
	ErrOptions = errors.New("cannot be used")
	// ErrMounted says that something is mounted where the root file system
	// shall be.
	ErrMounted = errors.New("something is mounted there")
)

// Error is a failure with what to do next.
type Error struct {
	Err  error
	hint string
}

// Error gives one sentence.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *Error) Hint() string { return e.hint }

func failure(hint, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), hint: hint}
}

// local marks an error of this machine's own disk: another registry cannot
// help.
type local struct{ err error }

func (l *local) Error() string { return l.err.Error() }
func (l *local) Unwrap() error { return l.err }

// disk explains an error of the file system.
func disk(to string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = failure("make room on the disk that holds "+to+" and run it again; it goes on where it stopped",
			"the root file system does not fit on the disk of %s: %w", to, ErrSpace)
	}
	return &local{err}
}
