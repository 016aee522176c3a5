package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bundle/internal/upstream"
	"bundle/manifest"
)

// job is a command that writes, in a folder that prepare fills.
type job struct {
	name    string
	prepare func(t *testing.T, dir string)
	args    []string
	// result names the files that must be the same in the end.
	result func(name string) bool
}

// pipeline has what the jobs work with.
type pipeline struct {
	program string
	mirror  string
	env     []string
	files   map[string][]byte // keys and bundles that were made once
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	var refs []manifest.Reference
	for _, name := range images {
		ref, err := manifest.ParseReference(name)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	if _, err := reg.Populate(t.Context(), refs, []string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	p := &pipeline{program: program(t), mirror: reg.Addr(), files: map[string][]byte{},
		env: []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "BUNDLE_PASSWORD=x", "NO_COLOR=1", "TMPDIR=" + home}}
	dir := t.TempDir()
	for _, args := range [][]string{
		{"keygen", "-o", "ci"}, {"keygen", "-o", "second"},
		append(p.build(), "--key", "ci.key", "-o", "b.tar.zst"),
	} {
		if r := p.run(t, dir, args...); r.exit != 0 {
			t.Fatalf("bundle %v: %s", args, r.out)
		}
	}
	for _, name := range []string{"ci.key", "ci.pub", "second.key", "second.pub", "b.tar.zst"} {
		if p.files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

var images = []string{"registry.test/one:1", "registry.test/two:2"}

func (p *pipeline) build() []string {
	args := []string{"build", "--name", "small", "--version", "1", "--platform", "linux/amd64", "--mirror", "*=" + p.mirror, "--lock", "bundle.lock", "--jobs", "2", "--retries", "0"}
	for _, i := range images {
		args = append(args, "--image", i)
	}
	return args
}

// give puts files that were made once into a folder.
func (p *pipeline) give(names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), p.files[name], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// run runs bundle as it is.
func (p *pipeline) run(t *testing.T, dir string, args ...string) traced {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.program, args...)
	cmd.Dir, cmd.Env = dir, p.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return traced{exit: cmd.ProcessState.ExitCode(), out: string(out)}
}

func (p *pipeline) jobs() []job {
	is := func(names ...string) func(string) bool {
		return func(n string) bool { return slices.Contains(names, n) }
	}
	return []job{
		{name: "build", prepare: p.give("ci.key"), args: append(p.build(), "--key", "ci.key", "-o", "b.tar.zst"), result: is("b.tar.zst", "bundle.lock")},
		{name: "sign", prepare: p.give("second.key", "b.tar.zst"), args: []string{"sign", "b.tar.zst", "--key", "second.key"}, result: is("b.tar.zst")},
		{name: "sign detached", prepare: p.give("second.key", "b.tar.zst"), args: []string{"sign", "b.tar.zst", "--key", "second.key", "--detached", "sig.json"}, result: is("b.tar.zst", "sig.json")},
		{name: "extract", prepare: p.give("b.tar.zst"), args: []string{"extract", "b.tar.zst", "--to", "layout"}, result: func(n string) bool {
			return strings.HasPrefix(n, "layout/") && !strings.HasPrefix(filepath.Base(n), ".")
		}},
		{name: "extract image", prepare: p.give("b.tar.zst"), args: []string{"extract", "b.tar.zst", "--to", "image", "--image", images[0]}, result: func(n string) bool {
			return strings.HasPrefix(n, "image/") && !strings.HasPrefix(filepath.Base(n), ".")
		}},
	}
}

// tree reads the files below dir that are part of a result.
func tree(t *testing.T, dir string, part func(string) bool) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || !part(rel) {
			return err
		}
		data, err := os.ReadFile(p)
		got[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// stride is how many calls are passed over: 1 with make hostile.
func stride() int {
	if os.Getenv("HOSTILE") != "" {
		return 1
	}
	return 37
}

// Whatever goes wrong at whichever system call: the program says so, what has its
// final name is whole, and the same command once more ends in the same bytes as
// if nothing had happened.
func TestEveryWriteFails(t *testing.T) {
	p := newPipeline(t)
	for _, j := range p.jobs() {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j.prepare(t, dir)
			clean := trace(t, dir, fault{}, p.env, append([]string{p.program}, j.args...)...)
			if clean.exit != 0 {
				t.Fatalf("without a fault: exit %d\n%s", clean.exit, clean.out)
			}
			want := tree(t, dir, j.result)
			if len(want) == 0 {
				t.Fatal("it makes nothing")
			}
			hits, states := map[string]int{}, map[string]int{}
			for _, f := range []fault{{errno: syscall.ENOSPC}, {errno: syscall.EIO}, {short: true, errno: syscall.ENOSPC}, {short: true}, {kill: true}} {
				for f.at = 1; ; f.at += stride() {
					r := p.sweep(t, j, f, want)
					if r.hit == "" && len(r.calls) < f.at {
						break
					}
					if r.hit != "" {
						kind, _, _ := strings.Cut(r.hit, " ")
						hits[kind]++
						states[strconv.Itoa(r.exit)]++
					}
				}
			}
			t.Logf("%d calls; faults %v, exits %v", len(clean.calls), hits, states)
			if os.Getenv("HOSTILE") != "" && (hits["write"] == 0 || hits["sync"] == 0 || hits["open"] == 0) {
				t.Errorf("the faults never hit a write, sync or open: %v", hits)
			}
		})
	}
}

// sweep runs a job once with a fault, and then as the user would.
func (p *pipeline) sweep(t *testing.T, j job, f fault, want map[string]string) traced {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	j.prepare(t, dir)
	before := tree(t, dir, j.result)
	r := trace(t, dir, f, p.env, append([]string{p.program}, j.args...)...)
	how := fmt.Sprintf("%s at %q (call %d)", f, r.hit, f.at)
	if crash.MatchString(r.out) {
		t.Errorf("%s: it crashes:\n%s", how, r.out)
	}
	got := tree(t, dir, j.result)
	switch {
	case r.exit == 0:
		// What failed was not needed.
		if !maps.Equal(got, want) {
			t.Errorf("%s: it says that all is well, and the result is another\n%s", how, r.out)
		}
	case r.hit == "":
		t.Errorf("%s: it fails for no reason: %s", how, r.out)
	case r.exit > 0 && !strings.Contains(r.out, "error: "):
		t.Errorf("%s: exit %d and no reason:\n%s", how, r.exit, r.out)
	}
	_, interrupted := os.Lstat(filepath.Join(dir, "b.tar.zst.sign-journal"))
	for name, content := range got {
		if content != want[name] && content != before[name] && interrupted != nil {
			t.Errorf("%s: %s is there, and is neither the old nor the new one", how, name)
		}
	}
	again := p.run(t, dir, j.args...)
	if again.exit != 0 && r.exit != 0 {
		t.Errorf("%s: the next run fails: exit %d\n%s", how, again.exit, again.out)
	}
	if got := tree(t, dir, j.result); !maps.Equal(got, want) {
		t.Errorf("%s: the next run ends in another result: %s", how, difference(got, want))
	}
	return r
}

func difference(got, want map[string]string) string {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have, ok := got[name]; !ok {
			fmt.Fprintf(&b, "%s is missing; ", name)
		} else if have != want[name] {
			fmt.Fprintf(&b, "%s differs; ", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			fmt.Fprintf(&b, "%s is too much; ", name)
		}
	}
	return b.String()
}

// String says what a fault does.
func (f fault) String() string {
	switch {
	case f.kill:
		return "killed"
	case f.short && f.errno != 0:
		return "half a write, then " + f.errno.Error()
	case f.short:
		return "half a write"
	}
	return f.errno.Error()
}
