package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/pack"
	"bundle/registry/serve"
	"bundle/registry/wire"
)

// content is a folder to pack: path to text. A text that begins with "-> " is
// a link, one that begins with "#!" a program.
type content map[string]string

// build packs two layers: what the base has, and what is put over it.
func build(t *testing.T, dir, name string, base, own content) string {
	t.Helper()
	baseFile := ""
	for i, c := range []content{base, own} {
		if c == nil {
			continue
		}
		ctx := filepath.Join(dir, name, []string{"base", "own"}[i])
		kubefile := "FROM scratch\n"
		o := pack.Options{Context: ctx, Name: name + "-base", Version: "1", Output: filepath.Join(dir, name+"-base.tar.zst"), Dialect: "0.9", Warn: func(pack.Warning) {}}
		if i == 1 {
			o.Name, o.Output = name, filepath.Join(dir, name+".tar.zst")
			if baseFile != "" {
				kubefile = "FROM " + name + "-base:1\n"
				o.From = []string{"bundle:" + baseFile}
			}
		}
		for p, text := range c {
			at := filepath.Join(ctx, "files", p)
			must(t, os.MkdirAll(filepath.Dir(at), 0o755))
			if link, ok := strings.CutPrefix(text, "-> "); ok {
				must(t, os.Symlink(link, at))
				continue
			}
			mode := os.FileMode(0o644)
			if strings.HasPrefix(text, "#!") {
				mode = 0o755
			}
			must(t, os.WriteFile(at, []byte(text), mode))
		}
		kubefile += "COPY files .\n"
		must(t, os.WriteFile(filepath.Join(ctx, "Kubefile"), []byte(kubefile), 0o644))
		b, err := pack.Prepare(t.Context(), o, nil)
		must(t, err)
		_, err = b.Run(t.Context())
		must(t, err)
		must(t, b.Close())
		baseFile = o.Output
	}
	return baseFile
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a registry that serves one bundle.
type site struct {
	*httptest.Server
	file string
	ref  string
	d    digest.Digest

	mu   sync.Mutex
	seen []string // paths of blobs that were asked for
	// wrap, if set, stands before the registry's answers with blobs.
	wrap func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func start(t *testing.T, file string) *site {
	t.Helper()
	r, err := archive.Open(file)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	must(t, r.Load())
	s := &site{file: file}
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == archive.KindBundle {
			s.d, s.ref = d.Digest, d.Annotations[archive.AnnotationRef]
		}
	}
	srv, err := serve.New([]serve.Bundle{{Name: file, Content: serve.Archive(r)}}, serve.Options{})
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/blobs/") {
			s.mu.Lock()
			s.seen = append(s.seen, req.URL.Path)
			wrap := s.wrap
			s.mu.Unlock()
			if wrap != nil {
				wrap(w, req, srv.Handler())
				return
			}
		}
		srv.Handler().ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *site) setWrap(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrap = f
}

// options pull from the sites into a folder of the test.
func options(to string, sites ...*site) Options {
	o := Options{Ref: sites[0].ref, Digest: sites[0].d, To: to,
		HTTP: wire.Options{Retries: -1, Backoff: func(int) time.Duration { return 0 }}}
	for _, s := range sites {
		o.Registries = append(o.Registries, s.URL)
	}
	return o
}

// look gives the tree at dir as content; our own files are left out.
func look(t *testing.T, dir string) content {
	t.Helper()
	c := content{}
	must(t, filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || info.IsDir() || strings.HasPrefix(rel, ".bundle") {
			return err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			link, err := os.Readlink(p)
			c[rel] = "-> " + link
			return err
		}
		text, err := os.ReadFile(p)
		c[rel] = string(text)
		if exec := strings.HasPrefix(c[rel], "#!"); exec != (info.Mode()&0o100 != 0) {
			t.Errorf("%s has mode %v", rel, info.Mode())
		}
		return err
	}))
	return c
}

func same(t *testing.T, dir string, want content) {
	t.Helper()
	got := look(t, dir)
	for p, text := range want {
		if got[p] != text {
			t.Errorf("%s is %.60q, want %.60q", p, got[p], text)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s is there and should not be", p)
		}
	}
	for _, left := range []string{".part", ".old"} {
		if _, err := os.Lstat(dir + left); err == nil {
			t.Errorf("%s is left behind", dir+left)
		}
	}
}

// fake is a registry that gives exactly the blobs it was made of, whatever
// their digest says.
type fake struct {
	*httptest.Server
	blobs map[digest.Digest][]byte
	ref   string
	d     digest.Digest
}

// newFake makes a bundle's manifest over an inventory and layers.
func newFake(t *testing.T, files []manifest.File, mediaType string, layers ...[]byte) *fake {
	t.Helper()
	f := &fake{blobs: map[digest.Digest][]byte{}, ref: "bundle/fake:1"}
	blob := func(mediaType string, data []byte) ocispec.Descriptor {
		d := digest.FromBytes(data)
		f.blobs[d] = data
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	inventory, err := json.Marshal(manifest.Contents{SchemaVersion: 1, Name: "fake", Version: "1", Files: files})
	must(t, err)
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType, Config: blob(configType, inventory)}
	m.SchemaVersion = 2
	for _, l := range layers {
		m.Layers = append(m.Layers, blob(mediaType, l))
	}
	raw, err := json.Marshal(m)
	must(t, err)
	f.d = blob(m.MediaType, raw).Digest
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := strings.LastIndexByte(r.URL.Path, '/')
		data, ok := f.blobs[digest.Digest(r.URL.Path[i+1:])]
		if r.URL.Path == "/v2/" {
			return
		}
		if !ok {
			http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, http.StatusNotFound)
			return
		}
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) options(to string) Options {
	return Options{Registries: []string{f.URL}, Ref: f.ref, Digest: f.d, To: to, HTTP: wire.Options{Retries: -1}}
}

// cutWriter passes so many bytes of a body on and then breaks the connection.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		p = p[:c.left]
	}
	n, _ := c.ResponseWriter.Write(p)
	if c.left -= n; c.left <= 0 {
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
