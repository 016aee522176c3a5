//go:build unix

package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"

	"bundle/internal/upstream"
	"bundle/manifest"
)

// kills is how often each of the programs is killed: $KILLS, or few.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KILLS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("KILLS=%s is no number of kills", text)
	}
	return n
}

// chance gives random numbers that a failed test names, so that it can be had
// again.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// site is a folder in which bundle runs, and an upstream with a few images.
type site struct {
	dir, program string
	env          []string
	build        []string
	refs         []manifest.Reference
}

func newSite(t *testing.T, images int, layer int64) *site {
	t.Helper()
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: layer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	s := &site{dir: t.TempDir(), program: program(t)}
	s.env = []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "BUNDLE_PASSWORD=x", "NO_COLOR=1"}
	s.build = []string{"build", "--name", "killed", "--version", "1", "--platform", "linux/amd64", "--mirror", "*=" + reg.Addr(),
		"--key", "ci.key", "--lock", "bundle.lock", "--jobs", "3"}
	for i := range images {
		ref, err := manifest.ParseReference(fmt.Sprintf("registry.test/app%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		s.refs = append(s.refs, ref)
		s.build = append(s.build, "--image", ref.String())
	}
	if _, err := reg.Populate(t.Context(), s.refs, []string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	s.must(t, "keygen", "-o", "ci")
	s.must(t, append(s.build, "-o", "reference")...)
	return s
}

func (s *site) command(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// must runs bundle to its end and gives how long that took.
func (s *site) must(t *testing.T, args ...string) time.Duration {
	t.Helper()
	begun := time.Now()
	if cmd, out := s.command(t.Context(), args...); cmd.Run() != nil {
		t.Fatalf("bundle %s:\n%s", strings.Join(args, " "), out)
	}
	return time.Since(begun)
}

// killed runs bundle for a while, and tells whether it was killed.
func (s *site) killed(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	cmd, out := s.command(ctx, args...)
	err := cmd.Run()
	if err == nil || cmd.ProcessState != nil && cmd.ProcessState.Success() {
		return false // it was through just before
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
		t.Fatalf("it failed before it was killed: %v\n%s", err, out)
	}
	return true
}

// A build that is killed at any moment, and again, ends in the same bytes as one
// that nobody disturbed.
func TestKilledBuilds(t *testing.T) {
	s, rnd := newSite(t, 4, 512<<10), chance(t)
	want, err := os.ReadFile(filepath.Join(s.dir, "reference"))
	if err != nil {
		t.Fatal(err)
	}
	args := append(s.build, "-o", "b.tar.zst")
	file := filepath.Join(s.dir, "b.tar.zst")
	whole := s.must(t, args...)
	done, unharmed := 0, 0
	for done < kills(t) {
		_ = os.Remove(file)
		_ = os.Remove(filepath.Join(s.dir, "bundle.lock"))
		for range 1 + rnd.IntN(3) {
			if !s.killed(t, time.Duration(rnd.Int64N(int64(whole)*11/10)), args...) {
				unharmed++
				break
			}
			done++
			if got, err := os.ReadFile(file); err == nil && !bytes.Equal(got, want) {
				t.Fatalf("after %d kills there is a file that is not whole", done)
			}
		}
		s.must(t, args...)
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after %d kills the build ends in other bytes (%v)", done, err)
		}
		for _, left := range []string{".part", ".part.journal"} {
			if _, err := os.Lstat(file + left); err == nil {
				t.Errorf("after %d kills %s is left", done, left)
			}
		}
	}
	t.Logf("%d kills, 0 wrong results; %d builds were faster", done, unharmed)
}

// Signing that is killed at any moment ends in the same bytes, too.
func TestKilledSigning(t *testing.T) {
	s, rnd := newSite(t, 2, 64<<10), chance(t)
	s.must(t, "keygen", "-o", "second")
	before, err := os.ReadFile(filepath.Join(s.dir, "reference"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "b.tar.zst")
	args := []string{"sign", "b.tar.zst", "--key", "second.key"}
	fresh := func() {
		t.Helper()
		if err := os.WriteFile(file, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh()
	whole := s.must(t, args...)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for done < kills(t) {
		fresh()
		// Most of the time goes into opening the key.
		if s.killed(t, whole/2+time.Duration(rnd.Int64N(int64(whole))), args...) {
			done++
		}
		s.must(t, args...)
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after %d kills signing ends in other bytes (%v)", done, err)
		}
		if _, err := os.Lstat(file + ".sign-journal"); err == nil {
			t.Errorf("after %d kills the journal is left", done)
		}
	}
	t.Logf("%d kills, 0 wrong results", done)
}

// A push that is killed at any moment (to a registry that wants whole indexes) leaves nothing wrong in the registry, and
// the next one completes it.
func TestKilledPushes(t *testing.T) {
	s, rnd := newSite(t, 4, 512<<10), chance(t)
	logrus.SetOutput(io.Discard)
	conf := &configuration.Configuration{Storage: configuration.Storage{"inmemory": configuration.Parameters{}}}
	conf.HTTP.Secret = "not a secret"
	conf.Log.Level = "panic"
	var sink *httptest.Server
	var args []string
	fresh := func() {
		if sink != nil {
			sink.Close()
		}
		sink = httptest.NewServer(handlers.NewApp(t.Context(), conf))
		args = []string{"push", "reference", strings.TrimPrefix(sink.URL, "http://") + "/site", "--key", "ci.pub", "--jobs", "2", "--trim-indexes"}
	}
	fresh()
	t.Cleanup(func() { sink.Close() })
	whole := s.must(t, args...)
	// A registry may come at the address of one before it, whose connections
	// are dead.
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	// check pulls what answers, and counts it.
	check := func() (found int) {
		t.Helper()
		for _, ref := range s.refs {
			r, err := name.ParseReference(strings.TrimPrefix(sink.URL, "http://") + "/site/" + ref.Hostless())
			if err != nil {
				t.Fatal(err)
			}
			img, err := remote.Image(r, remote.WithTransport(transport))
			if err != nil {
				continue // not there yet
			}
			found++
			if err := pulled(img); err != nil {
				t.Fatalf("%s is in the registry, and wrong: %v", ref, err)
			}
		}
		return found
	}
	done := 0
	for done < kills(t) {
		fresh()
		for range 1 + rnd.IntN(3) {
			if !s.killed(t, time.Duration(rnd.Int64N(int64(whole)*11/10)), args...) {
				break
			}
			done++
			check()
		}
		s.must(t, args...)
		if n := check(); n != len(s.refs) {
			t.Fatalf("after %d kills %d of %d images are in the registry", done, n, len(s.refs))
		}
	}
	t.Logf("%d kills, 0 wrong results", done)
}

// pulled reads a whole image; the library checks all digests.
func pulled(img v1.Image) error {
	if _, err := img.RawConfigFile(); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
