package journal

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const killEnv = "JOURNAL_TEST_DIR"

// TestMain lets the test binary be the process that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		killChild(dir)
	}
	os.Exit(m.Run())
}

// killChild appends without end and says a number for each record that is
// written down.
func killChild(dir string) {
	j, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("begin", len(j.Records()))
	if len(j.Records()) == 0 {
		if err := j.Append(started(Install, "a")); err != nil {
			os.Exit(1)
		}
		fmt.Println(1)
	}
	for {
		r := stepRecord(StepDone, "a", "h1")
		r.Step.Detail = strings.Repeat("x", rand.IntN(maxText))
		if err := j.Append(r); err != nil {
			os.Exit(1)
		}
		fmt.Println(len(j.Records()))
	}
}

// Whatever was said to be written is there after kill -9, and the next
// process is not locked out.
func TestKilledProcessLosesNothingItSaidItWrote(t *testing.T) {
	dir := t.TempDir()
	had := 0
	for round := range 8 {
		cmd := exec.CommandContext(context.Background(), os.Args[0])
		cmd.Env = append(os.Environ(), killEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said, lines := had, bufio.NewScanner(out)
		for n := 0; n < 10+7*round && lines.Scan(); n++ {
			var begin int
			if _, err := fmt.Sscanf(lines.Text(), "begin %d", &begin); err == nil {
				if begin < had {
					t.Fatalf("round %d begins with %d records of %d", round, begin, had)
				}
				continue
			}
			if _, err := fmt.Sscan(lines.Text(), &said); err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
		records, err := Read(dir)
		if err != nil || len(records) < said {
			t.Fatalf("round %d: %d records of %d are left: %v", round, len(records), said, err)
		}
		had = len(records)
	}
	mustOpen(t, dir, Options{})
}
