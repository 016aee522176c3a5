package hostile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// clients pull at once.
const clients = 64

// TestSoak lets many clients pull random parts of random blobs for $DURATION. No
// byte may be another than it has to be, and the server's memory must not grow.
func TestSoak(t *testing.T) {
	if os.Getenv("DURATION") == "" {
		t.Skip("minutes; make soak runs it")
	}
	duration, err := time.ParseDuration(os.Getenv("DURATION"))
	if err != nil || duration < 10*time.Second {
		t.Fatalf("DURATION=%s is no time of ten seconds or more", os.Getenv("DURATION"))
	}
	s := newSite(t, 8, 6<<20)
	seed := chance(t)
	cmd, _ := s.command(context.Background(), "serve", "reference", "--addr", "127.0.0.1:0", "--key", "ci.pub", "-o", "json", "--log-level", "error")
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ends with %v", err)
		}
	}()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at struct{ URL string }
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatal(err)
	}
	blobs := soakBlobs(t, s, at.URL)

	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	tr := &http.Transport{MaxIdleConnsPerHost: clients}
	defer tr.CloseIdleConnections()
	var pulls, sum, wrong atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		rnd := rand.New(rand.NewPCG(seed.Uint64(), seed.Uint64()))
		wg.Go(func() {
			for ctx.Err() == nil {
				b := blobs[rnd.IntN(len(blobs))]
				n, err := b.pull(ctx, tr, rnd)
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					if wrong.Add(1) < 10 {
						t.Error(err)
					}
				}
				pulls.Add(1)
				sum.Add(n)
			}
		})
	}
	var rss []int64
	tick := time.NewTicker(duration / 60)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			rss = append(rss, residentKiB(t, cmd.Process.Pid))
		}
	}
	wg.Wait()
	// The first fifth is for growing up.
	rest := rss[len(rss)/5:]
	half := len(rest) / 2
	early, late := mean(rest[:half]), mean(rest[half:])
	t.Logf("%v, %d clients: %d pulls, %d MiB, %d wrong; memory %d KiB early, %d KiB late, %d KiB at most",
		duration, clients, pulls.Load(), sum.Load()>>20, wrong.Load(), early, late, most(rss))
	if wrong.Load() > 0 || pulls.Load() == 0 {
		t.Errorf("%d of %d pulls were wrong", wrong.Load(), pulls.Load())
	}
	if late > early+early/10 {
		t.Errorf("the server's memory grows: %d KiB, later %d KiB", early, late)
	}
}

type soakBlob struct {
	url     string
	content []byte
}

// pull gets a random part of a blob, or all of it.
func (b soakBlob) pull(ctx context.Context, tr *http.Transport, rnd *rand.Rand) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return 0, err
	}
	want := b.content
	if rnd.IntN(4) > 0 {
		from := rnd.IntN(len(want))
		n := 1 + rnd.IntN(min(len(want)-from, 1<<(1+rnd.IntN(21))))
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+n-1))
		want = want[from : from+n]
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var got bytes.Buffer
	n, err := got.ReadFrom(resp.Body)
	if err == nil && !bytes.Equal(got.Bytes(), want) {
		err = fmt.Errorf("%s %s: status %d and %d other bytes", b.url, req.Header.Get("Range"), resp.StatusCode, n)
	}
	return n, err
}

// soakBlobs pulls every blob of every image once, and checks its digest.
func soakBlobs(t *testing.T, s *site, url string) []soakBlob {
	t.Helper()
	get := func(path string) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			return nil
		}
		return body
	}
	var blobs []soakBlob
	seen := map[string]bool{}
	for _, ref := range s.refs {
		todo := []string{"/v2/" + ref.Name() + "/manifests/" + ref.Tag}
		for len(todo) > 0 {
			body := get(todo[0])
			todo = todo[1:]
			for _, d := range blobName.FindAllString(string(body), -1) {
				if seen[d] {
					continue
				}
				seen[d] = true
				path := "/v2/" + ref.Name() + "/blobs/" + d
				content := get(path)
				if sum := sha256.Sum256(content); len(content) == 0 || "sha256:"+hex.EncodeToString(sum[:]) != d {
					todo = append(todo, "/v2/"+ref.Name()+"/manifests/"+d)
					continue
				}
				blobs = append(blobs, soakBlob{url + path, content})
				todo = append(todo, "/v2/"+ref.Name()+"/manifests/"+d)
			}
		}
	}
	if len(blobs) < 10 {
		t.Fatalf("only %d blobs to pull", len(blobs))
	}
	return blobs
}

func residentKiB(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			return n
		}
	}
	t.Fatal("the server has no memory")
	return 0
}

func mean(list []int64) int64 {
	var sum int64
	for _, n := range list {
		sum += n
	}
	return sum / int64(max(len(list), 1))
}

func most(list []int64) (n int64) {
	for _, x := range list {
		n = max(n, x)
	}
	return n
}
