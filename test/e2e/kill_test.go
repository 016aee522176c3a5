package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// kills is how often an install is killed: KILLS, or 10.
func kills(t *testing.T) int {
	t.Helper()
	v := os.Getenv("KILLS")
	if v == "" {
		return 10
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("KILLS=%s is no number", v)
	}
	return n
}

// Whenever the installer dies, the same command goes on where it was, and
// what it had done to data before is not done again.
func TestInstallerKilledGoesOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1)
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	killed := 0
	guarded := map[*Host]bool{}
	for killed < kills(t) {
		s.Log.Reset()
		cmd := s.Command(t.Context(), s.installArgs()...)
		steps := &counter{}
		cmd.Stderr = io.MultiWriter(s.Log, steps)
		if err := os.MkdirAll(s.home(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		// In the first few steps that it begins, or before any.
		first, delay := random.Int64N(5), time.Duration(random.Int64N(int64(3*time.Second)))
		finished, err := steps.wait(first, delay, ended)
		if finished {
			if err != nil {
				t.Fatalf("after %d kills the install fails: %v\n%s", killed, err, s.Log)
			}
			t.Logf("done after %d kills", killed)
			break
		}
		_ = cmd.Process.Kill()
		<-ended
		killed++
		t.Logf("killed %s after step banner %d, at: %s", delay.Round(time.Second/100), first, tail(strings.TrimSpace(s.Log.String()), 1))
		// The plugin that empties the data folder ends with this file. From
		// then on there is data of somebody in it.
		for _, h := range s.LAN.Hosts {
			if _, err := os.Stat(h.Path("/var/lib/cnstackce/data/checker")); err == nil && !guarded[h] {
				guarded[h] = true
				if err := os.WriteFile(h.Path("/var/lib/cnstackce/data/precious"), []byte("data"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	install(t, s)
	works(t, s)
	uiAnswers(t, s)
	nothingToDo(t, s)
	for h := range guarded {
		if _, err := os.Stat(h.Path("/var/lib/cnstackce/data/precious")); err != nil {
			t.Errorf("data on %s was removed by a resumed install: %v", h.Name, err)
		}
	}
	if len(guarded) == 0 {
		t.Log("no kill came after the data folders were made")
	}
}

// counter counts the steps that a running install says it begins.
type counter struct{ steps atomic.Int64 }

func (c *counter) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if bytes.HasPrefix(line, []byte("[")) {
			c.steps.Add(1)
		}
	}
	return len(b), nil
}

// wait returns when n steps have begun and then some time has passed, or with
// true when the program has ended by itself.
func (c *counter) wait(n int64, then time.Duration, ended chan error) (bool, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for c.steps.Load() < n {
		select {
		case err := <-ended:
			return true, err
		case <-tick.C:
		}
	}
	select {
	case err := <-ended:
		return true, err
	case <-time.After(then):
		return false, nil
	}
}
