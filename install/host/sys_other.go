//go:build !linux

package host

import (
	"os"
	"syscall"
)

// Only Linux machines are hosts; others can drive an install over SSH.

func ownSession() *syscall.SysProcAttr { return nil }

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func waitExit(int) {}

func signalOf(*os.ProcessState) (string, int) { return "", 0 }

func lockFile(string) (func(), error) { return func() {}, nil }
