package site

import "errors"

var (
	// ErrOptions: the options cannot be used.
	ErrOptions = errors.New("the registry on site cannot be set up so")
	// ErrSpace: a disk has not enough room.
	ErrSpace = errors.New("not enough free space")
	// ErrArch: the host has another kind of processor than our program.
	ErrArch = errors.New("the program does not run on this kind of processor")
	// ErrBundle: the bundle that arrived is not the one that was sent.
	ErrBundle = errors.New("the bundle on the host is not good")
	// ErrPort: another program has the registry's port.
	ErrPort = errors.New("the port is taken")
	// ErrUnreachable: the registry does not answer.
	ErrUnreachable = errors.New("the registry does not answer")
	// ErrFile: a file of the host cannot be worked with.
	ErrFile = errors.New("the file cannot be changed")
)

// Error is what went wrong on one host.
type Error struct {
	// Host is the user's name for it; empty for what is wrong before any.
	Host string
	// Text is the sentence, without the host.
	Text string
	// Err is the class, one of the Err variables, or what the host said.
	Err  error
	hint string
}

func (e *Error) Error() string {
	if e.Host == "" {
		return e.Text
	}
	return "host " + e.Host + ": " + e.Text
}

// Unwrap gives the class.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next, in one line; it may be empty.
func (e *Error) Hint() string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](e.Err); ok && e.hint == "" {
		return h.Hint()
	}
	return e.hint
}

// Object is the host.
func (e *Error) Object() string { return e.Host }
