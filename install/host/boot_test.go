package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMarkIsFoundBehindWhatALoginPrints(t *testing.T) {
	for _, test := range []struct {
		in   string
		junk string
		err  error
	}{
		{in: "@m 12 34 0@\nrest"},
		{in: "Welcome!\n@m 12 34 0@\nrest", junk: "Welcome!\n"},
		{in: "no end of line@m 12 34 0@\nrest"},
		{in: "@m x y@\n@m 1 2 0@\n@m 12 34 0@\nrest", junk: "@m x y@\n@m 1 2 0@\n"},
		{in: strings.Repeat("x", 100<<10) + "\n@m 12 34 0@\nrest", junk: strings.Repeat("x", 4<<10-1) + "\n"},
		{in: "bash: not found", junk: "bash: not found", err: io.EOF},
		{in: "@m 12 34 0", junk: "@m 12 34 0", err: io.EOF},
		{in: "", err: io.EOF},
		{in: strings.Repeat("x", maxJunk+100<<10), junk: strings.Repeat("x", 4<<10), err: errEndless},
	} {
		r := bufio.NewReaderSize(iotest.HalfReader(strings.NewReader(test.in)), 64<<10)
		got, junk, err := readMark(r, "m")
		if !errors.Is(err, test.err) || junk != test.junk {
			t.Errorf("%.40q gives %.40q, %v; want %.40q, %v", test.in, junk, err, test.junk, test.err)
		}
		if err != nil {
			continue
		}
		rest, _ := io.ReadAll(r)
		if want := (started{mark: "m", pid: 12, session: 34}); got != want || string(rest) != "rest" {
			t.Errorf("%.40q gives %v and leaves %q", test.in, got, rest)
		}
	}
}

func FuzzReadMark(f *testing.F) {
	f.Add([]byte("motd\n@m 12 34 0@\n"))
	f.Add([]byte("@m -1 9999999999999999999999 0@\n@m 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, junk, err := readMark(bufio.NewReaderSize(bytes.NewReader(data), 64<<10), "m")
		if err == nil && (got.pid <= 1 || got.session < 0) {
			t.Fatalf("%q gives %v", data, got)
		}
		if len(junk) > 3*(4<<10) {
			t.Fatalf("%d bytes are kept", len(junk))
		}
	})
}

// FuzzPayload: bash gives every value and every argument back as it was.
func FuzzPayload(f *testing.F) {
	f.Add("it's", "$(touch /tmp/x)`x`", "\n\\\"!")
	f.Add("\x01\x7f\xff", "", " ")
	f.Fuzz(func(t *testing.T, a, b, input string) {
		c := Command{Script: "printf '%s|%s|' \"$A\" \"$B\"; cat", Env: map[string]string{"A": a, "B": b}}
		payload, err := c.payload()
		if strings.ContainsRune(a+b, 0) {
			if !errors.Is(err, ErrCommand) {
				t.Fatalf("a NUL gives %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", root{}.line("m"))
		cmd.Stdin = io.MultiReader(bytes.NewReader(payload), strings.NewReader(input))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ := bytes.Cut(out, []byte("\n"))
		if want := a + "|" + b + "|" + input; string(got) != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestHalfAScriptNeverRuns(t *testing.T) {
	payload, err := Command{Script: "echo one\necho two"}.payload()
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(payload) {
		if cut%7 != 0 && cut != len(payload)-1 {
			continue
		}
		cmd := exec.Command("/bin/sh", "-c", root{}.line("m"))
		cmd.Stdin = bytes.NewReader(payload[:cut])
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 125 || strings.Contains(string(out), "one") {
			t.Fatalf("cut at %d: %q, %v", cut, out, err)
		}
	}
}

func TestSecondQuestionIsNoticedHoweverItIsCut(t *testing.T) {
	text := "lecture m?\nSorry, try again.\nm?"
	for size := 1; size <= len(text); size++ {
		asked := 0
		l := &listener{r: &pieces{rest: text, size: size}, text: "m?", again: func() { asked++ }}
		got, err := io.ReadAll(l)
		if err != nil || string(got) != text || asked != 1 {
			t.Errorf("in pieces of %d: %q, asked again %d times", size, got, asked)
		}
	}
}

// pieces is a text that comes in pieces.
type pieces struct {
	rest string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

func TestBootFitsEveryLoginShell(t *testing.T) {
	if strings.ContainsAny(boot, "'\\!\n") {
		t.Error("boot holds what some shells read otherwise")
	}
	for _, way := range []root{{}, {sudo: true}, {sudo: true, password: secret}} {
		if line := way.line("m"); strings.Contains(line, secret.Reveal()) || strings.Contains(line, markWord) {
			t.Errorf("the command line is %q", line)
		}
	}
	if s := fmt.Sprint(started{mark: newMark()}); len(s) < 20 {
		t.Errorf("the mark %q can be guessed", s)
	}
}
