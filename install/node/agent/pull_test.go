package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
)

var (
	baseFiles = content{
		"bin/kubeadm":        "#!" + strings.Repeat("a", 600<<10),
		"bin/kubelet":        "#!" + strings.Repeat("b", 400<<10),
		"etc/replaced.conf":  "from the base",
		"etc/same-size.conf": "old text",
		"scripts/init.sh":    "#!/bin/bash\n",
		"scripts/link":       "-> init.sh",
		"lib/away":           "-> /usr/lib",
		"Metadata":           `{"version":"v1.20.4","arch":"x86_64"}`,
		"empty/file":         "",
		"names/with blank é": "x",
	}
	ownFiles = content{
		"etc/replaced.conf":     "from the product, longer",
		"etc/same-size.conf":    "new text",
		"charts/aecp/big.bin":   strings.Repeat("c", 256<<10),
		"charts/aecp/values.ym": "a: b\n",
	}
)

func merged(base, own content) content {
	c := content{}
	for p, text := range base {
		c[p] = text
	}
	for p, text := range own {
		c[p] = text
	}
	return c
}

func TestPullBringsTheWholeRootfsAndASecondRunDoesNothing(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", baseFiles, ownFiles))
	to := filepath.Join(dir, "data/my-cluster/rootfs")
	var last, total int64
	o := options(to, s)
	o.Progress = func(d, all int64) { last, total = d, all }
	r, err := Pull(t.Context(), o)
	must(t, err)
	want := merged(baseFiles, ownFiles)
	same(t, to, want)
	if r.State != Unpacked || r.Files != 10 || r.Written != 10 || r.Digest != s.d || r.Registry == "" || last != total || total != r.Bytes {
		t.Errorf("%+v, progress %d of %d", r, last, total)
	}
	n := s.asked()
	r, err = Pull(t.Context(), options(to, s))
	must(t, err)
	if r.State != Unchanged || r.Written != 0 || r.Kept != 10 {
		t.Errorf("second run: %+v", r)
	}
	if s.asked() != n {
		t.Error("the second run asked the registry for blobs")
	}
	s.Close() // not even that it is there matters
	r, err = Pull(t.Context(), options(to, s))
	must(t, err)
	if r.State != Unchanged {
		t.Errorf("without a registry: %+v", r)
	}
}

func TestWhatWasChangedIsPutRight(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", baseFiles, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	_, err := Pull(t.Context(), options(to, s))
	must(t, err)
	at := func(p string) string { return filepath.Join(to, p) }
	must(t, os.WriteFile(at("etc/same-size.conf"), []byte("bad text"), 0o644))
	must(t, os.Remove(at("Metadata")))
	must(t, os.Chmod(at("bin/kubeadm"), 0o600))
	must(t, os.Chmod(at("charts/aecp/values.ym"), 0o755)) // as chmod +x does
	must(t, os.RemoveAll(at("empty")))
	must(t, os.Symlink("etc", at("empty")))
	must(t, os.RemoveAll(at("scripts/link")))
	must(t, os.MkdirAll(at("scripts/link/x"), 0o755))
	must(t, os.WriteFile(at("left-by-a-script"), nil, 0o644))
	r, err := Pull(t.Context(), options(to, s))
	must(t, err)
	if r.State != Repaired || r.Written != 3 {
		t.Errorf("%+v", r)
	}
	want := merged(baseFiles, ownFiles)
	want["left-by-a-script"] = ""
	must(t, os.Chmod(at("charts/aecp/values.ym"), 0o644))
	same(t, to, want)
}

func TestAnotherBundleReplacesAllOfIt(t *testing.T) {
	dir := t.TempDir()
	first, second := start(t, build(t, dir, "one", nil, baseFiles)), start(t, build(t, dir, "two", nil, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	must(t, os.MkdirAll(to, 0o755))
	must(t, os.WriteFile(filepath.Join(to, "foreign"), nil, 0o644)) // no bundle at all
	for _, step := range []struct {
		s    *site
		want content
	}{{first, baseFiles}, {second, ownFiles}, {first, baseFiles}} {
		must(t, os.MkdirAll(to+".old", 0o755)) // of a run that was killed at the end
		r, err := Pull(t.Context(), options(to, step.s))
		must(t, err)
		if r.State != Unpacked {
			t.Errorf("%+v", r)
		}
		same(t, to, step.want)
	}
}

func TestARunGoesOnWhereTheLastOneBroke(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", baseFiles, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	// Cut each connection later than the one before, until it is through.
	var kept []int
	for cut := 1 << 10; ; cut += 100 << 10 {
		s.setWrap(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&cutWriter{w, cut}, r)
		})
		r, err := Pull(t.Context(), options(to, s))
		if err == nil {
			kept = append(kept, r.Kept)
			break
		}
		if _, err := os.Lstat(to); err == nil {
			t.Fatal("a root file system is there that is not whole")
		}
		if cut > 8<<20 {
			t.Fatal(err)
		}
	}
	same(t, to, merged(baseFiles, ownFiles))
	if kept[0] == 0 {
		t.Error("nothing of the broken runs was kept")
	}
}

func TestPartOfAnotherBundleIsNotMixedIn(t *testing.T) {
	dir := t.TempDir()
	first, second := start(t, build(t, dir, "one", nil, baseFiles)), start(t, build(t, dir, "two", nil, ownFiles))
	to := filepath.Join(dir, "data/rootfs")
	first.setWrap(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutWriter{w, 400 << 10}, r)
	})
	if _, err := Pull(t.Context(), options(to, first)); err == nil {
		t.Fatal("no error")
	}
	_, err := Pull(t.Context(), options(to, second))
	must(t, err)
	same(t, to, ownFiles)
}

func TestTheNextRegistryIsAsked(t *testing.T) {
	dir := t.TempDir()
	file := build(t, dir, "app", baseFiles, ownFiles)
	dead, bad, good := start(t, file), start(t, file), start(t, file)
	dead.Close()
	bad.setWrap(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Error(w, "no", http.StatusInternalServerError)
	})
	to := filepath.Join(dir, "data/rootfs")
	r, err := Pull(t.Context(), options(to, dead, bad, good))
	must(t, err)
	same(t, to, merged(baseFiles, ownFiles))
	if !strings.HasSuffix(good.URL, r.Registry) {
		t.Errorf("%s gave it, not %s", r.Registry, good.URL)
	}
}

func TestManyHostsPullAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", baseFiles, ownFiles))
	var wg sync.WaitGroup
	states := make([]string, 6)
	for i := range states {
		wg.Go(func() {
			// Two runs on each target: one of them waits.
			r, err := Pull(t.Context(), options(filepath.Join(dir, fmt.Sprint("host", i/2), "data/rootfs"), s))
			if err != nil {
				t.Error(err)
				return
			}
			states[i] = r.State
		})
	}
	wg.Wait()
	if got := strings.Join(states, " "); strings.Count(got, Unpacked) != 3 || strings.Count(got, Unchanged) != 3 {
		t.Error(got)
	}
	for i := range 3 {
		same(t, filepath.Join(dir, fmt.Sprint("host", i), "data/rootfs"), merged(baseFiles, ownFiles))
	}
}

func TestDamageOnTheWayIsFound(t *testing.T) {
	dir := t.TempDir()
	file := build(t, dir, "app", baseFiles, ownFiles)
	s, good := start(t, file), start(t, file)
	to := filepath.Join(dir, "data/rootfs")
	s.setWrap(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&flipWriter{ResponseWriter: w, at: 100 << 10}, r)
	})
	_, err := Pull(t.Context(), options(to, s))
	if !errors.Is(err, ErrDamaged) || hintOf(err) == "" {
		t.Errorf("damaged bytes: %v", err)
	}
	if _, err := os.Lstat(to); err == nil {
		t.Error("a damaged root file system is there")
	}
	_, err = Pull(t.Context(), options(to, s, good))
	must(t, err)
	same(t, to, merged(baseFiles, ownFiles))
}

// flipWriter changes one byte of a body.
type flipWriter struct {
	http.ResponseWriter
	at, seen int
}

func (f *flipWriter) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	if i := f.at - f.seen; i >= 0 && i < len(q) {
		q[i] ^= 1
	}
	f.seen += len(p)
	return f.ResponseWriter.Write(q)
}

func TestWrongDigestAndStrangeAnswers(t *testing.T) {
	dir := t.TempDir()
	s := start(t, build(t, dir, "app", nil, ownFiles))
	o := options(filepath.Join(dir, "data/rootfs"), s)
	o.Digest = digest.FromString("another")
	if _, err := Pull(t.Context(), o); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "has not got") {
		t.Errorf("wrong digest: %v", err)
	}
	// A manifest of the bundle that is no bundle's.
	o = options(filepath.Join(dir, "data/rootfs"), s)
	for name, bad := range map[string]func(*Options){
		"relative target":  func(o *Options) { o.To = "rootfs" },
		"target near root": func(o *Options) { o.To = "/data" },
		"reference":        func(o *Options) { o.Ref = "app:1" },
		"digest":           func(o *Options) { o.Digest = "sha256:12" },
		"registry":         func(o *Options) { o.Registries = []string{"ftp://x"} },
		"registry user":    func(o *Options) { o.Registries = []string{"https://u:p@x"} },
		"no registry":      func(o *Options) { o.Registries = nil },
		"CA":               func(o *Options) { o.CAFile = filepath.Join(dir, "none") },
	} {
		b := o
		bad(&b)
		if _, err := Pull(t.Context(), b); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Pull(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// entry is one of a layer that a test makes by hand.
type entry struct {
	name, text string
	kind       byte
}

func layerOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.text)), Typeflag: e.kind}
		if e.kind == tar.TypeSymlink || e.kind == tar.TypeLink {
			h.Size, h.Linkname = 0, e.text
		}
		must(t, tw.WriteHeader(h))
		if h.Size > 0 {
			_, err := tw.Write([]byte(e.text))
			must(t, err)
		}
	}
	must(t, tw.Close())
	return buf.Bytes()
}

func file(p, text string) manifest.File {
	return manifest.File{Path: p, Type: "file", Mode: 0o644, Size: int64(len(text)), Digest: digest.FromString(text)}
}

func TestLayersOfClusterImagesCountByTheirOwnDigest(t *testing.T) {
	var z bytes.Buffer
	gz := gzip.NewWriter(&z)
	_, err := gz.Write(layerOf(t, entry{"etc/", "", tar.TypeDir}, entry{"./etc/a", "old!", tar.TypeReg}, entry{"etc/b", "only here", tar.TypeReg},
		entry{"registry/blob", "not ours", tar.TypeReg}, entry{"etc/hard", "etc/a", tar.TypeLink}))
	must(t, err)
	must(t, gz.Close())
	top := layerOf(t, entry{"etc/a", "new!", tar.TypeReg})
	a, b := file("etc/a", "new!"), file("etc/b", "only here")
	a.Digest, b.Digest = "", ""
	f := newFake(t, []manifest.File{a, b}, ocispec.MediaTypeImageLayerGzip, z.Bytes())
	// One gzip layer and one that is a plain tar.
	f = withLayer(t, f, []manifest.File{a, b}, z.Bytes(), top)
	to := filepath.Join(t.TempDir(), "data/rootfs")
	r, err := Pull(t.Context(), f.options(to))
	must(t, err)
	same(t, to, content{"etc/a": "new!", "etc/b": "only here"})
	if r.Written != 2 {
		t.Errorf("%+v", r)
	}
	// With another last byte the whole layer counts for nothing.
	f.blobs[digest.FromBytes(top)] = append(bytes.Clone(top[:len(top)-1]), 1)
	other := filepath.Join(t.TempDir(), "data/rootfs")
	if _, err := Pull(t.Context(), f.options(other)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged layer: %v", err)
	}
	if got := look(t, other+".part"); len(got) != 0 {
		t.Errorf("files of a damaged layer stay: %v", got)
	}
}

func withLayer(t *testing.T, f *fake, files []manifest.File, zipped, plain []byte) *fake {
	t.Helper()
	g := newFake(t, files, ocispec.MediaTypeImageLayer, zipped, plain)
	// The media type of the first is changed in the manifest.
	raw := bytes.Replace(g.blobs[g.d], []byte(ocispec.MediaTypeImageLayer+`"`), []byte(ocispec.MediaTypeImageLayerGzip+`"`), 1)
	g.d = digest.FromBytes(raw)
	g.blobs[g.d] = raw
	return g
}

func TestHostileInventoriesAreRefused(t *testing.T) {
	ok := file("etc/a", "x")
	for name, files := range map[string][]manifest.File{
		"way out":        {file("../a", "x")},
		"way out inside": {file("etc/../../a", "x")},
		"absolute":       {file("/etc/a", "x")},
		"unclean":        {file("etc//a", "x")},
		"empty":          {file("", "x")},
		"dot":            {file(".", "x")},
		"nul":            {file("a\x00b", "x")},
		"twice":          {ok, ok},
		"our marker":     {file(".bundle.json", "x")},
		"our originals":  {file(".bundle-orig/etc/a", "x")},
		"below a link":   {{Path: "l", Type: "symlink", Link: "/etc"}, file("l/passwd", "x")},
		"below a file":   {ok, file("etc/a/b", "x")},
		"negative size":  {{Path: "a", Type: "file", Size: -1}},
		"huge size":      {{Path: "a", Type: "file", Size: 1 << 51}},
		"set-uid":        {{Path: "a", Type: "file", Mode: 0o4755, Size: 0}},
		"a device":       {{Path: "a", Type: "char"}},
		"bad digest":     {{Path: "a", Type: "file", Size: 1, Digest: "md5:1"}},
		"empty link":     {{Path: "a", Type: "symlink"}},
		"missing":        {ok, file("etc/b", "not in the layer")},
		"wrong text":     {file("etc/a", "y")},
	} {
		f := newFake(t, files, ocispec.MediaTypeImageLayer, layerOf(t, entry{"etc/a", "x", tar.TypeReg}))
		to := filepath.Join(t.TempDir(), "data/rootfs")
		if _, err := Pull(t.Context(), f.options(to)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(to); err == nil {
			t.Errorf("%s: something is there", name)
		}
	}
}

func TestLinksOfALayerLeadNowhere(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "a"), []byte("mine"), 0o644))
	// The layer first makes etc a link to a foreign folder, then writes there.
	f := newFake(t, []manifest.File{file("etc/a", "x")}, ocispec.MediaTypeImageLayer,
		layerOf(t, entry{"etc", outside, tar.TypeSymlink}, entry{"etc/a", "x", tar.TypeReg}, entry{"../../../b", "x", tar.TypeReg}))
	to := filepath.Join(t.TempDir(), "data/rootfs")
	_, err := Pull(t.Context(), f.options(to))
	must(t, err)
	same(t, to, content{"etc/a": "x"})
	// A link that somebody put into the target is not followed either.
	must(t, os.RemoveAll(filepath.Join(to, "etc")))
	must(t, os.Symlink(outside, filepath.Join(to, "etc")))
	_, err = Pull(t.Context(), f.options(to))
	must(t, err)
	same(t, to, content{"etc/a": "x"})
	if b, _ := os.ReadFile(filepath.Join(outside, "a")); string(b) != "mine" {
		t.Errorf("a file outside became %q", b)
	}
}

func TestOnlyWhatIsMissingOfALargeLayerIsFetched(t *testing.T) {
	big, small := strings.Repeat("b", 9<<20), "small"
	f := newFake(t, []manifest.File{file("big", big), file("small", small)}, ocispec.MediaTypeImageLayer,
		layerOf(t, entry{"big", big, tar.TypeReg}, entry{"small", small, tar.TypeReg}))
	to := filepath.Join(t.TempDir(), "data/rootfs")
	_, err := Pull(t.Context(), f.options(to))
	must(t, err)
	must(t, os.Remove(filepath.Join(to, "small")))
	r, err := Pull(t.Context(), f.options(to))
	must(t, err)
	if r.State != Repaired || r.Pulled > 2<<20 {
		t.Errorf("%+v", r)
	}
	same(t, to, content{"big": big, "small": small})
}
