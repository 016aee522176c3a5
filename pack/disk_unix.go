//go:build unix

package pack

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// freeBytes gives what an unprivileged user may still write beside path, or -1.
func freeBytes(path string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
