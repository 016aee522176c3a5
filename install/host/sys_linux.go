package host

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession starts a process in a session of its own, so that all of it can
// be ended, and ends it when we die.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills a process that leads a group, and the group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// waitExit waits until a child ended and leaves it to be waited for.
func waitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// signalOf is the signal that ended a process, 0 if none did.
func signalOf(s *os.ProcessState) (string, int) {
	ws, ok := s.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return "", 0
	}
	return strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG"), int(ws.Signal())
}

// lockFile holds a lock on a file until the function it gives is called.
func lockFile(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if err != unix.EINTR {
			_ = f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}
