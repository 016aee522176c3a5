package host

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of failures, for errors.Is.
var (
	// ErrConnection says that the host cannot be reached, or went away.
	ErrConnection = errors.New("no connection to the host")
	// ErrAuth says that the host refuses the login or sudo.
	ErrAuth = errors.New("login refused")
	// ErrHostKey says that the host's key is not the one that was pinned, or
	// that none was and unknown keys are refused.
	ErrHostKey = errors.New("host key not trusted")
	// ErrShell says that the host was reached but starts no script.
	ErrShell = errors.New("no shell on the host")
	// ErrCommand says that a command or path makes no sense anywhere.
	ErrCommand = errors.New("unusable command")
	// ErrTooLarge says that a file is larger than what was allowed.
	ErrTooLarge = errors.New("file too large")
	// ErrFile says that a file on the host could not be read or written.
	ErrFile = errors.New("file on the host")
	// ErrTarget says that the host cannot connect to an address.
	ErrTarget = errors.New("address not reached from the host")
	// ErrClosed says that the host was closed before.
	ErrClosed = errors.New("host closed")
)

// Error is what went wrong with one host.
type Error struct {
	// Host is what the user calls it.
	Host string
	// Class is one of the sentinels of this package.
	Class error
	// Reason completes the sentence "Host …".
	Reason string
	// Next says what to do about it; empty if nothing is known.
	Next string
	// Err is the cause, if there is one.
	Err error
}

// Error gives one sentence without the hint.
func (e *Error) Error() string { return e.Host + " " + e.Reason }

// Hint says what to do next.
func (e *Error) Hint() string { return e.Next }

// Object is the host.
func (e *Error) Object() string { return e.Host }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// ExitError is a script that ended with another code than 0.
type ExitError struct {
	Host string
	// Label is the command's.
	Label string
	// Code is the exit code, 128 and the signal's number if one ended it.
	Code int
	// Signal is its name without SIG, empty where there was none.
	Signal string
	// Stderr and Stdout are the last of what the script wrote, with secrets
	// replaced.
	Stderr, Stdout string
	// Log is the file with all of its output; empty where there is none.
	Log string
}

// Error gives one sentence: the code and the script's own last words.
func (e *ExitError) Error() string {
	what := "a script"
	if e.Label != "" {
		what = e.Label
	}
	how := fmt.Sprintf("ended with code %d", e.Code)
	if e.Signal != "" {
		how = "was ended by the signal " + e.Signal
	}
	msg := fmt.Sprintf("%s on %s %s", what, e.Host, how)
	if said := e.LastLine(); said != "" {
		msg += ": " + said
	}
	return msg
}

// LastLine is the last line that the script wrote to its standard error, or
// else to its standard output.
func (e *ExitError) LastLine() string {
	for _, s := range []string{e.Stderr, e.Stdout} {
		if line := lastLine(s); line != "" {
			return line
		}
	}
	return ""
}

// Hint names the log.
func (e *ExitError) Hint() string {
	if e.Log == "" {
		return ""
	}
	return "all of its output is in " + e.Log
}

// Object is the host.
func (e *ExitError) Object() string { return e.Host }

// lastLine is the last line with something in it, fit for a message.
func lastLine(s string) string {
	const longest = 400
	s = strings.TrimSpace(s)
	if i := strings.LastIndexAny(s, "\r\n"); i >= 0 {
		s = s[i+1:]
	}
	s = printable(strings.TrimSpace(s))
	if len(s) > longest {
		s = "…" + strings.ToValidUTF8(s[len(s)-longest:], "")
	}
	return s
}

// printable replaces what could drive a terminal.
func printable(s string) string {
	if !strings.ContainsFunc(s, control) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if control(r) {
			writeHex(&b, byte(r))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func writeHex(b *strings.Builder, c byte) {
	const digits = "0123456789abcdef"
	b.WriteString(`\x`)
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
}

// control tells what a terminal would act on, tabs aside.
func control(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }
