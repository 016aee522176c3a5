//go:build linux

package once

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"bundle/install/host"
)

func here(t *testing.T) host.Host {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs bash and root")
	}
	h := host.Local("10.0.0.1", host.Options{})
	t.Cleanup(func() { h.Close() })
	return h
}

// attempts makes attempts at one script.
func attempts(t *testing.T) func(attempt string) Script {
	dir := t.TempDir()
	return func(attempt string) Script { return Script{Key: "step", Attempt: attempt, base: dir} }
}

func find(t *testing.T, h host.Host, s Script) Result {
	t.Helper()
	r, err := s.Find(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScriptRunsAsItWould(t *testing.T) {
	h := here(t)
	try := attempts(t)
	s := try("1")
	var out, errs bytes.Buffer
	dir := t.TempDir()
	err := s.On(h).Run(t.Context(), host.Command{
		Script: "echo \"it's $X in $PWD\"\ncat <<'EOF'\n$HERE '\"\nEOF\numask\necho oops >&2\n[ -z \"$__once$__text\" ] || echo leaks\ncat\n# the end",
		Dir:    dir, Env: map[string]string{"X": "a 'b' $c"}, Stdout: &out, Stderr: &errs,
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "it's a 'b' $c in " + dir + "\n$HERE '\"\n0022\n"; out.String() != want {
		t.Errorf("it prints %q, want %q", out.String(), want)
	}
	if errs.String() != "oops\n" {
		t.Errorf("errors %q", errs.String())
	}
	if r := find(t, h, s); r.State != Ended || r.Code != 0 {
		t.Errorf("found %+v", r)
	}
	if r := find(t, h, try("2")); r.State != Never {
		t.Errorf("another attempt is %+v", r)
	}
}

func TestCodesOfScripts(t *testing.T) {
	h, try := here(t), attempts(t)
	for text, want := range map[string]int{
		"exit 7": 7, "false": 1, "set -e; false; echo no": 1, "exec false": 1, "trap 'exit 9' EXIT; exit 1": 9, "kill -9 $BASHPID": 137,
		"if": 2, "echo \"$(( 1 / 0 ))\"; true": 1, "nosuchcommand": 127, "(exit 3)": 3, "true": 0, "": 0,
	} {
		s := try(text)
		err := s.On(h).Run(t.Context(), host.Command{Script: text + "\n"})
		var exit *host.ExitError
		got := 0
		if errors.As(err, &exit) {
			got = exit.Code
		} else if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if r := find(t, h, s); got != want || r.State != Ended || r.Code != want {
			t.Errorf("%q ends with %d and is found as %+v, want %d", text, got, r, want)
		}
	}
}

func TestErrorSaysTheLastWords(t *testing.T) {
	h := here(t)
	s := attempts(t)("1")
	err := s.On(h).Run(t.Context(), host.Command{Script: "echo 'vgcreate failed' >&2; exit 1"})
	if err == nil || !strings.Contains(err.Error(), "vgcreate failed") {
		t.Errorf("got %v", err)
	}
	if r := find(t, h, s); r.Said != "vgcreate failed" {
		t.Errorf("found %+v", r)
	}
}

func TestNewAttemptForgetsTheOld(t *testing.T) {
	h := here(t)
	try := attempts(t)
	one, two := try("1"), try("2")
	for _, s := range []Script{one, two} {
		if err := s.On(h).Run(t.Context(), host.Command{Script: "true"}); err != nil {
			t.Fatal(err)
		}
	}
	if find(t, h, one).State != Never || find(t, h, two).State != Ended {
		t.Error("the old attempt is still there")
	}
}

func TestFolderThatIsNotThereIsNever(t *testing.T) {
	h := here(t)
	s := attempts(t)("1")
	if err := s.On(h).Run(t.Context(), host.Command{Script: "true", Dir: "/does/not/exist"}); err == nil {
		t.Error("it ran nowhere")
	}
	if r := find(t, h, s); r.State != Never {
		t.Errorf("found %+v", r)
	}
}

// await waits for a file; the test's own time bounds it.
func await(t *testing.T, name string) {
	t.Helper()
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(name + " never came")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

const killEnv = "ONCE_TEST_CHILD"

// TestMain lets the test binary be the process that gets killed.
func TestMain(m *testing.M) {
	if text := os.Getenv(killEnv); text != "" {
		dir, attempt, _ := strings.Cut(text, "|")
		h := host.Local("10.0.0.1", host.Options{})
		err := Script{Key: "step", Attempt: attempt, base: dir + "/once"}.On(h).Run(context.Background(), host.Command{
			Script: "echo begin; touch begun; while [ ! -e go ]; do sleep 0.05; done; for i in $(seq 2000); do echo $i; done; touch done; exit 4",
			Dir:    dir, Stdout: os.Stdout,
		})
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The installer is killed while a script removes data: the script ends, and
// the next run knows how.
func TestScriptOutlivesAKilledInstaller(t *testing.T) {
	h := here(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+dir+"|1")
	if _, err := cmd.StdoutPipe(); err != nil { // closed when it is dead
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, dir+"/begun")
	cmd.Process.Kill()
	cmd.Wait()
	s := Script{Key: "step", Attempt: "1", base: dir + "/once"}
	found := make(chan Result)
	go func() {
		r, err := s.Find(context.WithoutCancel(t.Context()), h)
		if err != nil {
			t.Error(err)
		}
		found <- r
	}()
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-found; r.State != Ended || r.Code != 4 {
		t.Errorf("found %+v, want code 4", r)
	}
	if _, err := os.Stat(dir + "/done"); err != nil {
		t.Errorf("the script did not get to its end: %v", err)
	}
}

// Interrupted on purpose, a script is ended, and nobody says that it is done.
func TestCanceledScriptIsEnded(t *testing.T) {
	h := here(t)
	dir := t.TempDir()
	s := Script{Key: "step", Attempt: "1", base: dir + "/once"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- s.On(h).Run(ctx, host.Command{Script: "echo half >&2; touch begun; sleep 1000; touch done", Dir: dir})
	}()
	await(t, dir+"/begun")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if r := find(t, h, s); r.State != Unknown || r.Said != "half" {
		t.Errorf("found %+v", r)
	}
}

func TestInputIsRefused(t *testing.T) {
	h := here(t)
	if err := attempts(t)("1").On(h).Run(t.Context(), host.Command{Script: "cat", Stdin: strings.NewReader("x")}); !errors.Is(err, host.ErrCommand) {
		t.Errorf("got %v", err)
	}
}
