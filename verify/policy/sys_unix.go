//go:build unix

package policy

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock waits for the lock file; two commands that end at once must not forget
// what the other one has accepted.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func isRoot() bool { return os.Geteuid() == 0 }
