//go:build linux && !cgo

package lean

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// GiveBack lets go of the pages of the program's file. Where it cannot nothing
// happens: a program that the loader has moved, as with cgo, has pages that are
// not as they are in the file.
func GiveBack() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil || !fixed(exe) {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for s := bufio.NewScanner(maps); s.Scan(); {
		// 00400000-030dc000 r-xp 00000000 fd:00 1234   /usr/bin/bundle
		fields := strings.Fields(s.Text())
		if len(fields) != 6 || fields[5] != exe || strings.Contains(fields[1], "w") {
			continue
		}
		low, high, _ := strings.Cut(fields[0], "-")
		from, err1 := strconv.ParseUint(low, 16, 64)
		to, err2 := strconv.ParseUint(high, 16, 64)
		if err1 == nil && err2 == nil && from < to {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}

// fixed tells whether the program in the file runs where it was linked to.
func fixed(exe string) bool {
	f, err := os.Open(exe)
	if err != nil {
		return false
	}
	defer f.Close()
	// e_type of an ELF file; 2 is ET_EXEC. All processors we are built for are
	// little-endian.
	var head [18]byte
	_, err = f.ReadAt(head[:], 0)
	return err == nil && string(head[:4]) == "\x7fELF" && head[16] == 2
}
