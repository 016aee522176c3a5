package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"bundle/internal/upstream"
	"bundle/manifest/imagelist"

	"bundle/manifest"
)

// Where things of the checkout are, seen from this folder.
const (
	base    = "../../testdata/ackdistro"
	product = "../../testdata/cnstack-ce/charts/build-cnstack-ce"
)

var fix struct {
	dir, program string
	once         sync.Once
	err          error
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "web-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		fix.dir = dir
		for name, value := range map[string]string{"BUNDLE_PASSWORD": "web", "LANG": "C", "LC_ALL": "C", "XDG_CACHE_HOME": filepath.Join(dir, "cache"), "XDG_STATE_HOME": filepath.Join(dir, "state")} {
			if err := os.Setenv(name, value); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

// bundles gives the folder with the CNStack stand-in and its keys, made once
// by the program itself from a registry on loopback.
func bundles(t *testing.T) string {
	t.Helper()
	fix.once.Do(func() { fix.err = build(t.Context()) })
	if fix.err != nil {
		t.Fatal(fix.err)
	}
	return fix.dir
}

func build(ctx context.Context) error {
	if fix.program = os.Getenv("BUNDLE"); fix.program == "" {
		fix.program = filepath.Join(fix.dir, "bundle")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", fix.program, "./cmd/bundle")
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	var refs []manifest.Reference
	for _, p := range []string{base + "/imageList", product + "/imageList"} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		entries, err := imagelist.Parse(p, f)
		f.Close()
		if err != nil {
			return err
		}
		for _, e := range entries {
			refs = append(refs, e.Ref)
		}
	}
	// Images of two sizes, so that areas have something to tell apart.
	var mirrors []string
	for _, u := range []struct {
		host  string
		layer int64
	}{{"*", 180_000}, {"ack-agility-registry.cn-shanghai.cr.aliyuncs.com", 700_000}} {
		r, err := upstream.Start(ctx, upstream.Options{LayerBytes: u.layer})
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := r.Populate(ctx, refs, []string{"linux/amd64", "linux/arm64"}); err != nil {
			return err
		}
		mirrors = append(mirrors, "--mirror", u.host+"="+r.Addr())
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"keygen", "-o", "ci"},
		append([]string{"build", filepath.Join(root, base), "--name", "ackdistro", "--version", "v1.20.4-ack-2", "--dialect", "0.5", "--platform", "linux/amd64", "--key", "ci.key"}, mirrors...),
		append([]string{"build", filepath.Join(root, product), "--name", "cnstack-ce", "--version", "1.1.0", "--from", "bundle:ackdistro-v1.20.4-ack-2.tar.zst", "--platform", "linux/amd64", "--key", "ci.key"}, mirrors...),
	} {
		cmd := exec.CommandContext(ctx, fix.program, args...)
		cmd.Dir = fix.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("bundle %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// serve runs `bundle serve` until the test ends and gives its URL.
func serve(t *testing.T, flags ...string) string {
	t.Helper()
	cmd := exec.Command(fix.program, append([]string{"serve", "cnstack-ce-1.1.0.tar.zst", "--key", "ci.pub", "--addr", "127.0.0.1:0", "-o", "json"}, flags...)...)
	cmd.Dir = fix.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("bundle serve said nothing: %v\n%s", err, stderr.String())
	}
	var ready struct{ URL string }
	must(t, json.Unmarshal(line, &ready))
	return ready.URL
}

// htpasswd is a file with one user.
func htpasswd(t *testing.T, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	p := filepath.Join(t.TempDir(), "users")
	must(t, os.WriteFile(p, fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600))
	return p
}
