package archive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Classes of what can be wrong with a bundle. Every error about the content
// of a file is an [*Error] that wraps exactly one of them.
var (
	// ErrFormat: the file is not a bundle at all.
	ErrFormat = errors.New("not a bundle")
	// ErrVersion: the bundle was written by a newer tool in a way that this
	// one cannot read.
	ErrVersion = errors.New("needs a newer version of this tool")
	// ErrDamaged: bytes that are fixed by the format differ, or are cut off.
	ErrDamaged = errors.New("damaged")
	// ErrMissing: a blob that was asked for is not there.
	ErrMissing = errors.New("missing")
	// ErrUnexpected: the file holds something that it should not.
	ErrUnexpected = errors.New("unexpected")
	// ErrDigest: content does not hash to its digest.
	ErrDigest = errors.New("wrong digest")
)

// Errors of writing.
var (
	// ErrBusy: another process is writing the same file.
	ErrBusy = errors.New("in use by another process")
	// ErrNoSpace: the file system has not enough room for the whole bundle.
	ErrNoSpace = errors.New("not enough free space")
	// ErrNotLoaded: a method that needs the inventory was called before Load.
	ErrNotLoaded = errors.New("the bundle's inventory was not loaded yet")
)

// Error says what is wrong with a bundle and where. It wraps Class.
type Error struct {
	// Class is one of ErrFormat, ErrVersion, ErrDamaged, ErrMissing,
	// ErrUnexpected and ErrDigest.
	Class error
	// Member is the name of the tar member that is hit, "seek table" or "end
	// of archive" for the parts that are no member; empty if none is known.
	Member string
	// Digest of the blob that is hit; empty where it is not a blob.
	Digest digest.Digest
	// File is the file that is hit where that is not the one that was asked,
	// but another that it takes blobs from.
	File string
	// Offset and Length are the bytes of the file (compressed, as on disk)
	// that are concerned. Length is 0 where no range can be named.
	Offset, Length int64
	// Reason is one clause for a person, without the class and the place.
	Reason string
}

// Error gives one line: the member, the class, the reason and the place.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Member != "" {
		b.WriteString(e.Member)
		b.WriteString(": ")
	}
	b.WriteString(e.Class.Error())
	if e.Reason != "" {
		b.WriteString(": ")
		b.WriteString(e.Reason)
	}
	if e.Length > 0 {
		file := e.File
		if file == "" {
			file = "the file"
		}
		fmt.Fprintf(&b, " (bytes %d to %d of %s)", e.Offset, e.Offset+e.Length-1, file)
	}
	return b.String()
}

// Unwrap returns the class, for errors.Is.
func (e *Error) Unwrap() error { return e.Class }
