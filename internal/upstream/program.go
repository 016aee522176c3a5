package upstream

import (
	"bytes"
	"context"
	_ "embed" // the program's source
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrNoGo is returned where the images' program cannot be compiled because
// there is no Go toolchain.
var ErrNoGo = errors.New("no Go toolchain")

//go:embed hello/main.go
var helloSource []byte

// compile builds the images' program for one platform, static, and returns
// the binary. The same toolchain gives the same bytes.
func (r *Registry) compile(ctx context.Context, p v1.Platform) ([]byte, error) {
	goCmd, err := exec.LookPath(r.opts.Go)
	if err != nil {
		return nil, fmt.Errorf("the demo compiles its own images, and there is %w (%q was not found): install Go or name its go command", ErrNoGo, r.opts.Go)
	}
	dir, err := os.MkdirTemp("", "upstream-build-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, data := range map[string][]byte{
		"main.go": helloSource,
		"go.mod":  []byte("module hello\n\ngo 1.22\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	out := filepath.Join(dir, "hello.out")
	cmd := exec.CommandContext(ctx, goCmd, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOWORK=off", "GOFLAGS=", "GOTOOLCHAIN=local")
	if p.Architecture == "arm" {
		cmd.Env = append(cmd.Env, "GOARM="+strings.TrimPrefix(p.Variant, "v"))
	}
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the images' program does not compile for %s: %w: %s", p.String(), err, bytes.TrimSpace(msg))
	}
	return os.ReadFile(out)
}
