package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bundle/manifest/cluster"
)

func TestLogHoldsEveryLineWithTimeAndStream(t *testing.T) {
	needRoot(t)
	o := options(t)
	o.Redactor = NewRedactor("hush hush")
	h := Local("fd00::1", o)
	err := h.Run(t.Context(), Command{
		Label:  "init.sh with hush hush",
		Script: "echo one; echo two; printf 'bell\\a and \\033[31mred\\n'; printf '10%%\\r20%%\\r\\n'; printf 'bad \\377 utf 中文'; sleep 0.05; echo oops >&2; echo hush hush; exit 3",
	})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Log != filepath.Join(o.LogDir, "fd00::1.log") || exit.Hint() != "all of its output is in "+exit.Log {
		t.Fatalf("got %v", err)
	}
	if exit.Object() != "fd00::1" || exit.LastLine() != "oops" || strings.Contains(err.Error(), "hush") {
		t.Errorf("the error is %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("closing twice gives %v", err)
	}
	log := readLog(t, o, "fd00::1")
	for _, line := range strings.Split(strings.TrimSuffix(log, "\n"), "\n") {
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 1 (run|out|err|end) `).MatchString(line) {
			t.Errorf("the log has the line %q", line)
		}
	}
	for _, want := range []string{
		"1 run init.sh with [secret]\n", "1 out one\n", "1 out two\n", `1 out bell\x07 and \x1b[31mred` + "\n",
		"1 out 10%\n", "1 out 20%\n", `1 out bad \xff utf 中文`, "1 err oops\n", "[secret]\n", "1 end init.sh with [secret] on fd00::1 ended with code 3: oops, after ",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing from\n%s", want, log)
		}
	}
	st, _ := os.Stat(exit.Log)
	dir, _ := os.Stat(o.LogDir)
	if st.Mode().Perm() != 0o600 || dir.Mode().Perm() != 0o700 {
		t.Errorf("the log is %v in %v", st.Mode(), dir.Mode())
	}
}

func TestLogGoesOnBehindAnEarlierOne(t *testing.T) {
	needRoot(t)
	o := options(t)
	for range 2 {
		h := Local("a/b", o)
		output(t, h, "true")
		_ = h.Close()
	}
	if n := strings.Count(readLog(t, o, "a_b"), " run script\n"); n != 2 {
		t.Errorf("%d runs are logged, want 2", n)
	}
}

func TestLogThatCannotBeWrittenIsSaid(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(filepath.Join(o.LogDir, "10.0.0.1.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := Local("10.0.0.1", o).Run(t.Context(), Command{})
	if err == nil || !strings.Contains(err.Error(), "the log of 10.0.0.1 cannot be written") {
		t.Errorf("got %v", err)
	}
	if _, err = Dial(t.Context(), Target{Address: "10.0.0.1"}, o); err == nil || !strings.Contains(err.Error(), "the log of 10.0.0.1 cannot be written") {
		t.Errorf("got %v", err)
	}
}

func TestFullDiskUnderTheLogStopsNoScript(t *testing.T) {
	needRoot(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	h := Local("10.0.0.1", options(t)).(*local)
	_ = h.log.f.Close()
	h.log.f = full
	if got := output(t, h, "echo fine"); got != "fine\n" {
		t.Errorf("got %q", got)
	}
	if err := h.Close(); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("closing gives %v", err)
	}
}

func TestEndlessOutputIsNotLoggedToTheEnd(t *testing.T) {
	o := options(t)
	l, err := openLog(o.LogDir, "h", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := l.begin("").stream("out")
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range maxLogged>>20 + 3 {
		_, _ = w.Write(block)
	}
	_, _ = w.Write([]byte("\nlast"))
	_ = w.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	log := readLog(t, o, "h")
	if len(log) > maxLogged+maxLogged/100 || strings.Count(log, "(the rest is not logged)") != 1 || strings.Contains(log, "last") {
		t.Errorf("the log has %d bytes", len(log))
	}
}

// FuzzLog: whatever a script writes, in whatever pieces, the log has only
// whole lines of text, and no secret.
func FuzzLog(f *testing.F) {
	f.Add([]byte("one\r\ntwo\rthree\n\x1b[0m\xff"), 2)
	f.Add([]byte("password\npass"), 3)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		var lines [][]byte
		sp := &splitter{emit: func(line []byte) { lines = append(lines, []byte(clean(string(line)))) }}
		w := NewRedactor("password").Writer(sp)
		n := 1 + max(cut, -cut)%11
		for rest := data; len(rest) > 0; {
			k := min(max(n, 1), len(rest))
			_, _ = w.Write(rest[:k])
			rest = rest[k:]
		}
		_, _ = w.Close(), sp.Close()
		for _, l := range lines {
			if bytes.ContainsAny(l, "\n\r\x1b\x00") || bytes.Contains(l, []byte("password")) || len(l) > 4*maxLine {
				t.Fatalf("the log gets %q", l)
			}
		}
		if len(lines) == 0 && len(data) > 0 {
			t.Fatal("output was lost")
		}
	})
}

// secret is a text that tests look for where it must not be.
const secret = cluster.Secret("Tr0ub4dor&3 'x\"")
