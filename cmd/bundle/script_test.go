package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"bundle/internal/upstream"
	"bundle/manifest"
	"bundle/manifest/imagelist"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bundle": func() {
			if os.Getenv("BUNDLE_TEST_METER") != "" {
				meterForTest()
				return
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
	})
}

// TestScripts runs the command line the way users do, against a registry on
// loopback that has an image for every name in the test data.
//
// Besides testscript's own commands there are:
//
//	exits CODE COMMAND...     run and want this exit code
//	damage FILE flip|cut|append
//	replace FILE OLD NEW      in place, OLD must be there
//	serve BUNDLE FLAGS...     start a registry, its address in $REGISTRY
//	follow N WORDS...         type the Nth thing that the last command told to do next
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	reg := startUpstream(t, root)
	pushClusterImage(t, reg.Addr())
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("UPSTREAM", reg.Addr())
			env.Setenv("TESTDATA", filepath.Join(root, "testdata"))
			env.Setenv("BUNDLE_PASSWORD", "secret")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "damage": damage, "replace": replace, "serve": startServer, "follow": follow,
		},
		// static: the program under test needs no libraries of the machine.
		Condition: func(cond string) (bool, error) {
			if cond != "static" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			return static(t), nil
		},
		RequireExplicitExec: true,
	})
}

// static tells whether the program under test needs no libraries of the machine.
func static(t *testing.T) bool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "0"})
}

// startUpstream is a registry that has all images of the test data.
func startUpstream(t *testing.T, root string) *upstream.Registry {
	t.Helper()
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	refs := lists(t, filepath.Join(root, "testdata/ackdistro/imageList"),
		filepath.Join(root, "testdata/cnstack-ce/charts/build-cnstack-ce/imageList"), filepath.Join(root, "testdata/native/images.txt"))
	for _, extra := range []string{"registry.k8s.io/pause:3.9", "docker.io/library/nginx:1.27", "quay.io/tools/pause:3.9", "docker.io/library/extra:2", "docker.io/library/shop-tools:1.0"} {
		ref, err := manifest.ParseReference(extra)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	if _, err := reg.Populate(t.Context(), refs, []string{"linux/amd64", "linux/arm64"}); err != nil {
		t.Fatal(err)
	}
	return reg
}

// pushClusterImage makes what sealer 0.5 pushes: a docker image whose config is
// sealer's own Image object, with the commands as layers.
func pushClusterImage(t *testing.T, addr string) {
	t.Helper()
	layer := func(files ...string) v1.Layer {
		var buf bytes.Buffer
		tw := tar.NewWriter(&buf)
		for i := 0; i < len(files); i += 2 {
			if err := tw.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(tw, files[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	img, err := mutate.AppendLayers(empty.Image,
		layer("manifests/imageList", "registry.k8s.io/pause:3.9\n", "bin/kubelet", "stand-in"),
		layer("registry/docker/registry/v2/blobs/x", "an image of sealer's own registry"))
	if err != nil {
		t.Fatal(err)
	}
	config := `{"kind":"Image","spec":{"layers":[{"type":"COPY","value":"imageList manifests"},{"type":"CMD","value":"kubectl create ns first"},{"type":"CMD","value":"helm install core charts/core"}]}}`
	ref, err := name.ParseReference(addr+"/clusters/old:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, sealerImage{img, []byte(config)}); err != nil {
		t.Fatal(err)
	}
}

// sealerImage is an image with another config.
type sealerImage struct {
	v1.Image
	config []byte
}

func (i sealerImage) RawConfigFile() ([]byte, error) { return i.config, nil }
func (i sealerImage) ConfigName() (v1.Hash, error)   { return partial.ConfigName(i) }
func (i sealerImage) Digest() (v1.Hash, error)       { return partial.Digest(i) }
func (i sealerImage) Size() (int64, error)           { return partial.Size(i) }
func (i sealerImage) RawManifest() ([]byte, error) {
	m, err := i.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (i sealerImage) Manifest() (*v1.Manifest, error) {
	m, err := i.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	h, size, err := v1.SHA256(bytes.NewReader(i.config))
	if err != nil {
		return nil, err
	}
	m.Config.Digest, m.Config.Size = h, size
	return m, nil
}

func lists(t *testing.T, paths ...string) []manifest.Reference {
	t.Helper()
	var refs []manifest.Reference
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		entries, err := imagelist.Parse(p, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			refs = append(refs, e.Ref)
		}
	}
	return refs
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("%s: exit %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE flip|cut|append")
	}
	p := ts.MkAbs(args[0])
	data, err := os.ReadFile(p)
	ts.Check(err)
	switch args[1] {
	case "flip":
		data[len(data)/2] ^= 0x20
	case "cut":
		data = data[:len(data)*2/3]
	case "append":
		data = append(data, 0)
	default:
		ts.Fatalf("damage: unknown %q", args[1])
	}
	ts.Check(os.WriteFile(p, data, 0o644))
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	p := ts.MkAbs(args[0])
	data, err := os.ReadFile(p)
	ts.Check(err)
	if !strings.Contains(string(data), args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(p, []byte(strings.ReplaceAll(string(data), args[1], args[2])), 0o644))
}

// follow runs what stderr said behind "next:", or below it behind "or:".
func follow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: follow N WORDS...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	said := ts.ReadFile("stderr")
	hints := regexp.MustCompile(`(?m)^(?:next|  or): (.*)$`).FindAllStringSubmatch(said, -1)
	if n < 1 || n > len(hints) {
		ts.Fatalf("it did not say %d things to do next: %q", n, said)
	}
	ts.Check(ts.Exec("sh", "-c", hints[n-1][1]+" "+strings.Join(args[1:], " ")))
}

// startServer runs `bundle serve` until the script ends.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve BUNDLE FLAGS...")
	}
	cmd := exec.Command("bundle", append([]string{"serve", "--addr", "127.0.0.1:0", "-o", "json"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"), "HOME="+ts.Getenv("HOME"))
	if p, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "bundle")); err == nil {
		cmd.Path, cmd.Err = p, nil
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		ts.Fatalf("bundle serve said nothing: %v\n%s", err, stderr.String())
	}
	_, rest, ok := strings.Cut(line, `"addr":"`)
	addr, _, ok2 := strings.Cut(rest, `"`)
	if !ok || !ok2 {
		ts.Fatalf("bundle serve said %q", line)
	}
	ts.Setenv("REGISTRY", addr)
}
