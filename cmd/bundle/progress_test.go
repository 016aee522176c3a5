package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bundle/internal/activity"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// TestProgressTellsTheTruth over an hour of made-up seconds.
func TestProgressTellsTheTruth(t *testing.T) {
	g := newGauge("build", "bytes", noon)
	at := func(sec int) time.Time { return noon.Add(time.Duration(sec) * time.Second) }
	read := func(sec int, done int64) reading {
		return g.read(sample{Done: done, Total: 1000e6, Item: "x"}, at(sec))
	}

	// What an earlier run has left is no speed of this one.
	read(0, 400e6)
	if r := read(5, 400e6+50e6); r.rate != 10e6 || r.left != 55*time.Second {
		t.Errorf("rate %v, left %v; want 10 MB/s and 55 s", r.rate, r.left)
	}
	// A part that begins anew does not take the bar back.
	if r := read(6, 430e6); r.done != 450e6 {
		t.Errorf("after a retry it shows %d of what was 450000000", r.done)
	}
	// The rate is that of the last while, not of all the time.
	for sec := 7; sec <= 40; sec++ {
		read(sec, 450e6+int64(sec-6)*1e6)
	}
	if r := read(41, 485e6); r.rate < 0.9e6 || r.rate > 1.1e6 {
		t.Errorf("rate %v, want about 1 MB/s", r.rate)
	}
	// A stall is said after 20 seconds, and again, and its end.
	var said []string
	for sec := 42; sec <= 90; sec++ {
		r := g.read(sample{Done: 485e6, Total: 1000e6, Active: []activity.State{
			{Name: "image quay.io/a:1", From: "quay.io", Done: 5, Total: 10, Since: at(30), Last: at(41)},
			{Name: "image quay.io/b:1", From: "quay.io", Since: at(40), Last: at(41)},
		}}, at(sec))
		if r.notice != "" {
			said = append(said, fmt.Sprintf("%d %s", sec, r.notice))
		}
		if sec == 70 && (!strings.Contains(r.line(), "no byte for 29 s") || strings.Contains(r.line(), "left") || !strings.Contains(r.line(), "slowest: image quay.io/a:1 50 % after 40 s, no byte for 29 s")) {
			t.Errorf("the line says %q", r.line())
		}
	}
	if r := read(91, 486e6); r.notice != "" {
		said = append(said, "91 "+r.notice)
	}
	want := []string{"61 build: no byte for 20 s from quay.io (image quay.io/a:1)", "81 build: no byte for 40 s from quay.io (image quay.io/a:1)", "91 build: going on after 50 s"}
	if strings.Join(said, "|") != strings.Join(want, "|") {
		t.Errorf("it says\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if r := read(200, 1000e6); r.done != r.total || r.notice != "" && !strings.Contains(r.notice, "going on") || r.left != 0 {
		t.Errorf("at the end: %+v", r)
	}
}

func TestLinesFit(t *testing.T) {
	for _, width := range []int{-1, 0, 1, 20, 80} {
		for _, s := range []string{"", "build", strings.Repeat("镜像", 60), "\x1b[2J\r\nevil" + strings.Repeat("x", 100)} {
			got := fit(s, width)
			if n := len([]rune(got)); n != max(width, 0) || strings.ContainsAny(got, "\x1b\r\n") {
				t.Errorf("fit(%q, %d) is %q", s, width, got)
			}
		}
	}
	r := reading{phase: "push", unit: "bytes", done: 1.2e9, total: 4e9}
	if got := r.amount(); got != "1.2 of 4.0 GB" {
		t.Errorf("%q", got)
	}
	r.done = 5e6
	if got := r.amount(); got != "5.0 MB of 4.0 GB" {
		t.Errorf("%q", got)
	}
}

// TestPipedProgressHasNoControlCharacters, in every mode that auto can come to,
// and json is JSON.
func TestPipedProgressHasNoControlCharacters(t *testing.T) {
	for _, mode := range []string{"auto", "plain", "json", "none"} {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr, progress: mode}
		stop := a.startMeter("verify", "bytes", func() sample { return sample{Done: 5, Total: 10, Item: "evil\x1b[2J\r\nname"} })
		a.printStatus()
		stop()
		a.printStatus()
		for line := range strings.Lines(stderr.String()) {
			line = strings.TrimSuffix(line, "\n")
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%s: %q", mode, line)
			}
			if mode == "json" && strings.HasPrefix(line, "{") {
				var doc progressLine
				if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Phase != "verify" || doc.Done != 5 || doc.Total != 10 || doc.Unit != "bytes" {
					t.Errorf("%q: %v", line, err)
				}
			}
		}
		for _, want := range []string{"verify: 5 of 10 B (50 %)", "bundle: at work for"} {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s: asked for a status it says %q", mode, stderr.String())
			}
		}
	}
}

// TestBarInATerminal drives `bundle verify` in tmux, 80 columns wide, with a
// file that comes slowly: the bar stays on its line, says how far it is, and a
// signal asks for a status.
func TestBarInATerminal(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("no tmux is installed; the bar was not looked at in a terminal")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "bundle")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, tt := range []struct{ name, env string }{{"colour", "TERM=screen"}, {"no colour", "TERM=screen NO_COLOR=1"}, {"dumb", "TERM=dumb"}} {
		t.Run(tt.name, func(t *testing.T) {
			session := strings.ReplaceAll(tt.name, " ", "-")
			raw := filepath.Join(dir, session+".raw")
			// A server each: one that just lost its last session still takes
			// a connection, and ends.
			socket := filepath.Join(dir, session+".tmux")
			run(t, tmux, "-S", socket, "-f", "/dev/null", "new-session", "-d", "-s", session, "-x", "80", "-y", "24", "cat")
			t.Cleanup(func() { _ = exec.Command(tmux, "-S", socket, "kill-server").Run() })
			run(t, tmux, "-S", socket, "set-option", "-t", session, "remain-on-exit", "on")
			run(t, tmux, "-S", socket, "pipe-pane", "-t", session, "cat > "+raw)
			line := fmt.Sprintf("echo begun; env %s BUNDLE_TEST_METER=1 %s; echo ended; cat", tt.env, program)
			run(t, tmux, "-S", socket, "respawn-pane", "-k", "-t", session, line)
			deadline := time.Now().Add(60 * time.Second)
			var screen string
			for !strings.Contains(screen, "ended") {
				if time.Now().After(deadline) {
					t.Fatalf("it does not end:\n%s", screen)
				}
				time.Sleep(50 * time.Millisecond)
				screen = run(t, tmux, "-S", socket, "capture-pane", "-p", "-t", session)
			}
			_, screen, _ = strings.Cut(screen, "begun\n")
			screen, _, _ = strings.Cut(screen, "ended")
			lines := strings.Split(strings.TrimSpace(screen), "\n")
			bar := regexp.MustCompile(`^ *100% \|█{16}\| +build 10\.0 of 10\.0 MB`)
			status := "build: "
			if tt.name == "dumb" {
				if len(lines) != 1 || !strings.HasPrefix(lines[0], status) {
					t.Errorf("a dumb terminal shows\n%s", screen)
				}
			} else if len(lines) != 2 || !strings.HasPrefix(lines[0], status) || !bar.MatchString(lines[1]) {
				t.Errorf("the terminal shows\n%s", screen)
			}
			for _, l := range lines {
				if n := len([]rune(l)); n > 80 {
					t.Errorf("a line has %d columns: %q", n, l)
				}
			}
			drawn, err := os.ReadFile(raw)
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := bytes.Cut(drawn, []byte("begun"))
			if escapes := bytes.Contains(after, []byte("\x1b[")); tt.name == "no colour" && escapes {
				t.Errorf("with NO_COLOR the bar has escape sequences: %q", after)
			}
			if tt.name == "dumb" && bytes.ContainsAny(bytes.ReplaceAll(after, []byte("\r\n"), nil), "\r\x1b") {
				t.Errorf("a dumb terminal gets control characters: %q", after)
			}
		})
	}
}

// meterForTest is a job of a second that its terminal test looks at.
func meterForTest() {
	a := &app{stderr: os.Stderr, progress: "auto"}
	began := time.Now()
	look := func() sample {
		done := min(int64(time.Since(began).Seconds()*10e6), 10e6)
		return sample{Done: done, Total: 10e6, Item: "image registry.example/" + strings.Repeat("long/", 4) + "name:1"}
	}
	stop := a.startMeter("build", "bytes", look)
	time.Sleep(500 * time.Millisecond)
	a.printStatus()
	time.Sleep(time.Until(began.Add(1100 * time.Millisecond)))
	stop()
}
