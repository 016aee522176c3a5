package host

import (
	"context"
	"io"
	"io/fs"
	"net"
)

// Host is one machine that an install works on: this one, or one behind SSH.
// All methods may be called at once from several goroutines; all of them stop
// when their context does.
type Host interface {
	// Name is what the user calls the host: its address in the Clusterfile.
	Name() string
	// Run runs a script with bash, as root, with root's usual PATH. A script
	// that ends with another code than 0 gives an [*ExitError]. When ctx ends,
	// so do all its processes; what it left in the background before stays.
	Run(ctx context.Context, c Command) error
	// ReadFile reads a file of at most limit bytes. It errs with
	// fs.ErrNotExist where there is none.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
	// WriteFile puts data at path in one step (temp file, fsync, rename),
	// making missing folders. The file belongs to root.
	WriteFile(ctx context.Context, path string, mode fs.FileMode, data []byte) error
	// Upload streams size bytes to path, in one step like WriteFile. Where a
	// part of it is there from an upload that broke, it goes on behind that
	// part; the caller checks digests. sent, if not nil, is told how many
	// further bytes are on the host; those of an earlier upload come first.
	Upload(ctx context.Context, path string, mode fs.FileMode, content io.ReaderAt, size int64, sent func(n int64)) error
	// DialContext connects to an address as seen from the host.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// Local tells whether this is the machine that we run on.
	Local() bool
	// Close ends the connection.
	Close() error
}

// Command is one script.
type Command struct {
	// Label is what the host's log calls the script; it may be empty.
	Label string
	// Script is handed to bash through a pipe, never as an argument.
	Script string
	// Dir is the working folder; empty is root's home.
	Dir string
	// Env are exported before the script; names are checked, values may be
	// anything without a NUL and never stand in an argument list.
	Env map[string]string
	// Stdin is what the script can read; nil is empty.
	Stdin io.Reader
	// Stdout and Stderr get the output as it comes; nil discards it (the
	// host's log still has it).
	Stdout, Stderr io.Writer
}
