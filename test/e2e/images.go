package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// recipe says what an image consists of: files from this machine, in one
// layer over nothing.
type recipe struct {
	name       string
	entrypoint []string
	files      map[string]string // path in the image → path here
	links      map[string]string // path in the image → target
	// closure are programs of base that come with the libraries they need.
	closure []string
}

// recipes are the images of the cluster image that really run: kubeadm's own
// and the network. kube and programs hold what was compiled, base is a Debian
// and runtime the distribution's CNI plugins.
func recipes(kube, programs, runtime string) []recipe {
	const repo = "registry.cn-hangzhou.aliyuncs.com/oecp/"
	local := func(name string) map[string]string {
		return map[string]string{"/usr/local/bin/" + name: filepath.Join(kube, name)}
	}
	out := []recipe{
		{name: repo + "pause:3.10.1", entrypoint: []string{"/pause"}, files: map[string]string{"/pause": filepath.Join(programs, "pause")}},
		{name: repo + "kube-proxy:v1.34.4", files: local("kube-proxy"), closure: []string{
			"/usr/sbin/xtables-nft-multi", "/usr/lib/x86_64-linux-gnu/xtables/*.so", "/usr/sbin/conntrack", "/usr/sbin/nft",
		}, links: map[string]string{
			"/usr/sbin/iptables": "xtables-nft-multi", "/usr/sbin/iptables-save": "xtables-nft-multi", "/usr/sbin/iptables-restore": "xtables-nft-multi",
			"/usr/sbin/ip6tables": "xtables-nft-multi", "/usr/sbin/ip6tables-save": "xtables-nft-multi", "/usr/sbin/ip6tables-restore": "xtables-nft-multi",
			"/lib": "usr/lib", "/lib64": "usr/lib64",
		}},
		{name: repo + "etcd:3.6.5-0", files: map[string]string{
			"/usr/local/bin/etcd": filepath.Join(kube, "etcd"), "/usr/local/bin/etcdctl": filepath.Join(kube, "etcdctl"),
		}},
		{name: repo + "coredns:v1.12.1", entrypoint: []string{"/coredns"}, files: map[string]string{"/coredns": filepath.Join(kube, "coredns")}},
		{name: "docker.io/hybridnetdev/hybridnet:v0.1.1", entrypoint: []string{"/hybridnet"}, files: map[string]string{
			"/hybridnet": filepath.Join(programs, "hybridnet"),
		}},
	}
	for _, n := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		out = append(out, recipe{name: repo + n + ":v1.34.4", files: local(n)})
	}
	for _, p := range []string{"bridge", "host-local", "portmap", "loopback"} {
		out[4].files["/plugins/"+p] = filepath.Join(runtime, "usr/lib/cni", p)
	}
	return out
}

// writeImages makes the images of recipes as an OCI layout at dir, whose
// names are the references that a build asks for.
func writeImages(ctx context.Context, dir, base string, list []recipe) error {
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	for _, r := range list {
		img, err := r.image(ctx, base)
		if err != nil {
			return fmt.Errorf("image %s cannot be made: %w", r.name, err)
		}
		if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.name})); err != nil {
			return fmt.Errorf("image %s cannot be written: %w", r.name, err)
		}
	}
	return nil
}

func (r recipe) image(ctx context.Context, base string) (v1.Image, error) {
	files := map[string]string{}
	for to, from := range r.files {
		files[to] = from
	}
	for _, pattern := range r.closure {
		found, err := filepath.Glob(base + pattern)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("the base has no %s (%w)", pattern, err)
		}
		for _, f := range found {
			inside := strings.TrimPrefix(f, base)
			files[inside] = f
			libs, err := libraries(ctx, base, inside)
			if err != nil {
				return nil, err
			}
			for _, lib := range libs {
				files[lib] = base + lib
			}
		}
	}
	b, err := archive(files, r.links)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), l)
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", "amd64"
	cfg.Config.Entrypoint = r.entrypoint
	cfg.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return mutate.ConfigFile(img, cfg)
}

var libraryPath = regexp.MustCompile(`/\S+`)

// libraries are the files that a program of base is linked to, each under the
// name that the program asks for.
func libraries(ctx context.Context, base, program string) ([]string, error) {
	out, err := output(ctx, "chroot", base, "ldd", program)
	if err != nil {
		if strings.Contains(err.Error(), "not a dynamic executable") {
			return nil, nil
		}
		return nil, err
	}
	var libs []string
	for _, lib := range libraryPath.FindAllString(out, -1) {
		// /lib is a link to usr/lib; an image has it, too.
		if strings.HasPrefix(lib, "/lib") {
			lib = "/usr" + lib
		}
		libs = append(libs, lib)
	}
	return libs, nil
}

// archive is a tar of the files and links, with all folders above them and a
// /tmp. Links are followed: a file is in it under every name asked for.
func archive(files, links map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	names := []string{}
	dirs := map[string]bool{"/tmp": true}
	for _, m := range []map[string]string{files, links} {
		for name := range m {
			names = append(names, name)
			for d := path.Dir(name); d != "/"; d = path.Dir(d) {
				dirs[d] = true
			}
		}
	}
	for d := range dirs {
		names = append(names, d)
	}
	slices.Sort(names)
	for _, name := range names {
		h := &tar.Header{Name: strings.TrimPrefix(name, "/"), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		var content []byte
		switch {
		case files[name] != "":
			st, err := os.Stat(files[name])
			if err != nil {
				return nil, err
			}
			if content, err = os.ReadFile(files[name]); err != nil {
				return nil, err
			}
			h.Typeflag, h.Mode, h.Size = tar.TypeReg, int64(st.Mode().Perm()), int64(len(content))
		case links[name] != "":
			h.Typeflag, h.Mode, h.Linkname = tar.TypeSymlink, 0o777, links[name]
		default:
			h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, h.Name+"/"
			if name == "/tmp" {
				h.Mode = 0o1777
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
