package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// made is built once for all tests, by whichever needs it first.
var made struct {
	workshop func() (*Workshop, error)
	bundles  func() (*Bundles, error)
	dir      string
}

func init() {
	made.workshop = sync.OnceValues(makeWorkshop)
	made.bundles = sync.OnceValues(func() (*Bundles, error) {
		w, err := made.workshop()
		if err != nil {
			return nil, err
		}
		if err := w.makeImages(context.Background()); err != nil {
			return nil, err
		}
		began := time.Now()
		b, err := w.Build(context.Background())
		fmt.Printf("built the bundles in %s\n", time.Since(began).Round(time.Second/10))
		return b, err
	})
}

func workshop(t *testing.T) *Workshop {
	t.Helper()
	w, err := made.workshop()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func bundles(t *testing.T) *Bundles {
	t.Helper()
	b, err := made.bundles()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tearDown() {
	if made.dir != "" {
		_ = os.RemoveAll(made.dir)
	}
}

// makeWorkshop finds or makes what the bundles and the hosts are made of.
func makeWorkshop() (*Workshop, error) {
	ctx := context.Background()
	abs, err := filepath.Abs(cache)
	if err != nil {
		return nil, err
	}
	debian, err := output(ctx, "sh", "base.sh", abs)
	if err != nil {
		return nil, err
	}
	w := &Workshop{Debian: strings.TrimSpace(debian), Kube: os.Getenv("KUBE_BIN"), Bundle: os.Getenv("BUNDLE")}
	if w.Kube == "" {
		kube, err := output(ctx, "sh", "../kube/build.sh", "../../.cache/kube", "where")
		if err != nil {
			return nil, err
		}
		w.Kube = strings.TrimSpace(kube)
	}
	if err := os.MkdirAll(filepath.Join(abs, "work"), 0o755); err != nil {
		return nil, err
	}
	if made.dir, err = os.MkdirTemp(filepath.Join(abs, "work"), ""); err != nil {
		return nil, err
	}
	w.Dir = made.dir
	if w.Bundle == "" {
		w.Bundle = filepath.Join(w.Dir, "bundle")
		if err := goBuild(ctx, "../..", w.Bundle, "./cmd/bundle"); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// makeImages makes the images that really run, or takes those that were made
// from the same programs before.
func (w *Workshop) makeImages(ctx context.Context) error {
	if _, err := exec.LookPath(filepath.Join(w.Kube, "coredns")); err != nil {
		return fmt.Errorf("the Kubernetes programs have not been built: run make -C test/kube all (%w)", err)
	}
	programs := filepath.Join(w.Dir, "programs")
	for _, p := range []string{"pause", "hybridnet"} {
		if err := goBuild(ctx, ".", filepath.Join(programs, p), "./programs/"+p); err != nil {
			return err
		}
	}
	base := filepath.Join(w.Debian, "base")
	key, err := fingerprint(filepath.Join(w.Kube, "*"), filepath.Join(programs, "*"), "images.go", filepath.Join(base, "usr/sbin/xtables-nft-multi"))
	if err != nil {
		return err
	}
	w.Images = filepath.Join(filepath.Dir(w.Debian), "images-"+key)
	return once(w.Images, func(tmp string) error {
		return writeImages(ctx, tmp, base, recipes(w.Kube, programs, filepath.Join(w.Debian, "runtime")))
	})
}
