package selftest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/verify"
	"bundle/verify/sign"
)

// image is the one in the sample.
const image = "registry.example/selftest:1"

// sample is a bundle with one image of three layers, signed.
type sample struct {
	path   string
	bytes  []byte
	signer *sign.Signer
	index  []byte
	policy verify.Policy
}

func newSample(ctx context.Context, dir string, rnd *rand.Rand) (*sample, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return nil, err
	}
	s := &sample{path: filepath.Join(dir, "sample.tar.zst")}
	if s.signer, err = sign.NewSigner("the selftest's key", key); err != nil {
		return nil, err
	}
	s.policy = verify.Keys(s.signer.Public())
	content := map[digest.Digest][]byte{}
	var list []archive.Blob
	put := func(mediaType string, data []byte) ocispec.Descriptor {
		b, e := archive.Measure(bytes.NewReader(data))
		err = errors.Join(err, e)
		if content[b.Digest] == nil {
			content[b.Digest] = data
			list = append(list, b)
		}
		return ocispec.Descriptor{MediaType: mediaType, Digest: b.Digest, Size: b.Size}
	}
	encode := func(v any) []byte {
		raw, e := json.Marshal(v)
		err = errors.Join(err, e)
		return raw
	}
	noise := make([]byte, 300<<10)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: put(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux"}`)),
		Layers: []ocispec.Descriptor{put(ocispec.MediaTypeImageLayerGzip, noise), put(ocispec.MediaTypeImageLayer, bytes.Repeat([]byte("packs well "), 100<<10)), put(ocispec.MediaTypeImageLayerGzip, []byte("small"))}}
	d := put(ocispec.MediaTypeImageManifest, encode(m))
	inventory := manifest.Contents{SchemaVersion: 1, Name: "selftest", Version: "1", Platforms: []string{"linux/amd64"},
		Images: []manifest.Image{{Name: image, Digest: d.Digest, MediaType: d.MediaType, Platforms: []string{"linux/amd64"}, Size: d.Size, NeededBy: []manifest.Source{}}}}
	own := put(ocispec.MediaTypeImageManifest, encode(ocispec.Manifest{Versioned: m.Versioned, MediaType: m.MediaType, ArtifactType: "application/vnd.bundle.v1",
		Config: put("application/vnd.bundle.config.v1+json", encode(inventory)), Layers: []ocispec.Descriptor{}}))
	own.Annotations = map[string]string{archive.AnnotationKind: archive.KindBundle, archive.AnnotationRef: "bundle/selftest:1"}
	d.Annotations = map[string]string{archive.AnnotationKind: archive.KindImage, archive.AnnotationRef: image}
	if err != nil {
		return nil, err
	}
	plan, err := archive.NewPlan(ocispec.Index{Versioned: m.Versioned, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{own, d},
		Annotations: map[string]string{archive.AnnotationName: "selftest", archive.AnnotationVersion: "1"}}, list, nil)
	if err != nil {
		return nil, err
	}
	s.index = plan.IndexBytes()
	sig, err := sign.SignIndex(ctx, s.signer, s.index)
	if err != nil {
		return nil, err
	}
	w, err := archive.Create(s.path, plan, archive.WriterOptions{Context: ctx})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for _, b := range plan.Blobs() {
		if err := w.WriteBlob(ctx, b.Digest, func(_ context.Context, off int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content[b.Digest][off:])), nil
		}); err != nil {
			return nil, err
		}
	}
	if err := w.Commit(sig); err != nil {
		return nil, err
	}
	s.bytes, err = os.ReadFile(s.path)
	return s, err
}
