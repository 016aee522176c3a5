package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bundle/internal/upstream"
	"bundle/manifest"
)

// held keeps back what follows the first mebibyte of a blob until somebody asks
// for a part of one.
type held struct {
	http.ResponseWriter
	r     *http.Request
	asked <-chan struct{}
	n     int
}

func (h *held) Write(p []byte) (int, error) {
	if h.n += len(p); h.n > 1<<20 {
		select {
		case <-h.asked:
		case <-h.r.Context().Done():
			return 0, h.r.Context().Err()
		}
	}
	return h.ResponseWriter.Write(p)
}

// The last large layer of a build does not come through one connection alone
// while others stand idle, and the bundle is the same.
func TestIdleConnectionsHelpTheLastLayer(t *testing.T) {
	asked := make(chan struct{})
	var once sync.Once
	hold := true
	reg, err := upstream.Start(t.Context(), upstream.Options{LayerBytes: 8 << 20, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if hold && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				if part := r.Header.Get("Range"); part == "" {
					w = &held{ResponseWriter: w, r: r, asked: asked}
				} else {
					once.Do(func() { close(asked) })
				}
			}
			next.ServeHTTP(w, r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	ref, err := manifest.ParseReference("registry.example.com/large:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Populate(t.Context(), []manifest.Reference{ref}, []string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	// It ends only if the parts are asked for.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	build := func(name, jobs string) []byte {
		t.Helper()
		file := filepath.Join(dir, name)
		var out bytes.Buffer
		if code := Main(ctx, []string{"build", "--image", ref.String(), "--name", "large", "--version", "1", "--platform", "linux/amd64",
			"--mirror", "*=" + reg.Addr(), "--unsigned", "-o", file, "--progress", "none", "--jobs", jobs}, strings.NewReader(""), &out, &out); code != 0 {
			t.Fatalf("exit %d: %s", code, &out)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	helped := build("helped.tar.zst", "4")
	hold = false
	if alone := build("alone.tar.zst", "1"); !bytes.Equal(helped, alone) {
		t.Error("the bundle is another when idle connections help")
	}
}
