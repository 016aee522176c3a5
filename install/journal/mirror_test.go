package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bundle/install/host"
)

// memMirror keeps its copy in memory.
type memMirror struct {
	mu   sync.Mutex
	data []byte
	err  error
}

func (m *memMirror) Name() string { return "10.0.0.1" }

func (m *memMirror) Read(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(m.data), m.err
}

func (m *memMirror) Write(_ context.Context, off int64, before string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if off > int64(len(m.data)) || sumOf(m.data[:off]) != before {
		return fmt.Errorf("x: %w", ErrDiverged)
	}
	m.data = append(m.data[:off], data...)
	return nil
}

func (m *memMirror) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func attach(t *testing.T, j *Journal, m Mirror) {
	t.Helper()
	if err := j.Attach(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	j.Release()
}

func (m *memMirror) Remove(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = nil
	return nil
}

// A run that ends in preflight leaves no trace on the first master.
func TestMirrorIsNotWrittenBeforeItIsReleased(t *testing.T) {
	m := &memMirror{}
	j := mustOpen(t, t.TempDir(), Options{})
	if err := j.Attach(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	add(t, j, sample()...)
	if err := j.Flush(t.Context()); err != nil || m.data != nil {
		t.Errorf("the mirror has %d bytes (%v)", len(m.data), err)
	}
	j.Release()
	if err := j.Flush(t.Context()); err != nil || len(m.data) == 0 {
		t.Errorf("the mirror has %d bytes (%v)", len(m.data), err)
	}
	if err := j.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, j, started(Install, "a"))
	if err := j.Flush(t.Context()); err != nil || m.data != nil {
		t.Errorf("after it was removed the mirror has %d bytes (%v)", len(m.data), err)
	}
}

// A laptop is lost: another one goes on from what the master knows.
func TestNewMachineTakesOverTheMirror(t *testing.T) {
	m := &memMirror{}
	first := mustOpen(t, t.TempDir(), Options{})
	attach(t, first, m)
	add(t, first, sample()...)
	first.Close(t.Context())

	dir := t.TempDir()
	second := mustOpen(t, dir, Options{})
	attach(t, second, m)
	if n := len(second.Records()); n != 9 {
		t.Fatalf("the new machine knows %d records, want 9", n)
	}
	add(t, second, stepRecord(StepDone, "b", "h2"))
	if err := second.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content0(t, dir), m.data) {
		t.Error("the mirror is not what the journal is")
	}

	// And the first one comes back.
	third := mustOpen(t, filepath.Dir(first.Path()), Options{})
	attach(t, third, m)
	if n := len(third.Records()); n != 10 {
		t.Errorf("the old machine knows %d records, want 10", n)
	}
}

func TestMirrorThatIsBehindCatchesUp(t *testing.T) {
	m := &memMirror{}
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	add(t, j, sample()...)
	j.Close(t.Context())
	whole := content0(t, dir)
	m.data = bytes.Clone(whole[:bytes.IndexByte(whole, '\n')+30]) // and a torn line
	j = mustOpen(t, dir, Options{})
	attach(t, j, m)
	if err := j.Flush(t.Context()); err != nil || !bytes.Equal(m.data, whole) {
		t.Errorf("the mirror has %d of %d bytes: %v", len(m.data), len(whole), err)
	}
}

func TestTwoStoriesAreAnError(t *testing.T) {
	m := &memMirror{}
	a := mustOpen(t, t.TempDir(), Options{})
	attach(t, a, m)
	add(t, a, sample()...)
	a.Close(t.Context())
	b := mustOpen(t, t.TempDir(), Options{})
	add(t, b, sample()[0], stepRecord(StepStarted, "other", "h1"))
	b.Close(t.Context())
	b = mustOpen(t, filepath.Dir(b.Path()), Options{})
	if err := b.Attach(t.Context(), m); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("got %v", err)
	}
}

// The install does not stop because the master is away for a moment.
func TestMirrorThatFailsIsToldOnceAndCatchesUp(t *testing.T) {
	m := &memMirror{}
	var told []error
	var mu sync.Mutex
	j := mustOpen(t, t.TempDir(), Options{MirrorFailed: func(err error) { mu.Lock(); told = append(told, err); mu.Unlock() }})
	attach(t, j, m)
	m.fail(errors.New("no route to host"))
	add(t, j, sample()...)
	if err := j.Flush(t.Context()); err == nil {
		t.Error("nobody says that the mirror is behind")
	}
	j.Flush(t.Context())
	mu.Lock()
	if len(told) != 1 {
		t.Errorf("told %d times: %v", len(told), told)
	}
	mu.Unlock()
	m.fail(nil)
	if err := j.Flush(t.Context()); err != nil || len(m.data) == 0 {
		t.Errorf("the mirror has %d bytes: %v", len(m.data), err)
	}
}

// Two operators install one cluster from two machines.
func TestSomebodyElseOnTheMirrorIsTold(t *testing.T) {
	m := &memMirror{}
	a := mustOpen(t, t.TempDir(), Options{})
	attach(t, a, m)
	b := mustOpen(t, t.TempDir(), Options{})
	attach(t, b, m)
	add(t, a, started(Install, "a"))
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, a, stepRecord(StepStarted, "a", "h1"))
	a.Flush(t.Context())
	m.mu.Lock()
	m.data = append([]byte("x"), m.data...) // b's lines, say
	m.mu.Unlock()
	add(t, a, stepRecord(StepDone, "a", "h1"))
	if err := a.Flush(t.Context()); !errors.Is(err, ErrDiverged) {
		t.Errorf("got %v", err)
	}
}

func TestAttachAfterTheFirstRecordIsRefused(t *testing.T) {
	j := mustOpen(t, t.TempDir(), Options{})
	add(t, j, started(Install))
	if err := j.Attach(t.Context(), &memMirror{}); err == nil {
		t.Error("it would tell two stories")
	}
}

// here runs scripts with bash, below a folder of its own.
type here struct {
	host.Host // the rest is not used
	root      string
}

func (h here) Name() string { return "10.0.0.1" }

func (h here) Run(ctx context.Context, c host.Command) error {
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Args = []string{"bash", "-c", c.Script}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.Env = os.Environ()
	for k, v := range c.Env {
		if k == "DIR" {
			v = h.root + v
		}
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd.Run()
}

func (h here) ReadFile(_ context.Context, path string, _ int64) ([]byte, error) {
	return os.ReadFile(h.root + path)
}

func TestMirrorOnAHost(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash here")
	}
	h := here{root: t.TempDir()}
	m, err := OnHost(h, "my-cluster")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	attach(t, j, m)
	for _, r := range sample() {
		add(t, j, r)
		if err := j.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := content0(t, dir)
	file := filepath.Join(h.root, HostDir, "my-cluster", FileName)
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the mirror holds %q (%v)", got, err)
	}
	info, _ := os.Stat(file)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the mirror: %v", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "incoming*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	off := int64(bytes.IndexByte(want, '\n') + 1)
	before := sumOf(want[:off])
	write := func(off int64, before string, data []byte) error { return m.Write(t.Context(), off, before, data) }
	put := func(data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A try that broke half way is finished; one that got through is repeated.
	for _, n := range []int{int(off), int(off) + 1, int(off) + 700, len(want)} {
		put(want[:n])
		if err := write(off, before, want[off:]); err != nil {
			t.Errorf("%d bytes there: %v", n, err)
		}
		if got, _ := os.ReadFile(file); !bytes.Equal(got, want) {
			t.Errorf("%d bytes there: wrong result", n)
		}
	}
	// A torn line that is not ours goes.
	put(append(bytes.Clone(want[:off]), `{"half`...))
	if err := write(off, before, want[off:]); err != nil {
		t.Error(err)
	}
	// Somebody else's lines stay.
	for name, data := range map[string][]byte{
		"more lines":    append(bytes.Clone(want), "x\n"...),
		"other lines":   append(bytes.Clone(want[:off]), "x\ny\n"...),
		"other start":   append([]byte("x"), want[1:]...),
		"less than off": want[:off-1],
	} {
		put(data)
		if err := write(off, before, want[off:]); !errors.Is(err, ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(file); !bytes.Equal(got, data) {
			t.Errorf("%s: it was touched", name)
		}
	}
	put(want)
	if err := m.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(h.root + "/*/*/*"); len(left) > 0 {
		t.Errorf("removed, and there is still %v", left)
	}
	if err := m.Remove(t.Context()); err != nil {
		t.Errorf("removed again: %v", err)
	}
	if err := os.MkdirAll(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := write(0, sumOf(nil), want); err == nil || errors.Is(err, ErrDiverged) {
		t.Errorf("a mirror that cannot be written: %v", err)
	}
	if _, err := OnHost(h, "../x"); err == nil {
		t.Error("a name that leaves the folder")
	}
}
