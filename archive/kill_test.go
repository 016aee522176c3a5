package archive

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const killEnv = "ARCHIVE_TEST_BUILD"

// killSample is what the process to be killed builds: the same every time.
func killSample(t testing.TB) *sample {
	blobs := [][]byte{noise("large", rawFrame+4*rawChunk), text("packed", 3*packFrame)}
	for i := range 40 {
		blobs = append(blobs, noise(fmt.Sprint(i), 3000*i), text(fmt.Sprint(i), 4000+i))
	}
	return newSample(t, []byte(`[]`), blobs...)
}

// TestMain lets the test binary be the process that gets killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(killEnv); path != "" {
		if err := killChild(path); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// telling says a line for each read, so that the parent can choose its moment.
type telling struct{ io.Reader }

func (r telling) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	fmt.Println("read", n)
	return n, err
}

func killChild(path string) error {
	s := killSample(&testing.T{})
	w, err := Create(path, s.plan, WriterOptions{SyncBytes: 1 << 20})
	if err != nil {
		return err
	}
	fmt.Println("resumed", w.Resumed())
	var wg sync.WaitGroup
	list := s.plan.Blobs()
	errs := make([]error, 3)
	for g := range errs {
		wg.Go(func() {
			for i := g; i < len(list) && errs[g] == nil; i += len(errs) {
				d := list[i].Digest
				errs[g] = w.WriteBlob(context.Background(), d, func(_ context.Context, off int64) (io.ReadCloser, error) {
					return io.NopCloser(telling{bytes.NewReader(s.content[d][off:])}), nil
				})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	fmt.Println("commit")
	return w.Commit([]byte("signature"))
}

// A build that is killed (SIGKILL) again and again, at any moment, makes the
// same bytes in the end, and what was done before is not done again.
func TestKilledBuildGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	s := killSample(t)
	want := readFile(t, s.write(t, []byte("signature")))
	path := filepath.Join(t.TempDir(), "b")
	rnd := rand.New(rand.NewPCG(7, 7))
	kills, most := 0, int64(0)
	for run := 0; ; run++ {
		if run > 60 {
			t.Fatal("the build never ends")
		}
		lines := 1 + rnd.IntN(250)
		if run >= 20 {
			lines = 1 << 30 // killed often enough
		}
		done, resumed := killOnce(t, path, lines)
		if resumed > most {
			most = resumed
		}
		if done {
			break
		}
		kills++
		if _, err := os.Stat(path); err == nil {
			// Killed after the rename: whole, and only the journal is left.
			break
		}
	}
	if !bytes.Equal(readFile(t, path), want) {
		t.Errorf("after %d kills the file differs from one that was made in one go", kills)
	}
	if most == 0 {
		t.Error("no run went on with what an earlier one had left")
	}
	t.Logf("%d kills, at most %d bytes resumed", kills, most)
}

// killOnce starts a build and kills it after it said so many lines.
func killOnce(t *testing.T, path string, lines int) (done bool, resumed int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	killed := false
	for n := 0; sc.Scan(); n++ {
		if s, ok := strings.CutPrefix(sc.Text(), "resumed "); ok {
			resumed, _ = strconv.ParseInt(s, 10, 64)
		}
		if strings.HasPrefix(sc.Text(), "error ") {
			t.Errorf("the build failed: %s", sc.Text())
		}
		if n >= lines && !killed {
			killed = true
			_ = cmd.Process.Kill()
		}
	}
	return cmd.Wait() == nil, resumed
}
