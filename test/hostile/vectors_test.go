package hostile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"bundle/test/hostile/forge"
)

// corpus is the folder of the vectors.
const corpus = "../../testdata/vectors"

// cost is what a vector may cost: make hostile has the machine to itself, and
// elsewhere other tests run beside this one.
func cost() (peakKiB int64, took time.Duration) {
	if os.Getenv("HOSTILE") == "" {
		return 128 << 10, 40 * time.Second
	}
	return 64 << 10, 2 * time.Second
}

func unpacked(t *testing.T, p []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	p, err = io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The corpus that is published is what the generator makes, so that who reads
// the generator knows what is in it.
func TestCorpusIsWhatTheGeneratorMakes(t *testing.T) {
	files, err := forge.Files()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()] == nil && e.Name() != "README.md" {
			t.Errorf("nothing makes %s; run go run ./test/hostile/mkvectors testdata/vectors", e.Name())
		}
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(corpus, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasSuffix(name, ".gz") { // whose bytes are the library's
			got, want = unpacked(t, got), unpacked(t, want)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator makes; run go run ./test/hostile/mkvectors testdata/vectors", name)
		}
	}
}

// vectors reads the published list and unpacks the files.
func vectors(t *testing.T) (list []forge.Vector, dir string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(corpus, forge.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, v := range list {
		p, err := os.ReadFile(filepath.Join(corpus, v.File))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, v.Name), unpacked(t, p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) < 200 {
		t.Fatalf("the corpus has %d vectors only", len(list))
	}
	return list, dir
}

var crash = regexp.MustCompile(`(?m)^(panic:|fatal error:|goroutine \d+ \[|runtime error|SIG[A-Z]+:)|runtime error:`)

// sane makes sure that a program ended by its own will and said why.
func sane(t *testing.T, how string, o outcome) {
	t.Helper()
	if crash.MatchString(o.Stderr) || crash.MatchString(o.Stdout) {
		t.Errorf("%s crashes:\n%s", how, o.Stderr)
	}
	if !slices.Contains([]int{0, 1, 2, 3, 4, 5}, o.Exit) {
		t.Errorf("%s ends with exit code %d", how, o.Exit)
	}
	if o.Exit != 0 && strings.TrimSpace(o.Stderr) == "" && strings.TrimSpace(o.Stdout) == "" {
		t.Errorf("%s ends with exit code %d and no word", how, o.Exit)
	}
	for _, c := range o.Stderr + o.Stdout {
		if c < ' ' && c != '\n' && c != '\t' {
			t.Errorf("%s prints the control character %q", how, c)
			break
		}
	}
}

// Every vector is refused with its exit code, from a file and from a pipe, in
// little time and memory.
func TestVerifyRefusesEveryVector(t *testing.T) {
	list, dir := vectors(t)
	key := filepath.Join(corpus, forge.KeyName)
	run(t, nil, "version") // builds it, and brings it into memory
	maxPeakKiB, maxTime := cost()
	var worst, sum int64
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			file := filepath.Join(dir, v.Name)
			args := []string{"verify", file, "--key", key}
			for _, w := range v.With {
				args = append(args, filepath.Join(dir, w))
			}
			o := run(t, nil, args...)
			sane(t, "verify", o)
			if o.Exit != v.Exit {
				t.Errorf("%s, %s: exit %d, want %d\n%s%s", v.Section, v.Rule, o.Exit, v.Exit, o.Stdout, o.Stderr)
			}
			if o.PeakKiB > maxPeakKiB || o.Took > maxTime {
				t.Errorf("verify takes %d KiB and %v", o.PeakKiB, o.Took)
			}
			worst, sum = max(worst, o.PeakKiB), sum+o.PeakKiB
			if len(v.With) > 0 || strings.HasPrefix(v.Section, "Volumes") {
				return // one pipe is one file
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s := run(t, f, "verify", "-", "--key", key)
			sane(t, "verify -", s)
			want := v.Exit
			if v.StreamExit != 0 {
				want = v.StreamExit
			}
			if s.Exit != want {
				t.Errorf("%s, %s: exit %d from a pipe, want %d\n%s%s", v.Section, v.Rule, s.Exit, want, s.Stdout, s.Stderr)
			}
			if s.PeakKiB > maxPeakKiB || s.Took > maxTime {
				t.Errorf("verify from a pipe takes %d KiB and %v", s.PeakKiB, s.Took)
			}
			worst = max(worst, s.PeakKiB)
		})
	}
	t.Logf("%d vectors, peak at most %d KiB, %d on average", len(list), worst, sum/int64(len(list)))
}

// No other command does anything with a vector that it should not.
func TestEveryVectorInEveryCommand(t *testing.T) {
	if os.Getenv("HOSTILE") == "" {
		t.Skip("some minutes; make hostile runs it")
	}
	list, dir := vectors(t)
	program(t)
	key := filepath.Join(corpus, forge.KeyName)
	sink := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(sink.Close)
	addr := strings.TrimPrefix(sink.URL, "http://")
	good := map[string]bool{}
	for _, v := range list {
		good[v.Name] = v.Exit == 0 && len(v.With) == 0
	}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, v.Name)
			for _, args := range [][]string{
				{"inspect", file}, {"inspect", "-o", "json", file}, {"images", file}, {"files", file}, {"steps", file},
				{"push", file, addr + "/x", "--key", key, "--dry-run"},
				{"verify", file, "--insecure-skip-signature", "-o", "json"},
			} {
				o := run(t, nil, args...)
				sane(t, strings.Join(args[:1], " "), o)
				if good[v.Name] && o.Exit != 0 {
					t.Errorf("%v: exit %d for a good bundle\n%s", args, o.Exit, o.Stderr)
				}
				if args[len(args)-1] == "json" && !json.Valid([]byte(o.Stdout)) {
					t.Errorf("%v prints no JSON: %s", args, o.Stdout)
				}
			}
			if strings.HasPrefix(v.Name, "header-pax-") && v.Name != "header-pax-needless" && v.Name != "header-pax-path" {
				return // they hold 8 GiB of zeros, which these would give out
			}
			extracted(t, file, v)
			served(t, file, key)
		})
	}
	t.Run("outside", func(t *testing.T) {
		for _, p := range []string{"/tmp/bundle-vector-escaped", "/tmp/escaped"} {
			if _, err := os.Lstat(p); err == nil {
				t.Errorf("%s was made", p)
			}
		}
	})
}

// extracted makes sure that extract writes below its folder, and under the name
// of a digest nothing else than its content.
func extracted(t *testing.T, file string, v forge.Vector) {
	t.Helper()
	around := t.TempDir()
	to := filepath.Join(around, "a", "b", "to")
	o := run(t, nil, "extract", file, "--to", to)
	sane(t, "extract", o)
	if v.Exit == 0 && len(v.With) == 0 && o.Exit != 0 {
		t.Errorf("extract: exit %d for a good bundle\n%s", o.Exit, o.Stderr)
	}
	err := filepath.WalkDir(around, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(to, p)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return nil
		case !filepath.IsLocal(rel), !d.Type().IsRegular():
			t.Errorf("extract made %s (%v)", rel, d.Type())
		case strings.HasPrefix(rel, "blobs/sha256/") && len(d.Name()) == 64:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != d.Name() {
				t.Errorf("extract made %s with other content", rel)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

var blobName = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// served makes sure that a registry over the file does not start, or gives out
// nothing that is not what its digest says.
func served(t *testing.T, file, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), "serve", file, "--addr", "127.0.0.1:0", "--key", key, "-o", "json")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadBytes('\n')
	var at struct{ URL string }
	if json.Unmarshal(line, &at) == nil && at.URL != "" {
		drain(t, at.URL)
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	_, _ = io.Copy(io.Discard, out)
	err = cmd.Wait()
	if crash.MatchString(stderr.String()) {
		t.Errorf("serve crashes:\n%s", stderr.String())
	}
	if at.URL != "" && err != nil {
		t.Errorf("serve: %v\n%s", err, stderr.String())
	}
	if at.URL == "" && !slices.Contains([]int{1, 2, 3, 4, 5}, cmd.ProcessState.ExitCode()) {
		t.Errorf("serve ends with exit code %d\n%s", cmd.ProcessState.ExitCode(), stderr.String())
	}
}

// drain reads all that a registry has.
func drain(t *testing.T, url string) {
	t.Helper()
	read := func(path string) ([]byte, bool) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Error(err)
			return nil, false
		}
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return body, err == nil && resp.StatusCode == http.StatusOK
	}
	for _, repo := range []string{"registry.example/app", "registry.example/other", "registry.example/many", "registry.example/long", "app", "bundle/vectors"} {
		for _, tag := range []string{"1", "1.0.0"} {
			todo := []string{"/v2/" + repo + "/manifests/" + tag}
			seen := map[string]bool{}
			for len(todo) > 0 {
				path := todo[0]
				todo = todo[1:]
				if seen[path] {
					continue
				}
				seen[path] = true
				body, ok := read(path)
				if !ok {
					continue
				}
				if _, d, found := strings.Cut(path, "sha256:"); found {
					if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != d {
						t.Errorf("the registry gives %d other bytes for %s", len(body), path)
					}
				}
				if strings.Contains(path, "/manifests/") {
					for _, d := range blobName.FindAllString(string(body), 100) {
						todo = append(todo, fmt.Sprintf("/v2/%s/blobs/%s", repo, d), fmt.Sprintf("/v2/%s/manifests/%s", repo, d))
					}
				}
			}
		}
	}
}
