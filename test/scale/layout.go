package scale

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTar      = "application/vnd.oci.image.layer.v1.tar"
	mediaGzip     = mediaTar + "+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// layout writes an OCI layout.
type layout struct {
	blobs string
	index []descriptor
	names []string
}

func newLayout(dir string) (*layout, error) {
	l := &layout{blobs: filepath.Join(dir, "blobs", "sha256")}
	return l, os.MkdirAll(l.blobs, 0o755)
}

func (l *layout) put(mediaType string, data []byte) (descriptor, error) {
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	return descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: int64(len(data))}, os.WriteFile(filepath.Join(l.blobs, name), data, 0o644)
}

// add adds an image of one layer.
func (l *layout) add(name string, layer descriptor) error {
	config, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "config": map[string]any{"Labels": map[string]string{"name": name}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}}})
	if err != nil {
		return err
	}
	cd, err := l.put(mediaConfig, config)
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaManifest, "config": cd, "layers": []descriptor{layer}})
	if err != nil {
		return err
	}
	md, err := l.put(mediaManifest, manifest)
	if err != nil {
		return err
	}
	md.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
	l.index, l.names = append(l.index, md), append(l.names, name)
	return nil
}

// finish writes what makes the folder a layout.
func (l *layout) finish() error {
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": l.index})
	if err != nil {
		return err
	}
	dir := filepath.Dir(filepath.Dir(l.blobs))
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644)
}

// zeroes are layers of size bytes, all zero but for a few at their ends which
// tell them apart. So one hashing of the zeroes serves all of them, and their
// files are sparse. A bundle stores them as they are.
type zeroes struct {
	size  int64
	state []byte // of the hash over all but the end
}

const zeroEnd = 16

func newZeroes(size int64) (*zeroes, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for left := size - zeroEnd; left > 0; {
		n := min(left, int64(len(buf)))
		_, _ = h.Write(buf[:n])
		left -= n
	}
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	return &zeroes{size: size, state: state}, err
}

func (z *zeroes) write(l *layout, i int) (descriptor, error) {
	end := fmt.Appendf(nil, "%0*d", zeroEnd, i)
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(z.state); err != nil {
		return descriptor{}, err
	}
	_, _ = h.Write(end)
	name := sum(h)
	f, err := os.Create(filepath.Join(l.blobs, name))
	if err != nil {
		return descriptor{}, err
	}
	if _, err := f.WriteAt(end, z.size-zeroEnd); err != nil {
		_ = f.Close()
		return descriptor{}, err
	}
	return descriptor{MediaType: mediaTar, Digest: "sha256:" + name, Size: z.size}, f.Close()
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// noise writes a layer that does not compress.
func (l *layout) noise(size int) (descriptor, error) {
	data := make([]byte, size)
	_, _ = rand.Read(data)
	return l.put(mediaGzip, data)
}
