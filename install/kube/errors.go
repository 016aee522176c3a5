package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Classes of errors, for errors.Is.
var (
	// ErrTimeout: the time of the step was over.
	ErrTimeout = errors.New("time is over")
	// ErrNotReady: an object is not what was waited for, and will not be.
	ErrNotReady = errors.New("not ready")
	// ErrConflict: something else is there already, and the step may not
	// replace it.
	ErrConflict = errors.New("conflict")
	// ErrInput: the step, its files or the kubeconfig cannot be used as they
	// are.
	ErrInput = errors.New("unusable input")
)

// Error is why a step failed: one sentence that names the object.
type Error struct {
	// Class is one of the errors of this package, or nil.
	Class error
	text  string
	// object is what people call the object at fault: "deployment web in
	// namespace prod".
	object string
	hint   string
	cause  error
}

// Error gives the sentence.
func (e *Error) Error() string { return e.text }

// Object names the object at fault.
func (e *Error) Object() string { return e.object }

// Hint says what to do next; it may be empty.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Class, e.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// fail makes an error about an object.
func fail(class error, object, format string, args ...any) *Error {
	return &Error{Class: class, object: object, text: fmt.Sprintf(format, args...)}
}

// because keeps what the error came from, for errors.Is and errors.As.
func (e *Error) because(err error) *Error {
	e.cause = err
	return e
}

// advise adds what to do next.
func (e *Error) advise(format string, args ...any) *Error {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// cannot is the error of a request about one object; from is the file that
// asked, if one did.
func cannot(verb, what, from string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || ended(err) {
		return err
	}
	var class error
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsUnsupportedMediaType(err):
		class = ErrInput
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		class = ErrConflict
	}
	if from != "" {
		from = " (" + from + ")"
	}
	e := fail(class, what, "cannot %s %s%s: %s", verb, what, from, oneLine(reason(err))).because(err)
	if apierrors.IsNotFound(err) && strings.HasPrefix(reason(err), "namespaces ") {
		e.Class = ErrInput
		return e.advise("make the namespace before, or let the step make it")
	}
	return e
}

// ended tells whether an error is only that the time was over or that the run
// was stopped.
func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// oneLine folds an error of a library to one bounded line.
func oneLine(s string) string {
	return clip(strings.Join(strings.Fields(s), " "), 600)
}

// clip bounds a text.
func clip(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}

// span writes a duration as people do.
func span(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
