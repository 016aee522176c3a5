package selftest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Kills of each kind.
const kills = 12

// program runs the bundle program in the folder. With a time it is killed then.
func (t *tester) program(ctx context.Context, after time.Duration, args ...string) (killed bool, took time.Duration, err error) {
	run, cancel := ctx, func() {}
	if after > 0 {
		run, cancel = context.WithTimeout(ctx, after)
	}
	defer cancel()
	cmd := exec.CommandContext(run, t.o.Program, args...)
	cmd.Args[0] = "bundle"
	cmd.Dir = t.o.Dir
	cmd.Env = append(os.Environ(), "BUNDLE_PASSWORD=selftest")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	err = cmd.Run()
	took = time.Since(begun)
	switch {
	case err == nil, cmd.ProcessState != nil && cmd.ProcessState.Success():
		return false, took, nil // perhaps just before its time was over
	case ctx.Err() != nil:
		return false, took, ctx.Err()
	case run.Err() != nil:
		return true, took, nil
	}
	return false, took, brokenf("bundle %s: %v: %s", args[0], err, bytes.TrimSpace(out.Bytes()))
}

// killed kills a command again and again, and wants what it makes in the end to
// be what it makes undisturbed.
func (t *tester) killed(ctx context.Context, name string, fresh func() error, early float64, args ...string) (int, string, error) {
	path := filepath.Join(t.o.Dir, name)
	if err := fresh(); err != nil {
		return 0, "", err
	}
	_, whole, err := t.program(ctx, 0, args...)
	if err != nil {
		return 0, "", err
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return 0, "", err
	}
	n, harmed := 0, 0
	for n < kills {
		n++
		if err := fresh(); err != nil {
			return n, "", err
		}
		after := time.Duration(float64(whole) * (early + (1.1-early)*t.rnd.Float64()))
		k, _, err := t.program(ctx, max(after, time.Millisecond), args...)
		if err != nil {
			return n, "", err
		}
		if k {
			harmed++
		}
		if _, _, err := t.program(ctx, 0, args...); err != nil {
			return n, "", err
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			return n, "", brokenf("after a kill, %s is not what it is undisturbed (%v)", name, err)
		}
	}
	return n, fmt.Sprintf("%d killed, each ended in the same bytes when it was run again", harmed), nil
}

func (t *tester) killedBuilds(ctx context.Context) (int, string, error) {
	fresh := func() error {
		err := os.Remove(filepath.Join(t.o.Dir, "built.tar.zst"))
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	return t.killed(ctx, "built.tar.zst", fresh, 0.1, "build", "--name", "built", "--version", "1", "--image", image, "--platform", "linux/amd64",
		"--from", "bundle:sample.tar.zst", "--unsigned", "-o", "built.tar.zst")
}

func (t *tester) killedSigning(ctx context.Context) (int, string, error) {
	if _, _, err := t.program(ctx, 0, "keygen", "-o", "second"); err != nil {
		return 0, "", err
	}
	fresh := func() error { return os.WriteFile(filepath.Join(t.o.Dir, "signed.tar.zst"), t.s.bytes, 0o600) }
	return t.killed(ctx, "signed.tar.zst", fresh, 0.5, "sign", "signed.tar.zst", "--key", "second.key")
}
