package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"golang.org/x/sync/errgroup"
)

// recipe is one image of the corpus: packages by layer, over the base that all
// share. Layers of several images with the same packages and compressors below
// them are the same layer, as with images of one base in the wild.
type recipe struct {
	name   string
	layers []layerRecipe
}

type layerRecipe struct {
	packages string // space-separated; what they depend on and lies in no layer below comes along
	writer   string
}

// The writers of layers, as they occur in the wild: Docker and BuildKit
// (Go's gzip), podman and buildah (pgzip), zstd, and none.
const (
	goGzip = "gzip"
	pGzip  = "pgzip"
	zStd   = "zstd"
	noComp = "tar"
)

var base = layerRecipe{"base-files base-passwd bash ca-certificates coreutils dash findutils grep gzip hostname libc-bin login mount openssl passwd sed tar util-linux perl-base", goGzip}

var (
	java   = layerRecipe{"openjdk-17-jre-headless", goGzip}
	python = layerRecipe{"python3", pGzip}
	erlang = layerRecipe{"erlang-base", zStd}
)

var recipes = []recipe{
	{"nginx", []layerRecipe{{"nginx", goGzip}}},
	{"apache2", []layerRecipe{{"apache2", goGzip}}},
	{"haproxy", []layerRecipe{{"haproxy", noComp}}},
	{"redis", []layerRecipe{{"redis", noComp}}},
	{"bind9", []layerRecipe{{"bind9", pGzip}}},
	{"postgres", []layerRecipe{{"postgresql-15", pGzip}}},
	{"mariadb", []layerRecipe{{"mariadb-server", goGzip}}},
	{"etcd", []layerRecipe{{"etcd-server", goGzip}}},
	{"prometheus", []layerRecipe{{"prometheus", zStd}}},
	{"docker", []layerRecipe{{"docker.io", goGzip}}},
	{"nodejs", []layerRecipe{{"nodejs", goGzip}}},
	{"ruby", []layerRecipe{{"ruby", pGzip}}},
	{"php", []layerRecipe{{"php", goGzip}}},
	{"python", []layerRecipe{python}},
	{"scipy", []layerRecipe{python, {"python3-scipy python3-pandas", pGzip}}},
	{"ansible", []layerRecipe{python, {"ansible", goGzip}}},
	{"jre", []layerRecipe{java}},
	{"jdk", []layerRecipe{java, {"openjdk-17-jdk-headless", goGzip}}},
	{"tomcat", []layerRecipe{java, {"tomcat10", goGzip}}},
	{"zookeeper", []layerRecipe{java, {"zookeeper", pGzip}}},
	{"rabbitmq", []layerRecipe{erlang, {"rabbitmq-server", zStd}}},
	{"golang", []layerRecipe{{"golang-1.19-go", goGzip}}},
	{"rust", []layerRecipe{{"rustc", pGzip}}},
	{"gcc", []layerRecipe{{"g++", goGzip}}},
	{"ceph", []layerRecipe{{"ceph-common", zStd}}},
	{"qemu", []layerRecipe{{"qemu-system-x86", goGzip}}},
	{"chromium", []layerRecipe{{"chromium", pGzip}}},
	{"r-base", []layerRecipe{{"r-base-core", goGzip}}},
}

// patched are the images of which there is a second version, in which one
// small file of the topmost layer is another.
var patched = []string{"nginx", "ruby", "tomcat"}

// corpus is what lies in a folder: a registry's storage, ready to be served,
// and what is in it.
type corpus struct {
	Release  string        `json:"release"`
	Images   []corpusImage `json:"images"`
	Layers   int           `json:"layers"` // different ones of the first versions
	Blobs    int           `json:"blobs"`
	Bytes    int64         `json:"bytes"` // of all blobs, once each
	Raw      int64         `json:"raw"`   // of all layers, not compressed
	Writers  []writerShare `json:"writers"`
	Changed  int64         `json:"changed"` // bytes of the layers that are new in the second versions
	Packages int           `json:"packages"`
}

type corpusImage struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Next   string `json:"next,omitempty"` // digest of the second version
}

type writerShare struct {
	Writer string `json:"writer"`
	Layers int    `json:"layers"`
	Bytes  int64  `json:"bytes"`
}

const corpusFile = "corpus.json"

// loadCorpus gives the corpus in a folder, making it first if it is not there.
func loadCorpus(dir string) (*corpus, error) {
	data, err := os.ReadFile(filepath.Join(dir, corpusFile))
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeCorpus(dir); err != nil {
			return nil, fmt.Errorf("the images cannot be made: %w", err)
		}
		data, err = os.ReadFile(filepath.Join(dir, corpusFile))
	}
	if err != nil {
		return nil, err
	}
	c := &corpus{}
	return c, json.Unmarshal(data, c)
}

// maker makes a corpus.
type maker struct {
	dir     string
	apt     []string
	layers  map[string]*layer // by chain of recipes
	addr    string
	deb     map[string][]string // closures by list of packages
	fetched map[string]bool
}

// layer is one layer as it was written.
type layer struct {
	descriptor
	diffID string
	raw    int64
	writer string
	file   string
}

func makeCorpus(dir string) error {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: the images are made of Debian packages, so run this on Debian", tool)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	m := &maker{dir: dir, layers: map[string]*layer{}, deb: map[string][]string{}, fetched: map[string]bool{}}
	for _, d := range []string{"registry", "debs/partial", "none/partial", "layers"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	// An empty status: nothing is installed, so that all that is needed comes.
	status := filepath.Join(dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	m.apt = []string{"-o", "Dir::State::status=" + status, "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "--no-install-recommends", "-y", "-qq"}
	if err := m.fetchPackages(); err != nil {
		return err
	}
	if err := m.writeLayers(); err != nil {
		return err
	}
	v, addr, err := distribution(dir, filepath.Join(dir, "config.yml"))
	if err != nil {
		return err
	}
	m.addr = addr
	c, err := m.pushImages()
	v.stop(&sample{})
	if err != nil {
		return err
	}
	for _, d := range []string{"debs", "none", "layers", "status", "config.yml"} {
		if err := os.RemoveAll(filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, corpusFile), append(data, '\n'), 0o644)
}

// fetchPackages finds out what every list of packages leans on, and fetches it.
func (m *maker) fetchPackages() error {
	lists := []string{base.packages}
	for _, r := range recipes {
		for _, l := range r.layers {
			lists = append(lists, l.packages)
		}
	}
	for _, list := range lists {
		if _, ok := m.deb[list]; ok {
			continue
		}
		// Names come from a folder that holds nothing: apt says only what it
		// would have to fetch.
		out, err := m.run("--print-uris", "none", list)
		if err != nil {
			return err
		}
		m.deb[list] = []string{}
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) >= 3 && strings.HasSuffix(f[1], ".deb") {
				m.deb[list] = append(m.deb[list], f[1])
				m.fetched[f[1]] = true
			}
		}
		slices.Sort(m.deb[list])
		fmt.Fprintf(os.Stderr, "corpus: packages of %s\n", list)
		if _, err := m.run("--download-only", "debs", list); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) run(mode, archives, packages string) (string, error) {
	args := slices.Concat(m.apt, []string{mode, "-o", "Dir::Cache::archives=" + filepath.Join(m.dir, archives), "install"}, strings.Fields(packages))
	cmd := exec.Command("apt-get", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("apt-get %s %s: %w\n%s", mode, packages, err, &errs)
	}
	return out.String(), nil
}

// chains gives the layers of an image, bottom first, each with what it adds
// to the packages below it. The key of a layer is all that it depends on.
type link struct {
	key    string
	debs   []string
	writer string
}

func (m *maker) chain(r recipe) []link {
	var chain []link
	below := map[string]bool{}
	key := ""
	for _, l := range append([]layerRecipe{base}, r.layers...) {
		key += l.packages + "/" + l.writer + "\n"
		n := link{key: key, writer: l.writer}
		for _, d := range m.deb[l.packages] {
			if !below[d] {
				below[d] = true
				n.debs = append(n.debs, d)
			}
		}
		chain = append(chain, n)
	}
	return chain
}

// patch is added to the key of a layer's second version.
const patch = "patch"

// writeLayers writes all different layers into files, as many at once as there
// are CPUs.
func (m *maker) writeLayers() error {
	todo := map[string]link{}
	for _, r := range recipes {
		chain := m.chain(r)
		for _, l := range chain {
			todo[l.key] = l
		}
		if slices.Contains(patched, r.name) {
			l := chain[len(chain)-1]
			l.key += patch
			todo[l.key] = l
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	made := make([]*layer, 0, len(todo))
	for _, l := range todo {
		out := &layer{writer: l.writer, file: filepath.Join(m.dir, "layers", fmt.Sprint(len(made)))}
		made = append(made, out)
		m.layers[l.key] = out
		g.Go(func() error {
			if err := m.writeLayer(l, out); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "corpus: layer of %.1f MB by %s\n", float64(out.Size)/1e6, out.writer)
			return nil
		})
	}
	return g.Wait()
}

func (m *maker) writeLayer(l link, out *layer) error {
	f, err := os.Create(out.file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	packedHash, rawHash := sha256.New(), sha256.New()
	packed, raw := &count{w: io.MultiWriter(f, packedHash)}, &count{}
	var z io.WriteCloser
	switch l.writer {
	case goGzip:
		z = gzip.NewWriter(packed)
	case pGzip:
		z = pgzip.NewWriter(packed)
	case zStd:
		if z, err = zstd.NewWriter(packed, zstd.WithEncoderConcurrency(1)); err != nil {
			return err
		}
	default:
		z = nopCloser{packed}
	}
	raw.w = io.MultiWriter(z, rawHash)
	t := tar.NewWriter(raw)
	seen := map[string]bool{}
	for _, deb := range l.debs {
		if err := addPackage(t, filepath.Join(m.dir, "debs", deb), seen); err != nil {
			return fmt.Errorf("%s: %w", deb, err)
		}
	}
	if strings.HasSuffix(l.key, patch) {
		note := []byte("a patch release\n")
		h := &tar.Header{Name: "etc/patch-release", Mode: 0o644, Size: int64(len(note)), ModTime: time.Unix(1e9, 0)}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(note); err != nil {
			return err
		}
	}
	for _, c := range []io.Closer{t, z, f} {
		if err := c.Close(); err != nil {
			return err
		}
	}
	out.Size, out.raw = packed.n, raw.n
	out.Digest = "sha256:" + hex.EncodeToString(packedHash.Sum(nil))
	out.diffID = "sha256:" + hex.EncodeToString(rawHash.Sum(nil))
	return nil
}

// addPackage adds the files of a package to a layer, folders once.
func addPackage(t *tar.Writer, deb string, seen map[string]bool) error {
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := tar.NewReader(stdout)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(h.Name, "./")
		if h.Name == "" || seen[h.Name] {
			continue
		}
		seen[h.Name] = true
		h.Linkname = strings.TrimPrefix(h.Linkname, "./")
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(t, r); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		return err
	}
	return cmd.Wait()
}

type count struct {
	w io.Writer
	n int64
}

func (c *count) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// pushImages puts all images into the registry.
func (m *maker) pushImages() (*corpus, error) {
	c := &corpus{Release: release(), Packages: len(m.fetched)}
	blobs := map[string]int64{}
	layers := map[string]bool{}
	for _, r := range recipes {
		chain := m.chain(r)
		img := corpusImage{Name: "bench/" + r.name}
		var err error
		var configAndManifest []descriptor
		img.Digest, configAndManifest, err = m.pushImage(img.Name, "v1", chain)
		if err != nil {
			return nil, err
		}
		for _, d := range configAndManifest {
			blobs[d.Digest] = d.Size
		}
		for _, l := range chain {
			have := m.layers[l.key]
			blobs[have.Digest] = have.Size
			if !layers[have.Digest] {
				layers[have.Digest] = true
				c.Raw += have.raw
				i := slices.IndexFunc(c.Writers, func(s writerShare) bool { return s.Writer == have.writer })
				if i < 0 {
					i = len(c.Writers)
					c.Writers = append(c.Writers, writerShare{Writer: have.writer})
				}
				c.Writers[i].Layers++
				c.Writers[i].Bytes += have.Size
			}
		}
		if slices.Contains(patched, r.name) {
			last := len(chain) - 1
			chain[last].key += patch
			if img.Next, _, err = m.pushImage(img.Name, "v2", chain); err != nil {
				return nil, err
			}
			c.Changed += m.layers[chain[last].key].Size
		}
		c.Images = append(c.Images, img)
	}
	c.Layers, c.Blobs = len(layers), len(blobs)
	for _, n := range blobs {
		c.Bytes += n
	}
	return c, nil
}

func (m *maker) pushImage(repo, tag string, chain []link) (string, []descriptor, error) {
	var diffIDs []string
	var layers []map[string]any
	for _, l := range chain {
		have := m.layers[l.key]
		diffIDs = append(diffIDs, have.diffID)
		mediaType := "application/vnd.oci.image.layer.v1.tar"
		switch l.writer {
		case goGzip, pGzip:
			mediaType += "+gzip"
		case zStd:
			mediaType += "+zstd"
		}
		layers = append(layers, map[string]any{"mediaType": mediaType, "digest": have.Digest, "size": have.Size})
		f, err := os.Open(have.file)
		if err != nil {
			return "", nil, err
		}
		err = pushBlob(m.addr, repo, have.descriptor, f)
		_ = f.Close()
		if err != nil {
			return "", nil, err
		}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/bash"}, "Env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}})
	if err != nil {
		return "", nil, err
	}
	cd := describe(config)
	if err := pushBlob(m.addr, repo, cd, bytes.NewReader(config)); err != nil {
		return "", nil, err
	}
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "layers": layers,
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": cd.Digest, "size": cd.Size}})
	if err != nil {
		return "", nil, err
	}
	md := describe(manifest)
	return md.Digest, []descriptor{cd, md}, put("http://"+m.addr+"/v2/"+repo+"/manifests/"+tag, mediaType, md.Size, bytes.NewReader(manifest))
}

func describe(data []byte) descriptor {
	return descriptor{fmt.Sprintf("sha256:%x", sha256.Sum256(data)), int64(len(data))}
}

// release is what the distribution calls itself.
func release() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return "unknown"
}
