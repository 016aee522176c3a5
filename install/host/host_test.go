package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// exerciseHost does with a host what an install does with it. The host shares
// our file system.
func exerciseHost(t *testing.T, h Host) {
	t.Helper()
	t.Run("run", func(t *testing.T) { exerciseRun(t, h) })
	t.Run("files", func(t *testing.T) { exerciseFiles(t, h) })
	t.Run("upload", func(t *testing.T) { exerciseUpload(t, h) })
	t.Run("dial", func(t *testing.T) { exerciseDial(t, h) })
	t.Run("stop", func(t *testing.T) { exerciseStop(t, h) })
}

func exerciseRun(t *testing.T, h Host) {
	odd := "it's \"$HOME\" `x` \\ \n\ttab \x01\x7f\xff 中文 !"
	var out, errs bytes.Buffer
	err := h.Run(soon(t), Command{
		Script: "#!/bin/bash\nprintf '%s|' \"$ODD\"; pwd; cat\necho 'to '\\''stderr' >&2\n",
		Dir:    "/usr",
		Env:    map[string]string{"ODD": odd, "EMPTY": ""},
		Stdin:  strings.NewReader("the input\x00 of the script"),
		Stdout: &out, Stderr: &errs,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if want := odd + "|/usr\nthe input\x00 of the script"; out.String() != want {
		t.Errorf("the script wrote %q, want %q", out.String(), want)
	}
	if errs.String() != "to 'stderr\n" {
		t.Errorf("to stderr it wrote %q", errs.String())
	}

	err = h.Run(soon(t), Command{Label: "init.sh", Script: "echo first\nif true; then\n\tno-such-tool\nfi\nexit 7"})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Host != h.Name() || exit.Signal != "" {
		t.Fatalf("got %#v, want code 7", err)
	}
	if want := "init.sh on " + h.Name() + " ended with code 7: line 3: no-such-tool: command not found"; err.Error() != want {
		t.Errorf("the error says %q, want %q", err, want)
	}

	err = h.Run(soon(t), Command{Script: "kill -KILL $$"})
	if !errors.As(err, &exit) || exit.Signal != "KILL" && exit.Code != 137 {
		t.Errorf("a killed script gives %v", err)
	}
	if err := h.Run(soon(t), Command{Script: "for i in 1 2; do"}); !errors.As(err, &exit) || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("a script with a syntax error gives %v", err)
	}
	if err := h.Run(soon(t), Command{Script: "true", Dir: "/no/such/folder"}); !errors.As(err, &exit) || !strings.Contains(err.Error(), "/no/such/folder") {
		t.Errorf("a missing folder gives %v", err)
	}

	// Much output, and input that nobody reads.
	out.Reset()
	err = h.Run(soon(t), Command{
		Script: "head -c 20000000 /dev/zero; exec 0<&-; head -c 3000000 /dev/zero >&2",
		Stdin:  io.LimitReader(zeros{}, 50<<20), Stdout: &out,
	})
	if err != nil || out.Len() != 20000000 {
		t.Errorf("got %d bytes of output: %v", out.Len(), err)
	}

	// What a script leaves in the background does not hold it up.
	pid := strings.TrimSpace(output(t, h, "sleep 300 & echo $!"))
	if _, err := os.Stat("/proc/" + pid); err != nil {
		t.Error("a service that a script started does not survive it")
	}
	output(t, h, "kill "+pid)

	for _, c := range []Command{
		{Script: "echo \x00"},
		{Env: map[string]string{"A B": "x"}},
		{Env: map[string]string{"": "x"}},
		{Env: map[string]string{"1A": "x"}},
		{Env: map[string]string{"UID": "x"}},
		{Env: map[string]string{"A": "\x00"}},
		{Dir: "relative"},
		{Script: strings.Repeat("x", maxScript)},
	} {
		if err := h.Run(soon(t), c); !errors.Is(err, ErrCommand) {
			t.Errorf("%.40v gives %v", c, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func exerciseFiles(t *testing.T, h Host) {
	dir := filepath.Join(t.TempDir(), "new folder", "-deep")
	file := filepath.Join(dir, "-it's a \"file\" 中文")
	data := []byte("one\x00two\nno end")
	for range 2 {
		if err := h.WriteFile(soon(t), file, 0o640, data); err != nil {
			t.Fatal(err)
		}
		data = append(data, "more"...)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Fatalf("the file is %v, %v", st, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("the folder is %v, %v", st.Mode(), err)
	}
	got, err := h.ReadFile(soon(t), file, 1<<10)
	if err != nil || string(got) != "one\x00two\nno endmore" {
		t.Errorf("the file reads %q, %v", got, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("leftovers: %v", entries)
	}
	if _, err := h.ReadFile(soon(t), file, 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file over the limit gives %v", err)
	}
	if got, err := h.ReadFile(soon(t), file, int64(len("one\x00two\nno endmore"))); err != nil {
		t.Errorf("a file of just the limit gives %q, %v", got, err)
	}
	if _, err := h.ReadFile(soon(t), file+"x", 4); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), h.Name()) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := h.ReadFile(soon(t), dir, 4); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder gives %v", err)
	}
	if got, err := h.ReadFile(soon(t), "/proc/self/status", 1<<20); err != nil || len(got) == 0 {
		t.Errorf("a file of the kernel gives %q, %v", got, err)
	}
	if err := h.WriteFile(soon(t), dir, 0o600, nil); err == nil || !strings.Contains(err.Error(), h.Name()) {
		t.Errorf("writing over a folder gives %v", err)
	}
	if err := h.WriteFile(soon(t), file+"/below", 0o600, nil); err == nil {
		t.Error("a file was made below a file")
	}
	if err := h.WriteFile(soon(t), file, 0o4755|fs.ModeSetuid, nil); err != nil {
		t.Error(err)
	} else if st, _ := os.Stat(file); st.Mode()&fs.ModeSetuid == 0 || st.Size() != 0 {
		t.Errorf("the file is %v", st.Mode())
	}
	for _, bad := range []string{"", "/", "a", "/a/../b", "/a\x00", "/a/"} {
		if err := h.WriteFile(soon(t), bad, 0o600, nil); !errors.Is(err, ErrCommand) {
			t.Errorf("writing %q gives %v", bad, err)
		}
		if _, err := h.ReadFile(soon(t), bad, 1); !errors.Is(err, ErrCommand) {
			t.Errorf("reading %q gives %v", bad, err)
		}
	}
}

// pattern is content of any size that differs everywhere.
type pattern struct{}

func (pattern) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		n := off + int64(i)
		p[i] = byte(n ^ n>>8 ^ n>>16)
	}
	return len(p), nil
}

func checkPattern(t *testing.T, file string, size int64) {
	t.Helper()
	got, err := os.ReadFile(file)
	want := make([]byte, size)
	_, _ = pattern{}.ReadAt(want, 0)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, not as they were sent: %v", len(got), err)
	}
}

func exerciseUpload(t *testing.T, h Host) {
	const size = 5<<20 + 17
	file := filepath.Join(t.TempDir(), "up loads", "bundle")
	for _, test := range []struct {
		name string
		part int64 // of the right content, -1 for none
		tear bool  // its last byte is lost
		more bool  // it is too long
		sent int64 // how much the first report has at least
	}{
		{name: "nothing there", part: -1},
		{name: "over an older file", part: -1},
		{name: "goes on", part: 3<<20 + 5, sent: 3<<20 + 5},
		{name: "all there", part: size, sent: size},
		{name: "torn", part: 3 << 20, tear: true},
		{name: "too long", part: size, more: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.part >= 0 {
				part := make([]byte, test.part)
				_, _ = pattern{}.ReadAt(part, 0)
				if test.tear {
					part[len(part)-1] ^= 1
				}
				if test.more {
					part = append(part, 0)
				}
				if err := os.WriteFile(file+".part", part, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var total, first int64
			err := h.Upload(soon(t), file, 0o755, pattern{}, size, func(n int64) {
				if total == 0 {
					first = n
				}
				total += n
			})
			if err != nil {
				t.Fatal(err)
			}
			if total != size || first < test.sent {
				t.Errorf("reports sum up to %d of %d and start with %d", total, int64(size), first)
			}
			checkPattern(t, file, size)
			if st, _ := os.Stat(file); st.Mode().Perm() != 0o755 {
				t.Errorf("the mode is %v", st.Mode())
			}
			if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
				t.Errorf("leftovers: %v", entries)
			}
		})
	}
	if err := h.Upload(soon(t), file, 0o600, pattern{}, 0, nil); err != nil {
		t.Errorf("an empty file gives %v", err)
	}
	wrong := errors.New("the disk is broken")
	err := h.Upload(soon(t), file, 0o600, brokenAt{limit: 2 << 20, err: wrong}, size, nil)
	if !errors.Is(err, wrong) {
		t.Errorf("content that cannot be read gives %v", err)
	}
	if st, err := os.Stat(file); err != nil || st.Size() != 0 {
		t.Errorf("the older file was touched: %v, %v", st, err)
	}
	if err := h.Upload(soon(t), file, 0o600, bytes.NewReader([]byte("short")), 100, nil); err == nil {
		t.Error("content that is shorter than its size was taken")
	}
	if err := h.Upload(soon(t), "/proc/none/x", 0o600, pattern{}, 100, nil); !errors.Is(err, ErrFile) {
		t.Errorf("a folder that cannot be made gives %v", err)
	}
}

// brokenAt is content that cannot be read to its end.
type brokenAt struct {
	limit int64
	err   error
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.limit {
		return 0, b.err
	}
	return pattern{}.ReadAt(p, off)
}

func exerciseDial(t *testing.T, h Host) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var n int
				if _, err := fmt.Fscanf(c, "%d\n", &n); err == nil {
					_, _ = io.CopyN(c, zeros{}, int64(n))
				}
			}()
		}
	}()
	for _, n := range []int{0, 5, 3 << 20} {
		c, err := h.DialContext(soon(t), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%d\n", n)
		got, err := io.ReadAll(c)
		if err != nil || len(got) != n {
			t.Errorf("got %d of %d bytes: %v", len(got), n, err)
		}
		if err := c.Close(); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	// One that is closed before the other side says anything.
	c, err := h.DialContext(soon(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("a closed connection gives %d bytes", n)
	}
	_ = l.Close()
	_, err = h.DialContext(soon(t), "tcp", l.Addr().String())
	if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "efused") {
		t.Errorf("a port where nothing listens gives %v", err)
	}
}

func exerciseStop(t *testing.T, h Host) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"plain":      "echo $$; sleep 300",
		"background": "sleep 300 & echo $!; wait",
		"stubborn":   "trap '' TERM; (trap '' TERM; echo $BASHPID; while :; do sleep 300; done); sleep 300",
		"own group":  "set -m; sleep 300 & echo $!; wait",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(soon(t))
			first := &firstLine{line: make(chan string, 1)}
			done := make(chan error, 1)
			go func() {
				done <- h.Run(ctx, Command{Label: "long one", Script: script + "\ntouch " + dir + "/went-on", Stdout: first})
			}()
			pid := <-first.line
			why := errors.New("the user pressed a key")
			cancel(why)
			err := <-done
			if !errors.Is(err, why) || !strings.Contains(err.Error(), h.Name()) {
				t.Errorf("a stopped script gives %v", err)
			}
			if cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && len(cmdline) > 0 {
				t.Errorf("%q still runs", cmdline)
			}
		})
	}
	if _, err := os.Stat(dir + "/went-on"); err == nil {
		t.Error("a stopped script went on")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx, Command{Script: "touch " + dir + "/ran"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended before gives %v", err)
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("a script ran although its context had ended")
	}
}

// firstLine gives the first line that is written to it.
type firstLine struct {
	buf  bytes.Buffer
	line chan string
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.buf.Write(p)
	if line, _, ok := strings.Cut(f.buf.String(), "\n"); ok && !f.done {
		f.done = true
		f.line <- line
	}
	return len(p), nil
}

func TestLocal(t *testing.T) {
	needRoot(t)
	h := Local("10.0.0.1", options(t))
	defer h.Close()
	if !h.Local() || h.Name() != "10.0.0.1" {
		t.Errorf("%s is local: %v", h.Name(), h.Local())
	}
	exerciseHost(t, h)
}

// TestPlainServer is the same over our own server, whose faults other tests
// use.
func TestPlainServer(t *testing.T) {
	s := newServer(t)
	h := mustDial(t, s.start(), options(t))
	if h.Local() || h.Name() != "10.0.0.7" {
		t.Errorf("%s is local: %v", h.Name(), h.Local())
	}
	exerciseHost(t, h)
}

// TestNoForwarding dials from a host whose SSH server forwards nothing.
func TestNoForwarding(t *testing.T) {
	s := newServer(t)
	s.forward = false
	exerciseDial(t, mustDial(t, s.start(), options(t)))
}
