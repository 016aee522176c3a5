package cluster

import (
	"errors"
	"fmt"

	"bundle/manifest"
)

// ErrSyntax is wrapped by every error that the content of a Clusterfile, of a
// plugin file or of the short form causes, as opposed to a failing reader.
var ErrSyntax = errors.New("not a usable Clusterfile")

// maxProblems and maxWarnings bound a report.
const (
	maxProblems = 50
	maxWarnings = 200
)

// Problem is one thing wrong in one place. It wraps [ErrSyntax].
type Problem struct {
	Source manifest.Source
	// Reason says what is wrong.
	Reason string
	// Fix says what to write or do instead; it may be empty.
	Fix string
}

// Error gives "file:line: reason; fix".
func (p *Problem) Error() string {
	s := string(p.Source) + ": " + p.Reason
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// Unwrap gives [ErrSyntax].
func (p *Problem) Unwrap() error { return ErrSyntax }

// report gathers problems and warnings while inputs are read.
type report struct {
	problems []error
	more     int
	// fatal makes everything else not worth a word.
	fatal    error
	warnings []Warning
}

func (r *report) bad(at manifest.Source, fix, format string, args ...any) {
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, &Problem{Source: at, Reason: fmt.Sprintf(format, args...), Fix: fix})
}

func (r *report) warn(at manifest.Source, format string, args ...any) {
	if len(r.warnings) < maxWarnings {
		r.warnings = append(r.warnings, Warning{Source: at, Text: fmt.Sprintf(format, args...)})
	}
}

func (r *report) err() error {
	if r.fatal != nil {
		return r.fatal
	}
	list := r.problems
	if r.more > 0 {
		list = append(list, fmt.Errorf("and %d more of this kind: %w", r.more, ErrSyntax))
	}
	return errors.Join(list...)
}
