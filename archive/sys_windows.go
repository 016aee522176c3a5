package archive

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func datasync(f *os.File) error        { return f.Sync() }
func allocate(*os.File, int64) error   { return nil }
func allocatedBytes(os.FileInfo) int64 { return 0 }
func syncDir(string) error             { return nil }

func lockFile(f *os.File) error {
	// One byte far behind every file: locks are binding on Windows.
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrBusy
	}
	return err
}

func freeBytes(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return -1, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return -1, err
	}
	return int64(min(free, 1<<62)), nil
}

func noSpace(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// renameOpen tells whether an open file can be renamed.
const renameOpen = false
