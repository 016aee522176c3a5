package chart

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of errors, for errors.Is.
var (
	// ErrChart: what was given is not a chart that Helm could install.
	ErrChart = errors.New("not a usable chart")
	// ErrUnsafe: the chart reaches out of its own folder or is larger than
	// the limits of a [Loader].
	ErrUnsafe = errors.New("not a safe chart")
	// ErrDependency: a chart names another in Chart.yaml that is not in its
	// charts folder, so what that one would need cannot be known.
	ErrDependency = errors.New("an incomplete chart")
	// ErrRender: a template of the chart fails with the values given.
	ErrRender = errors.New("cannot be rendered")
	// ErrValues: values are not a YAML mapping or are refused by the chart.
	ErrValues = errors.New("not usable values")
)

// Error is what went wrong with one chart. It unwraps to its Class.
type Error struct {
	// Class is one of the errors of this package.
	Class error
	// Chart is the name in Chart.yaml, or the path where there is none yet.
	Chart string
	// Template is the file at fault, relative to the chart's folder, and Line
	// the line in it, from 1; empty and 0 where not known.
	Template string
	Line     int
	// From is the template that included Template, as "file:line", if another.
	From string
	// Reason is one sentence.
	Reason string
}

// Error gives one line that names the chart, the template and the line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chart %s", e.Chart)
	if e.Template != "" {
		fmt.Fprintf(&b, " %s", e.Template)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		if e.From != "" {
			fmt.Fprintf(&b, " (from %s)", e.From)
		}
	}
	verb := " is "
	if errors.Is(e.Class, ErrRender) {
		verb = " "
	}
	if errors.Is(e.Class, ErrValues) {
		verb = ": "
	}
	fmt.Fprintf(&b, "%s%s: %s", verb, e.Class, e.Reason)
	return b.String()
}

// Unwrap gives the class.
func (e *Error) Unwrap() error { return e.Class }

// oneLine folds the layout that Helm and YAML errors come with.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
