package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"bundle/archive"
	"bundle/install/engine"
)

// Exit codes, pinned in docs/cli.md.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDamaged     = 3
	exitUntrusted   = 4
	exitIncomplete  = 5
	exitInterrupted = 130
)

// codeNames are the values of error.code in JSON.
var codeNames = map[int]string{
	exitFailed:      "failed",
	exitUsage:       "usage",
	exitDamaged:     "damaged",
	exitUntrusted:   "untrusted",
	exitIncomplete:  "incomplete",
	exitInterrupted: "interrupted",
}

// usageError marks what the user can mend on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted carries one line that says what to do next.
type hinted struct {
	err  error
	hint string
}

func (e hinted) Error() string { return e.err.Error() }
func (e hinted) Unwrap() error { return e.err }
func (e hinted) Hint() string  { return e.hint }

func hint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

// silent is an error whose story the command has told already.
type silent struct{ err error }

func (e silent) Error() string { return e.err.Error() }
func (e silent) Unwrap() error { return e.err }

// exitCode says how the program ends for err.
func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var refused *engine.RefusedError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &refused) && refused.Usage():
		return exitUsage
	}
	if f := faultOf(err); f != nil {
		return f.exit
	}
	return exitFailed
}

// errorObject is the JSON form of an error (docs/json.md).
type errorObject struct {
	Code string `json:"code"`
	// ID is that of the entry in docs/errors.md, which never changes.
	ID      string `json:"id,omitempty"`
	Message string `json:"message"`
	Object  string `json:"object,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// reportError prints err the way the output format asks for.
func (a *app) reportError(ctx context.Context, err error) int {
	code := exitCode(ctx, err)
	if code == exitDone {
		return code
	}
	var quiet silent
	if errors.As(err, &quiet) {
		return code
	}
	o := errorObject{Code: codeNames[code], Message: err.Error()}
	if code == exitInterrupted {
		o.Message = "interrupted; what was done is kept, run the same command to go on"
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		o.Hint = h.Hint()
	}
	if named, ok := errors.AsType[interface {
		error
		Object() string
	}](err); ok {
		o.Object = named.Object()
	}
	var ae *archive.Error
	if o.Object == "" && errors.As(err, &ae) {
		o.Object = ae.Member
	}
	a.explain(&o, err)
	if a.output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(map[string]errorObject{"error": o})
		return code
	}
	printError(a.stderr, o)
	return code
}

func printError(w io.Writer, o errorObject) {
	fmt.Fprintf(w, "error: %s\n", strings.TrimRight(o.Message, "\n"))
	for line := range strings.Lines(o.Hint) {
		fmt.Fprintf(w, "hint: %s\n", strings.TrimRight(line, "\n"))
	}
}
