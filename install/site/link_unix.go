//go:build unix

package site

import (
	"os"
	"syscall"
)

// linkable tells whether a second name is as good as a copy: nobody but root
// can write to the file.
func linkable(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0 && info.Mode().Perm()&0o022 == 0
}
