package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is promised of a bundle of 10 000 images.
const (
	maxOpen = time.Second
	maxRSS  = 300e6
)

func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number", name, s)
	}
	return n
}

// keys makes a key and gives its two files.
func keys(t *testing.T) (key, pub string) {
	t.Helper()
	t.Setenv("BUNDLE_PASSWORD", "scale")
	prefix := filepath.Join(t.TempDir(), "ci")
	run(t, "keygen", "-o", prefix)
	return prefix + ".key", prefix + ".pub"
}

// build packs a layout into a signed bundle.
func build(t *testing.T, l *layout, dir, key string) (string, usage) {
	t.Helper()
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "imageList")
	if err := os.WriteFile(list, []byte(strings.Join(l.names, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "scale.tar.zst")
	_, u := run(t, "build", "--image-list", list, "--from", "oci:"+dir, "--name", "scale", "--version", "1",
		"--platform", "linux/amd64", "--key", key, "--progress", "none", "-o", out)
	return out, u
}

// TestManyImages makes a bundle of very many images, and looks at what it takes
// to make, verify, open and serve.
func TestManyImages(t *testing.T) {
	images, layer := int(number(t, "IMAGES", 10000)), number(t, "LAYER", 1<<20)
	key, pub := keys(t)
	dir := t.TempDir()
	l, err := newLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	z, err := newZeroes(layer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range images {
		d, err := z.write(l, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.add(fmt.Sprintf("registry.test/team-%03d/app-%05d:1", i%100, i), d); err != nil {
			t.Fatal(err)
		}
	}
	content := float64(images) * float64(layer)
	out, u := build(t, l, dir, key)
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d images of %.1f MB, %.1f GB together: a file of %.1f MB, index.json of %.1f MB", images, float64(layer)/1e6, content/1e9, float64(info.Size())/1e6, float64(indexSize(t, out))/1e6)
	t.Logf("build: %s", u)
	check(t, "build", u, 0)

	_, u = run(t, "verify", out, "--key", pub, "--progress", "none")
	t.Logf("verify: %s, %.0f MB/s", u, content/1e6/u.wall.Seconds())
	check(t, "verify", u, 0)

	for _, args := range [][]string{{"inspect"}, {"images"}, {"images", "-o", "json"}} {
		// The best of three: what disturbs a run says nothing of the program.
		var best usage
		for i := range 3 {
			_, u = run(t, append(append([]string{}, args...), out)...)
			if i == 0 || u.wall < best.wall {
				best = u
			}
		}
		what := strings.Join(args, " ")
		t.Logf("%s: %s", what, best)
		check(t, what, best, maxOpen)
	}
	inspected, _ := run(t, "inspect", "-o", "json", out)
	var said struct{ Images int }
	if err := json.Unmarshal([]byte(inspected), &said); err != nil || said.Images != images {
		t.Errorf("inspect says there are %d images of %d: %v", said.Images, images, err)
	}

	var ready, first time.Duration
	var mem usage
	for i := range 3 {
		v := serve(t, out, pub)
		asked := time.Now()
		name := l.names[images/2+i]
		repo, tag, _ := strings.Cut(strings.TrimPrefix(name, "registry.test/"), ":")
		c := &client{addrs: []string{v.addr}}
		if _, err := c.manifest(t.Context(), repo, tag); err != nil {
			t.Error(err)
		}
		answered := time.Since(asked)
		u := v.stop(t)
		if i == 0 || v.ready < ready {
			ready, first, mem = v.ready, answered, u
		}
	}
	t.Logf("serve: listens after %s, first manifest %s after that, %d MB", ready.Round(time.Millisecond), first.Round(time.Millisecond), mem.rss/1e6)
	mem.wall = ready
	check(t, "serve", mem, maxOpen)
}

// check holds a measurement against what is promised; limit 0 is none of time.
func check(t *testing.T, what string, u usage, limit time.Duration) {
	t.Helper()
	if limit > 0 && u.wall > limit {
		t.Errorf("%s took %s, more than %s", what, u.wall, limit)
	}
	if u.rss > maxRSS {
		t.Errorf("%s took %d MB of memory, more than %d", what, u.rss/1e6, int(maxRSS/1e6))
	}
}

// indexSize reads the length of index.json from its header, the second of the
// file: behind the first member's 1041 bytes, a frame's header and a block's.
func indexSize(t *testing.T, file string) int64 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 512)
	if _, err := f.ReadAt(head, 1041+13); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(string(head[124:135]), 8, 64)
	if err != nil || !strings.HasPrefix(string(head), "index.json\x00") {
		t.Fatalf("no index.json where it should be: %v", err)
	}
	return n
}
