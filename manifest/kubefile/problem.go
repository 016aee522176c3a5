package kubefile

import (
	"errors"
	"fmt"

	"bundle/manifest"
)

var (
	// ErrKubefile is wrapped by every error that the content of a Kubefile
	// causes, as opposed to a failing reader.
	ErrKubefile = errors.New("bad Kubefile")
	// ErrUnsupported is wrapped by the problems of [File.Unsupported]: the
	// Kubefile is right, but a packager cannot do what it asks for.
	ErrUnsupported = errors.New("not possible while packaging")
	// ErrDialect is wrapped where the dialect cannot be told or is one that
	// is not read. Where a file is to blame it comes with [ErrKubefile].
	ErrDialect = errors.New("unsupported Kubefile dialect")
)

// maxProblems bounds a report.
const maxProblems = 50

// Problem is one thing wrong with one instruction. It wraps [ErrKubefile], or
// [ErrUnsupported] where it comes from [File.Unsupported].
type Problem struct {
	Source manifest.Source
	// Reason says what is wrong.
	Reason string
	// Hint says what to write or do instead; it may be empty.
	Hint string

	class error
}

// Error gives "file:line: reason; hint".
func (p *Problem) Error() string {
	s := string(p.Source) + ": " + p.Reason
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Unwrap gives the class of the problem.
func (p *Problem) Unwrap() []error {
	if p.class == nil {
		return []error{ErrKubefile}
	}
	if p.class == ErrDialect {
		return []error{ErrKubefile, ErrDialect}
	}
	return []error{p.class}
}

// Warning is something the user should know that does not stop the build:
// mostly a place where sealer itself does not do what the line says.
type Warning struct {
	Source manifest.Source
	Text   string
}

// report gathers problems and warnings while a file is read.
type report struct {
	name     string
	problems []error
	more     int
	warnings []Warning
}

func (r *report) at(line int) manifest.Source { return manifest.FileLine(r.name, line) }

func (r *report) bad(src manifest.Source, hint, format string, args ...any) {
	r.add(&Problem{Source: src, Reason: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *report) add(p *Problem) {
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, p)
}

func (r *report) warn(src manifest.Source, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{Source: src, Text: fmt.Sprintf(format, args...)})
}

func (r *report) err() error {
	if r.more > 0 {
		r.problems = append(r.problems, fmt.Errorf("and %d more lines of this kind: %w", r.more, ErrKubefile))
	}
	return errors.Join(r.problems...)
}
