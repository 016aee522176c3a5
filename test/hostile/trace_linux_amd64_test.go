package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fault is what happens to one of the system calls by which a program changes
// files below a folder.
type fault struct {
	// at counts those calls from 1; 0 lets all pass.
	at int
	// errno is the call's result; 0 with kill ends the program before the call.
	errno syscall.Errno
	kill  bool
	// short lets a write take the first half, and gives errno to the next.
	short bool
}

// traced is how a run under a fault ended.
type traced struct {
	calls []string // that were counted
	hit   string   // the call that the fault was for
	exit  int      // -1 if it was killed
	out   string
}

// trace runs a program and puts a fault into it. It is a debugger of the program,
// so that every path to the disk is met, whichever library takes it.
func trace(t *testing.T, dir string, f fault, env []string, args ...string) traced {
	t.Helper()
	// A thread can only be traced by the thread that began it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // a pipe would need a reader
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tr := &tracer{dir: dir, fault: f, main: cmd.Process.Pid, inside: map[int]bool{}, spoiled: map[int]syscall.Errno{}}
	exit, err := tr.run()
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return traced{calls: tr.calls, hit: tr.hit, exit: exit, out: string(text)}
}

type tracer struct {
	dir    string
	fault  fault
	main   int
	inside map[int]bool // threads that are in a system call
	// spoiled are threads whose call shall give an error.
	spoiled map[int]syscall.Errno
	calls   []string
	hit     string
}

func (tr *tracer) run() (int, error) {
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(tr.main, &ws, 0, nil); err != nil {
		return 0, err
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | syscall.PTRACE_O_TRACEFORK | syscall.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(tr.main, options); err != nil {
		return 0, fmt.Errorf("the program cannot be traced: %w", err)
	}
	if err := syscall.PtraceSyscall(tr.main, 0); err != nil {
		return 0, err
	}
	for {
		// Of this thread's children only: other tests have theirs.
		pid, err := syscall.Wait4(-1, &ws, syscall.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		switch {
		case ws.Exited() && pid == tr.main:
			return ws.ExitStatus(), nil
		case ws.Signaled() && pid == tr.main:
			return -1, nil
		case ws.Exited() || ws.Signaled():
			continue
		}
		deliver := 0
		switch sig := ws.StopSignal(); {
		case sig == syscall.SIGTRAP|0x80:
			tr.syscall(pid)
		case sig == syscall.SIGTRAP, sig == syscall.SIGSTOP: // an event, or a new thread
		default:
			deliver = int(sig)
		}
		// A thread may be gone by now; then its end is what comes next.
		_ = syscall.PtraceSyscall(pid, deliver)
	}
}

// syscall is called when a thread enters a system call, and when it leaves one.
func (tr *tracer) syscall(pid int) {
	var r syscall.PtraceRegs
	if syscall.PtraceGetRegs(pid, &r) != nil {
		return
	}
	if tr.inside[pid] {
		tr.inside[pid] = false
		if errno, ok := tr.spoiled[pid]; ok {
			delete(tr.spoiled, pid)
			r.Rax = uint64(-int64(errno))
			_ = syscall.PtraceSetRegs(pid, &r)
		}
		return
	}
	tr.inside[pid] = true
	name := tr.name(pid, &r)
	if name == "" {
		return
	}
	tr.calls = append(tr.calls, name)
	f := tr.fault
	n := len(tr.calls)
	isWrite := strings.HasPrefix(name, "write ")
	switch {
	case f.short && n == f.at && isWrite:
		tr.hit = name
		r.Rdx /= 2
		_ = syscall.PtraceSetRegs(pid, &r)
	case f.kill && n == f.at:
		tr.hit = name
		_ = syscall.Kill(tr.main, syscall.SIGKILL)
	case f.errno != 0 && !f.short && n == f.at, f.short && f.errno != 0 && n == f.at+1 && isWrite && tr.hit != "":
		tr.hit = name
		tr.spoiled[pid] = f.errno
		r.Orig_rax = ^uint64(0) // no call
		_ = syscall.PtraceSetRegs(pid, &r)
	}
}

// name names a call that changes a file below the folder; empty for all others.
func (tr *tracer) name(pid int, r *syscall.PtraceRegs) string {
	at := func(what string, dirfd, pathAddr uint64) string {
		p := tr.text(pid, pathAddr)
		if !filepath.IsAbs(p) {
			base := tr.dir
			if int32(dirfd) != unix.AT_FDCWD {
				base = tr.fd(dirfd)
			}
			p = filepath.Join(base, p)
		}
		return tr.below(what, p)
	}
	switch r.Orig_rax {
	case syscall.SYS_WRITE, syscall.SYS_PWRITE64, syscall.SYS_WRITEV, unix.SYS_PWRITEV:
		return tr.below("write", tr.fd(r.Rdi))
	case unix.SYS_COPY_FILE_RANGE:
		return tr.below("copy", tr.fd(r.Rdx))
	case syscall.SYS_FSYNC, syscall.SYS_FDATASYNC:
		return tr.below("sync", tr.fd(r.Rdi))
	case syscall.SYS_FTRUNCATE:
		return tr.below("truncate", tr.fd(r.Rdi))
	case syscall.SYS_FALLOCATE:
		return tr.below("allocate", tr.fd(r.Rdi))
	case syscall.SYS_FCHMOD:
		return tr.below("chmod", tr.fd(r.Rdi))
	case syscall.SYS_OPENAT:
		if r.Rdx&(syscall.O_CREAT|syscall.O_WRONLY|syscall.O_RDWR) == 0 {
			return ""
		}
		return at("open", r.Rdi, r.Rsi)
	case syscall.SYS_MKDIRAT:
		return at("mkdir", r.Rdi, r.Rsi)
	case syscall.SYS_MKDIR:
		return at("mkdir", unix.AT_FDCWD&0xFFFFFFFF, r.Rdi)
	case syscall.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return at("rename", r.Rdi, r.Rsi)
	case syscall.SYS_RENAME:
		return at("rename", unix.AT_FDCWD&0xFFFFFFFF, r.Rdi)
	case syscall.SYS_LINKAT:
		return at("link", r.Rdi, r.Rsi)
	case syscall.SYS_UNLINKAT:
		return at("remove", r.Rdi, r.Rsi)
	case syscall.SYS_UNLINK:
		return at("remove", unix.AT_FDCWD&0xFFFFFFFF, r.Rdi)
	}
	return ""
}

func (tr *tracer) fd(fd uint64) string {
	p, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.main, int32(fd)))
	if err != nil {
		return ""
	}
	return p
}

func (tr *tracer) below(what, p string) string {
	rel, err := filepath.Rel(tr.dir, p)
	if p == "" || err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return what + " " + rel
}

// text reads a string of the program.
func (tr *tracer) text(pid int, addr uint64) string {
	buf := make([]byte, 4096)
	n, _ := syscall.PtracePeekData(pid, uintptr(addr), buf)
	text, _, _ := bytes.Cut(buf[:max(n, 0)], []byte{0})
	return string(text)
}
