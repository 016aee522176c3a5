//go:build unix

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// faultyDisk is a disk on which the next write goes wrong in one way.
type faultyDisk struct {
	osDisk
	fault *fault
}

type fault struct {
	short    int   // bytes that the next write takes
	write    error // its error
	sync     error // the next sync's
	truncate error
	arm      bool
}

func (d faultyDisk) open(path string) (file, error) {
	f, err := d.osDisk.open(path)
	return faultyFile{f, d.fault}, err
}

type faultyFile struct {
	file
	fault *fault
}

func (f faultyFile) Write(p []byte) (int, error) {
	if !f.fault.arm || f.fault.write == nil && f.fault.short == 0 {
		return f.file.Write(p)
	}
	n, err := f.file.Write(p[:min(f.fault.short, len(p))])
	return n, errors.Join(err, f.fault.write)
}

func (f faultyFile) Sync() error {
	if f.fault.arm && f.fault.sync != nil {
		return f.fault.sync
	}
	return f.file.Sync()
}

func (f faultyFile) Truncate(n int64) error {
	if f.fault.arm && f.fault.truncate != nil {
		return f.fault.truncate
	}
	return f.file.Truncate(n)
}

// Whatever the disk does, a record is either there or it is not, and the
// journal can be opened again.
func TestDiskFaults(t *testing.T) {
	for name, f := range map[string]fault{
		"disk full, nothing taken":      {write: unix.ENOSPC},
		"disk full, half a line":        {short: 50, write: unix.ENOSPC},
		"half a line without an error":  {short: 50},
		"full, and truncate fails":      {short: 50, write: unix.ENOSPC, truncate: unix.EIO},
		"sync fails":                    {sync: unix.EIO},
		"sync fails and truncate fails": {sync: unix.EIO, truncate: unix.EIO},
	} {
		dir := t.TempDir()
		j := mustOpen(t, dir, Options{disk: faultyDisk{fault: &f}})
		add(t, j, sample()[:3]...)
		f.arm = true
		err := j.Append(sample()[3])
		if err == nil {
			t.Errorf("%s: it was taken for written", name)
			continue
		}
		if f.write != nil && !errors.Is(err, f.write) {
			t.Errorf("%s: the reason is lost: %v", name, err)
		}
		f.arm = false
		if err := j.Append(sample()[4]); err == nil {
			t.Errorf("%s: a journal that lost a record goes on", name)
		}
		if n := len(j.Records()); n != 3 {
			t.Errorf("%s: it tells of %d records, want 3", name, n)
		}
		j.Close(t.Context())
		j = mustOpen(t, dir, Options{})
		// After a failed sync the line may be there, whole.
		if n := len(j.Records()); n != 3 && !(f.sync != nil && n == 4) {
			t.Errorf("%s: %d records after opening again, want 3", name, n)
		}
		add(t, j, stepRecord(StepStarted, "z", "h1"))
	}
}

func TestFullDiskAtTheStartIsAnErrorAndNoDamage(t *testing.T) {
	dir := t.TempDir()
	f := &fault{sync: unix.ENOSPC, arm: true}
	if _, err := Open(dir, Options{disk: faultyDisk{fault: f}}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	mustOpen(t, dir, Options{})
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "x", "y"), Options{}); err == nil {
		t.Error("it was opened in a file")
	}
}
