package sign

import "errors"

// Sentinels of this package, for errors.Is.
var (
	// ErrKey says that a key cannot be used: it cannot be read, is of an
	// unknown kind, or is the wrong half of the pair.
	ErrKey = errors.New("the key cannot be used")
	// ErrPassword says that the password does not open the private key.
	ErrPassword = errors.New("the password is wrong")
	// ErrExists says that a file would have to be overwritten.
	ErrExists = errors.New("the file exists")
	// ErrBundle says that bytes are no Sigstore bundle this tool takes.
	ErrBundle = errors.New("not a usable Sigstore bundle")
)

// fault is one sentence that belongs to a class above. The sentence does not
// repeat the class.
type fault struct {
	class error
	text  string
	cause error
}

func (f *fault) Error() string { return f.text }

func (f *fault) Unwrap() []error {
	if f.cause == nil {
		return []error{f.class}
	}
	return []error{f.class, f.cause}
}
