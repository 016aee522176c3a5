//go:build unix

package hostile

import (
	"os"
	"runtime"
	"syscall"
)

// peak gives the most memory that a process had at once, in KiB.
func peak(p *os.ProcessState) int64 {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" { // where it is in bytes
		return int64(u.Maxrss) >> 10
	}
	return int64(u.Maxrss)
}
