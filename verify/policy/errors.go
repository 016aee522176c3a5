package policy

import (
	"errors"
	"fmt"
)

var (
	// ErrSyntax is wrapped by every error that the content of a policy or of a
	// revocation list causes.
	ErrSyntax = errors.New("bad policy")
	// ErrState says that the memory of the target cannot be used.
	ErrState = errors.New("the trust state cannot be used")
	// ErrRefused says that a statement is not signed by those who may sign it.
	ErrRefused = errors.New("the statement is refused")
)

// Problem is one thing wrong in a file. It wraps [ErrSyntax].
type Problem struct {
	File string
	// Line and Column count from 1, and are 0 where the whole file is meant.
	Line, Column int
	Reason       string
	// Hint says what to write instead; it may be empty.
	hint string
}

// Error gives "file:line:column: reason".
func (p *Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	return s + ": " + p.Reason
}

// Unwrap gives [ErrSyntax].
func (p *Problem) Unwrap() error { return ErrSyntax }

// Hint says what to write instead.
func (p *Problem) Hint() string { return p.hint }

// refusal is an error of a statement.
func refusal(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}
