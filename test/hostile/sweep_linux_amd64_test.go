package hostile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
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
	// exit is that of a run without a fault.
	exit int
	// result names the files that must be the same in the end.
	result func(name string) bool
	// mends says that the result was damaged before, and may be mended in part
	// when the command did not come to its end.
	mends bool
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
	// A file with a hole, what mends it, and what brings it up to date.
	whole, err := os.ReadFile(filepath.Join(dir, "b.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	clear(whole[len(whole)/2 : len(whole)/2+2000])
	for name, content := range map[string]string{
		"damaged.tar.zst": string(whole),
		"policy.yaml": "apiVersion: bundle/v1\nkind: TrustPolicy\nname: site\nserial: 1\n" +
			"signers:\n  ci: {keyFile: ci.pub}\nroles: {build: {signers: [ci]}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		exit int
		args []string
	}{
		{0, append(p.build(), "--version", "2", "--lock", "two.lock", "--image", images[2], "--base", "b.tar.zst", "--key", "ci.key", "-o", "delta.tar.zst")},
		{0, []string{"recovery", "b.tar.zst", "--size", "10%"}},
		{3, []string{"verify", "damaged.tar.zst", "--key", "ci.pub", "--want", "want.json"}},
		{0, []string{"patch", "b.tar.zst", "--want", "want.json", "-o", "patch.tar.zst"}},
	} {
		if r := p.run(t, dir, step.args...); r.exit != step.exit {
			t.Fatalf("bundle %v: exit %d\n%s", step.args, r.exit, r.out)
		}
	}
	for _, name := range []string{"ci.key", "ci.pub", "second.key", "second.pub", "b.tar.zst", "b.tar.zst.recovery",
		"damaged.tar.zst", "delta.tar.zst", "want.json", "patch.tar.zst", "policy.yaml"} {
		if p.files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// images are those of the bundle, and one that its next version has, too.
var images = []string{"registry.test/one:1", "registry.test/two:2", "registry.test/three:3"}

func (p *pipeline) build() []string {
	args := []string{"build", "--name", "small", "--version", "1", "--platform", "linux/amd64", "--mirror", "*=" + p.mirror, "--lock", "bundle.lock", "--jobs", "2", "--retries", "0"}
	for _, i := range images[:2] {
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
	// A tracer waits for all children of its thread, so none may find itself
	// on a thread that has a child of somebody else.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
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
		{name: "build volumes", prepare: p.give("ci.key"), args: append(p.build(), "--key", "ci.key", "-o", "v.tar.zst", "--volume-size", "1MiB"),
			result: is("v.tar.zst.001", "v.tar.zst.002", "v.tar.zst.003", "bundle.lock")},
		{name: "merge", prepare: p.give("b.tar.zst", "delta.tar.zst"), args: []string{"merge", "b.tar.zst", "delta.tar.zst", "-o", "m.tar.zst"}, result: is("m.tar.zst")},
		{name: "want", prepare: p.give("damaged.tar.zst", "ci.pub"), args: []string{"verify", "damaged.tar.zst", "--key", "ci.pub", "--want", "want.json"}, exit: 3, result: is("want.json")},
		{name: "patch", prepare: p.give("b.tar.zst", "want.json"), args: []string{"patch", "b.tar.zst", "--want", "want.json", "-o", "patch.tar.zst"}, result: is("patch.tar.zst")},
		{name: "patch apply", prepare: p.give("damaged.tar.zst", "patch.tar.zst"), args: []string{"patch", "--apply", "patch.tar.zst", "damaged.tar.zst"}, mends: true, result: is("damaged.tar.zst")},
		{name: "recovery", prepare: p.give("b.tar.zst"), args: []string{"recovery", "b.tar.zst", "--size", "10%"}, result: is("b.tar.zst.recovery")},
		{name: "repair", prepare: p.give("damaged.tar.zst", "b.tar.zst.recovery"), args: []string{"repair", "damaged.tar.zst", "--from", "b.tar.zst.recovery"}, mends: true, result: is("damaged.tar.zst")},
		{name: "trust", prepare: p.give("b.tar.zst", "policy.yaml", "ci.pub"), args: []string{"verify", "b.tar.zst", "--policy", "policy.yaml", "--trust-state", "trust.json", "--remember"}, result: is("trust.json")},
		{name: "receipt", prepare: p.give("b.tar.zst", "ci.pub", "second.key"), args: []string{"verify", "b.tar.zst", "--key", "ci.pub", "--receipt", "receipt.json", "--receipt-key", "second.key"}, result: is("receipt.json")},
	}
}

var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

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
		switch {
		case rel == "trust.json":
			data = stamp.ReplaceAll(data, []byte("TIME"))
		case rel == "receipt.json" && json.Valid(data):
			data = []byte("a receipt") // no signature is like another
		}
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
			if clean.exit != j.exit {
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
	case r.exit == j.exit && (j.exit == 0 || maps.Equal(got, want)):
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
		if content != want[name] && content != before[name] && interrupted != nil && !j.mends {
			t.Errorf("%s: %s is there, and is neither the old nor the new one", how, name)
		}
	}
	again := p.run(t, dir, j.args...)
	if again.exit != j.exit && r.exit != j.exit {
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
