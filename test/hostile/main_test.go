package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// measureEnv makes the test binary the parent of the process that it runs. A
// process begins with the peak of who started it, and a test with a corpus in
// memory is larger than what it measures.
const measureEnv = "HOSTILE_MEASURE"

func TestMain(m *testing.M) {
	if os.Getenv(measureEnv) != "" {
		os.Exit(measure(os.Args[1:]))
	}
	code := m.Run()
	for _, dir := range tidy {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// outcome is how a process ended.
type outcome struct {
	Exit           int
	PeakKiB        int64
	Took           time.Duration
	Stdout, Stderr string
}

// measure runs a command with its own standard input and prints the outcome.
func measure(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = os.Stdin
	cmd.Env = append(os.Environ(), measureEnv+"=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begun := time.Now()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o := outcome{Exit: cmd.ProcessState.ExitCode(), PeakKiB: peak(cmd.ProcessState), Took: time.Since(begun), Stdout: stdout.String(), Stderr: stderr.String()}
	if json.NewEncoder(os.Stdout).Encode(o) != nil {
		return 1
	}
	return 0
}

// run runs bundle and gives how it ended.
func run(t *testing.T, stdin io.Reader, args ...string) outcome {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, append([]string{program(t)}, args...)...)
	cmd.Stdin = stdin
	cmd.Env = append(os.Environ(), measureEnv+"=1", "NO_COLOR=1", "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var o outcome
	if err == nil {
		err = json.Unmarshal(out, &o)
	}
	if err != nil {
		t.Fatalf("bundle %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return o
}

// program gives the bundle program: that of $BUNDLE, or one that is built once.
func program(t *testing.T) string {
	t.Helper()
	p, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tidy are folders to be removed in the end.
var tidy []string

var built = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("BUNDLE"); p != "" {
		return p, nil
	}
	dir, err := os.MkdirTemp("", "bundle-hostile-")
	if err != nil {
		return "", err
	}
	tidy = append(tidy, dir)
	p := filepath.Join(dir, "bundle")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", p, "bundle/cmd/bundle").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return p, nil
})
