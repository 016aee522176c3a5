//go:build unix

package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bundle/install/journal"
	"bundle/install/plan"
)

const killEnv = "ENGINE_TEST_CHILD"

// child is what the process to be killed is told.
type child struct {
	Dir string
	// At is the point at which it kills itself; 0 is never.
	At int
	// Find makes its runner a Finder.
	Find       bool
	Redo, Skip []string
}

// TestMain lets the test binary be the process that gets killed.
func TestMain(m *testing.M) {
	if text := os.Getenv(killEnv); text != "" {
		var c child
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			panic(err)
		}
		os.Exit(c.main())
	}
	os.Exit(m.Run())
}

// Exit codes of the child.
const (
	exitFailed  = 1
	exitRefused = 4
	exitNothing = 5 // everything was done
)

func (c child) main() int {
	j, err := journal.Open(filepath.Join(c.Dir, "journal"), journal.Options{})
	if err != nil {
		fmt.Println(err)
		return exitFailed
	}
	k := &killed{at: c.At}
	var r Runner = &hosts{dir: c.Dir, k: k}
	if c.Find {
		r = findingHosts{r.(*hosts)}
	}
	rep, err := Run(context.Background(), sample(), r, Options{
		Journal: j, Redo: c.Redo, Skip: c.Skip, Parallel: 1,
		Hooks: Hooks{
			StepStarted: func(plan.Step, int, int) { k.point() },
			StepDone:    func(plan.Step, error, time.Duration) { k.point() },
			HostDone:    func(Task, Outcome, error, time.Duration) { k.point() },
		},
	})
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		fmt.Println(err)
		return exitRefused
	case err != nil:
		fmt.Println(err)
		return exitFailed
	case rep.Nothing:
		return exitNothing
	}
	return 0
}

// killed kills the process at a point.
type killed struct {
	mu    sync.Mutex
	n, at int
}

func (k *killed) point() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n++; k.n == k.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it is dead
	}
}

// hosts does every task as two files of its host, one after the other, and
// keeps a list of what was begun.
type hosts struct {
	dir string
	k   *killed
}

func (h *hosts) file(t Task, name string) string {
	return filepath.Join(h.dir, "hosts", t.Host, t.Step.ID+"."+name)
}

func (h *hosts) put(t Task, name string) error {
	f := h.file(t, name)
	if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
		return err
	}
	return os.WriteFile(f, []byte(name), 0o600)
}

// attempt is a file that says that an attempt was begun.
func (h *hosts) attempt(t Task) string {
	return filepath.Join(h.dir, fmt.Sprintf("%s@%s.%s", t.Step.ID, t.Host, t.Attempt))
}

// count adds a line to the list of all actions.
func (h *hosts) count(t Task) error {
	f, err := os.OpenFile(filepath.Join(h.dir, "actions"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s@%s\n", t.Step.ID, t.Host)
	return errors.Join(err, f.Close())
}

func (h *hosts) Run(_ context.Context, t Task) (Outcome, error) {
	h.k.point() // nothing done
	err := errors.Join(h.count(t), os.WriteFile(h.attempt(t), nil, 0o600))
	h.k.point() // begun
	err = errors.Join(err, h.put(t, "first"))
	h.k.point() // half done
	err = errors.Join(err, h.put(t, "second"))
	h.k.point() // all done, nobody knows
	return Outcome{Changed: true}, err
}

// findingHosts looks at the files.
type findingHosts struct{ *hosts }

func (h findingHosts) Find(_ context.Context, t Task) (Fate, Outcome, error) {
	_, begun := os.Stat(h.attempt(t))
	_, half := os.Stat(h.file(t, "second"))
	switch {
	case begun != nil:
		return Never, Outcome{}, nil
	case half == nil:
		return Ended, Outcome{}, nil
	}
	return Unknown, Outcome{}, nil
}

// start runs the child. The code is -1 where it was killed.
func (c child) start(t *testing.T) (code int, said string) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// result is what is on all hosts in the end.
func result(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	root := filepath.Join(dir, "hosts")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, p)
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// Killed at every point of an install, it is finished by the next run, with
// the same result, and what removes data was done once.
func TestKilledAtEveryPoint(t *testing.T) {
	want := ""
	for _, find := range []bool{false, true} {
		asked := 0
		for at := 0; ; at++ {
			c := child{Dir: t.TempDir(), At: at, Find: find}
			code, said := c.start(t)
			if at == 0 {
				if code != 0 {
					t.Fatalf("the run that is not killed ends with %d: %s", code, said)
				}
				want = result(t, c.Dir)
				continue
			}
			if code == 0 {
				if at < 40 {
					t.Fatalf("there were only %d points to kill it at", at)
				}
				break
			}
			if code != -1 {
				t.Fatalf("point %d: it ends with %d instead of being killed: %s", at, code, said)
			}
			c.At = 0
			for try := 0; code != 0 && code != exitNothing; try++ {
				if try == 4 {
					t.Fatalf("point %d: it is never done: %s", at, said)
				}
				code, said = c.start(t)
				switch code {
				case exitRefused:
					// A person looks at the host and answers.
					asked++
					c.Redo, c.Skip = nil, nil
					if wiped(t, c.Dir, said) {
						c.Skip = []string{"wipe"}
					} else {
						c.Redo = []string{"wipe"}
					}
				case exitFailed:
					t.Fatalf("point %d: %s", at, said)
				}
			}
			if got := result(t, c.Dir); got != want && !halfWiped(c.Dir) {
				t.Errorf("point %d: the result is\n%s\nwant\n%s", at, got, want)
			}
			actions, err := os.ReadFile(filepath.Join(c.Dir, "actions"))
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"h1", "h2"} {
				if n := bytes.Count(actions, []byte("wipe@"+host)); n > 1 {
					t.Errorf("point %d: data was removed %d times on %s", at, n, host)
				}
			}
			if code, said = (child{Dir: c.Dir}).start(t); code != exitNothing {
				t.Errorf("point %d: a run of a finished install ends with %d: %s", at, code, said)
			}
		}
		if find && asked > 4 || !find && asked < 2 {
			t.Errorf("find %v: a person was asked %d times", find, asked)
		}
	}
}

// wiped tells whether the host that an error names had its data removed, in
// whole or in part.
func wiped(t *testing.T, dir, said string) bool {
	t.Helper()
	for _, host := range []string{"h1", "h2"} {
		if strings.Contains(said, "interrupted on "+host) {
			data, _ := os.ReadFile(filepath.Join(dir, "actions"))
			return bytes.Contains(data, []byte("wipe@"+host))
		}
	}
	t.Fatalf("the refusal names no host: %s", said)
	return false
}

// halfWiped tells whether a person skipped a step that had got half way.
func halfWiped(dir string) bool {
	for _, host := range []string{"h1", "h2"} {
		if _, err := os.Stat(filepath.Join(dir, "hosts", host, "wipe.second")); err != nil {
			return true
		}
	}
	return false
}
