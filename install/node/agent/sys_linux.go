package agent

import (
	"bufio"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// syncTree brings everything that was written to the disk that root lies on.
func syncTree(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// exchange swaps two names in one step.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return exchangeSlowly(a, b)
	}
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
}

// refuseMounts makes sure that nothing is mounted at or below dir: what is
// there would be lost with it.
func refuseMounts(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil //nolint:nilerr // the rename itself still refuses a mount at dir
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		at := unescape.Replace(fields[4])
		if at == dir || strings.HasPrefix(at, dir+"/") {
			return failure("unmount "+at+" and run it again", "the root file system cannot take the place of %s: %w: %s", dir, ErrMounted, at)
		}
	}
	return nil
}
