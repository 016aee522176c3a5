package push

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"bundle/archive"
	"bundle/registry/wire"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

// Media types of a bundle that a registry holds as the file it is: one layer
// for each file, titled by its name, so that any OCI client gets it back.
const (
	ArtifactTypeFile = "application/vnd.bundle.file.v1"
	MediaTypeFile    = "application/vnd.bundle.file.v1.tar+zstd"
)

// KindFile is the [Item.Kind] of a bundle pushed as a file.
const KindFile = "file"

// File is one file to push as it is.
type File struct {
	Path   string
	Digest digest.Digest
	Size   int64
}

// FileTarget is where files go to.
type FileTarget struct {
	Registry, Repository, Tag string
}

// ParseFileTarget reads REGISTRY/REPOSITORY:TAG. Errors wrap [ErrTarget].
func ParseFileTarget(s string) (FileTarget, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !tagPattern.MatchString(s[i+1:]) {
		return FileTarget{}, fmt.Errorf("%q is %w: it is not REGISTRY/REPOSITORY:TAG", s, ErrTarget)
	}
	t, err := ParseTarget(s[:i])
	if err != nil {
		return FileTarget{}, err
	}
	if t.Prefix == "" {
		return FileTarget{}, fmt.Errorf("%q is %w: it is not REGISTRY/REPOSITORY:TAG", s, ErrTarget)
	}
	return FileTarget{Registry: t.Registry, Repository: t.Prefix, Tag: s[i+1:]}, nil
}

// String gives REGISTRY/REPOSITORY:TAG.
func (t FileTarget) String() string { return t.Registry + "/" + t.Repository + ":" + t.Tag }

// HashFiles reads files whole, which [Files] needs to be told of. read, if not
// nil, is told of every n bytes.
func HashFiles(ctx context.Context, paths []string, read func(n int64)) ([]File, error) {
	files := make([]File, len(paths))
	for i, path := range paths {
		if err := files[i].hash(ctx, path, read); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (f *File) hash(ctx context.Context, path string, read func(n int64)) error {
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		f.Size += int64(n)
		if read != nil {
			read(int64(n))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	f.Path, f.Digest = path, digest.NewDigest(digest.SHA256, h)
	return nil
}

// Files pushes files as the layers of one artifact. What the registry has is
// not sent again; a file that has changed since it was hashed never becomes a
// blob. annotations are those of the artifact.
func Files(ctx context.Context, files []File, annotations map[string]string, t FileTarget, o Options) (Item, error) {
	it := Item{Kind: KindFile, Target: t.String()}
	if o.HTTP.StallTimeout == 0 {
		o.HTTP.StallTimeout = DefaultStallTimeout
	}
	client, err := wire.New(o.HTTP)
	if err != nil {
		return it, err
	}
	defer client.Close()
	if o.Jobs <= 0 {
		o.Jobs = DefaultJobs
	}
	if o.Sent == nil {
		o.Sent = func(int64) {}
	}
	disk := &disk{small: map[digest.Digest][]byte{}, files: map[digest.Digest]File{}}
	defer disk.close()
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	disk.small[empty.Digest] = []byte(`{}`)
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactTypeFile, Config: empty, Annotations: annotations,
	}
	for _, f := range files {
		disk.files[f.Digest] = f
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: MediaTypeFile, Digest: f.Digest, Size: f.Size,
			Annotations: map[string]string{ocispec.AnnotationTitle: filepath.Base(f.Path)},
		})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return it, err
	}
	root := &tree{
		desc:  ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		raw:   raw,
		blobs: append([]ocispec.Descriptor{empty}, m.Layers...),
	}
	it.Digest = root.desc.Digest
	p := &pusher{
		bundle: disk, opts: o, client: client,
		blobs: map[digest.Digest]*placed{}, subjects: map[string]*sync.Mutex{},
		slots: semaphore.NewWeighted(int64(o.Jobs)),
	}
	to := wire.Target{Addr: t.Registry, Repository: t.Repository, Push: true}
	if it.Counts, err = p.below(ctx, to, root); err != nil {
		return it, explained(err)
	}
	if it.Present, err = p.manifest(ctx, to, root, t.Tag); err != nil {
		return it, explained(err)
	}
	return it, nil
}

// disk is content that lies in files.
type disk struct {
	small map[digest.Digest][]byte
	files map[digest.Digest]File

	mu   sync.Mutex
	open []*os.File
}

func (d *disk) Stat(name digest.Digest) (archive.Blob, bool) {
	if data, ok := d.small[name]; ok {
		return archive.Blob{Digest: name, Size: int64(len(data))}, true
	}
	f, ok := d.files[name]
	return archive.Blob{Digest: name, Size: f.Size}, ok
}

func (d *disk) reader(name digest.Digest) (io.ReaderAt, error) {
	f, err := os.Open(d.files[name].Path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, f)
	return f, nil
}

func (d *disk) ReadBlob(name digest.Digest, limit int64) ([]byte, error) {
	if data, ok := d.small[name]; ok {
		return data, nil
	}
	f, err := os.Open(d.files[name].Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(data) != name {
		return nil, fmt.Errorf("%s has changed while it was pushed: %w", f.Name(), archive.ErrDigest)
	}
	return data, nil
}

func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.open {
		_ = f.Close() // it was only read
	}
}
