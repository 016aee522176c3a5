package verify

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of verdicts, for errors.Is.
var (
	// ErrDamaged: bytes are not what was signed.
	ErrDamaged = errors.New("damaged")
	// ErrUntrusted: no signature satisfies the policy.
	ErrUntrusted = errors.New("untrusted")
	// ErrUnsigned: there is no signature at all, and the policy wants one.
	ErrUnsigned = errors.New("unsigned")
	// ErrIncomplete: something that is required is not in the bundle.
	ErrIncomplete = errors.New("incomplete")
)

// ErrPolicy says that keys, identities or trust roots cannot be used.
var ErrPolicy = errors.New("the trust policy cannot be used")

// Exit codes of docs/cli.md that a verdict has.
const (
	exitDone       = 0
	exitFailed     = 1
	exitDamaged    = 3
	exitUntrusted  = 4
	exitIncomplete = 5
)

// ExitClass gives the exit code for an error of [File], [Path], [Stream] or
// [Report.Err]: 0 for nil, 3 damaged, 4 untrusted or unsigned, 5 incomplete,
// 1 for anything else.
func ExitClass(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, ErrUntrusted), errors.Is(err, ErrUnsigned):
		return exitUntrusted
	case errors.Is(err, ErrDamaged):
		return exitDamaged
	case errors.Is(err, ErrIncomplete):
		return exitIncomplete
	}
	return exitFailed
}

// Verdict is the error of a bundle that did not pass. It wraps one of the
// classes above.
type Verdict struct {
	class              error
	text, object, hint string
}

// Error is one sentence that names the bundle and what is wrong.
func (v *Verdict) Error() string { return v.text }

// Unwrap gives the class.
func (v *Verdict) Unwrap() error { return v.class }

// Hint is what to do next; empty where nothing is known.
func (v *Verdict) Hint() string { return v.hint }

// Object names what is hit first: an image, a chart, a file; empty where it
// is the bundle as a whole.
func (v *Verdict) Object() string { return v.object }

// Err gives the verdict as an error: nil if the report is OK, else a
// [*Verdict].
func (r *Report) Err() error {
	if r.OK {
		return nil
	}
	name := r.Bundle
	if name == "" || name == "-" {
		name = "the bundle"
	}
	switch r.Signature.Status {
	case StatusVerified, StatusSkipped:
	case StatusUnsigned:
		if r.Content.Status != ContentDamaged {
			return &Verdict{class: ErrUnsigned, text: name + " is not signed"}
		}
	default:
		if r.Content.Status != ContentDamaged {
			text := name + " is not trusted"
			if len(r.Signature.Reasons) > 0 {
				text += ": " + strings.Join(r.Signature.Reasons, "; ")
			}
			return &Verdict{class: ErrUntrusted, text: text}
		}
	}
	v := &Verdict{class: ErrDamaged, text: name + " is damaged"}
	if r.Content.Status == ContentIncomplete {
		v = &Verdict{class: ErrIncomplete, text: name + " is incomplete"}
	}
	if n := len(r.Content.Problems) + r.Content.Omitted; n > 0 && len(r.Content.Problems) > 0 {
		first := r.Content.Problems[0]
		v.object = first.Object
		v.text += fmt.Sprintf(": %s is %s", first.Object, first.Kind)
		if first.Reason != "" {
			v.text += ", " + first.Reason
		}
		switch {
		case n == 2:
			v.text += "; and one more problem"
		case n > 2:
			v.text += fmt.Sprintf("; and %d more problems", n-1)
		}
	}
	return v
}
