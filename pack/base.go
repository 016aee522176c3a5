package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/manifest/kubefile"
	"bundle/registry/pull"
	"bundle/verify"
)

// base is what FROM names: a bundle, or a cluster image in a registry.
type base struct {
	ref  string
	name string // of the file or the source, for messages
	// digest of the bundle's index.json, or of the cluster image's manifest.
	digest   digest.Digest
	contents *manifest.Contents
	// files are the layers of the root file system.
	rootfs []baseLayer
	// reader is the bundle; nil for a cluster image.
	reader *archive.Reader
}

type baseLayer struct {
	desc ocispec.Descriptor
	blob archive.Blob
	open opener
}

// bundleBase makes a base of a bundle.
func bundleBase(ref, name string, r *archive.Reader, contents *manifest.Contents, m *ocispec.Manifest) (*base, error) {
	b := &base{ref: ref, name: name, digest: r.IndexDigest(), contents: contents, reader: r}
	for _, l := range m.Layers {
		if l.MediaType == ocispec.MediaTypeEmptyJSON {
			continue
		}
		blob, ok := r.Stat(l.Digest)
		if !ok {
			return nil, fmt.Errorf("%s: %w: root file system layer %s", name, archive.ErrMissing, l.Digest)
		}
		b.rootfs = append(b.rootfs, baseLayer{desc: l, blob: blob, open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
			br, err := r.Open(l.Digest)
			if err != nil {
				return nil, err
			}
			return io.NopCloser(br.Section(offset, br.Size()-offset)), nil
		}})
	}
	return b, nil
}

// openSources opens what --from names, in order, and finds the base among it.
func openSources(ctx context.Context, o Options, in *inputs, ahead *pull.Ahead) (sources []pull.Source, b *base, closers []io.Closer, err error) {
	fail := func(err error) ([]pull.Source, *base, []io.Closer, error) {
		for _, c := range closers {
			c.Close()
		}
		return nil, nil, nil, err
	}
	var offered []string
	for _, s := range o.From {
		spec, err := pull.ParseSource(s)
		if err != nil {
			return fail(inputError{err})
		}
		if spec.Kind != pull.KindBundle {
			src, err := spec.Open()
			if err != nil {
				return fail(inputError{err})
			}
			sources, closers = append(sources, src), append(closers, src)
			continue
		}
		r, files, err := openFrom(ctx, spec.Path)
		closers = append(closers, files...)
		if err != nil {
			return fail(fmt.Errorf("--from %s: %w", s, err))
		}
		contents, m, err := ReadContents(r)
		if err != nil {
			return fail(fmt.Errorf("--from %s: %w", s, err))
		}
		src := pull.NewBundle(s, r)
		sources = append(sources, src)
		offered = append(offered, fmt.Sprintf("%s holds %s:%s", s, contents.Name, contents.Version))
		if b == nil && in.base != "" && namesBundle(in.base, contents) {
			if b, err = bundleBase(in.base, s, r, contents, m); err != nil {
				return fail(err)
			}
		}
	}
	remote, err := newRemote(o.Registry, ahead)
	if err != nil {
		return fail(inputError{err})
	}
	sources, closers = append(sources, remote), append(closers, remote)
	if in.base != "" && in.base != kubefile.Scratch && b == nil {
		if b, err = clusterImage(ctx, in, sources); err != nil {
			return fail(noBase(in, offered, err))
		}
		o.Warn(Warning{Source: in.baseSource, Text: fmt.Sprintf("%s is a cluster image and no bundle: its charts are not looked through for images", in.base)})
	}
	return sources, b, closers, nil
}

// openFrom opens the bundle of --from bundle:FILES. FILES are one file, or
// those of a delta with its base, or of volumes, with commas between; one that
// does not exist may be a pattern, as no shell expands it there. All that was
// opened is to be closed, also after an error.
func openFrom(ctx context.Context, files string) (*archive.Reader, []io.Closer, error) {
	paths := []string{files}
	if _, err := os.Lstat(files); err != nil {
		paths = nil
		for _, p := range strings.Split(files, ",") {
			if found, err := filepath.Glob(p); err == nil && len(found) > 0 {
				paths = append(paths, found...)
			} else {
				paths = append(paths, p)
			}
		}
	}
	readers, errs := archive.OpenAll(paths)
	closers := make([]io.Closer, len(readers))
	for i, r := range readers {
		closers[i] = r
	}
	for i, err := range errs {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = inputError{noSuchFile(paths[i], err)}
			}
			return nil, closers, err
		}
	}
	g := verify.Gather(readers, nil)
	if err := g.Err(); err != nil {
		return nil, closers, err
	}
	if len(g.Bundles) != 1 {
		return nil, closers, inputError{fmt.Errorf("%s and %s are two bundles; give each with a --from of its own", g.Bundles[0].Path(), g.Bundles[1].Path())}
	}
	return g.Bundles[0], closers, verify.Complete(ctx, g.Bundles[0])
}

func noBase(in *inputs, offered []string, err error) error {
	text := "no bundle given by --from holds it"
	if len(offered) > 0 {
		text += " (" + strings.Join(offered, ", ") + ")"
	}
	return hintError{
		fmt.Errorf("%s: FROM %s: %s, and as a cluster image: %w", in.baseSource, in.base, text, err),
		"build the base as a bundle first, from its own context, then say --from bundle:FILE",
	}
}

// hintError carries what to do next for the command line.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// Hint is one line that says what to do next.
func (e hintError) Hint() string { return e.hint }

// namesBundle says whether FROM ref means the bundle: the last component of
// its repository is the bundle's name and its tag the bundle's version.
func namesBundle(ref string, c *manifest.Contents) bool {
	r, err := manifest.ParseReference(ref)
	return err == nil && path.Base(r.Repository) == c.Name && r.Tag == c.Version
}

// inherited says in a source that it is one of the base's input. What is a
// place in a file stays one.
func (b *base) inherited(s manifest.Source) manifest.Source {
	if s == "" {
		return ""
	}
	if strings.ContainsRune(string(s), ' ') {
		return manifest.Source("base " + b.contents.Name + ": " + string(s))
	}
	return manifest.Source(b.contents.Name + "/" + string(s))
}

// steps gives the base's steps, with their sources as the base's.
func (b *base) steps() []manifest.Step {
	list := slices.Clone(b.contents.Steps)
	for i := range list {
		list[i].Source = b.inherited(list[i].Source)
	}
	return list
}

// files gives the base's files, with their sources as the base's.
func (b *base) files() []manifest.File {
	list := slices.Clone(b.contents.Files)
	for i := range list {
		list[i].Source = b.inherited(list[i].Source)
	}
	return list
}

// layers puts the base's root file system into the file.
func (b *base) layers(c *composer) ([]ocispec.Descriptor, error) {
	var list []ocispec.Descriptor
	for _, l := range b.rootfs {
		if err := c.addRemote(l.blob, l.open, "base "+b.contents.Name, true); err != nil {
			return nil, err
		}
		list = append(list, l.desc)
	}
	return list, nil
}

// mergeFiles puts own files over the base's.
func mergeFiles(base, own []manifest.File) []manifest.File {
	tree := newRootfs()
	for _, list := range [][]manifest.File{base, own} {
		for _, f := range list {
			tree.entries[f.Path] = &rootfsEntry{File: f}
		}
	}
	return tree.files()
}
