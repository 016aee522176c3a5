package upstream

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/google/go-containerregistry/pkg/name"

	"bundle/manifest"
)

const (
	mediaTypeSimpleSigning = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	mediaTypeSPDX          = types.MediaType("application/spdx+json")
	mediaTypeInToto        = types.MediaType("application/vnd.in-toto+json")
	mediaTypeEmpty         = types.MediaType("application/vnd.oci.empty.v1+json")
	annotationCosign       = "dev.cosignproject.cosign/signature"
)

// sign does what `cosign sign --key` did before OCI 1.1: a manifest beside
// the image, found by a tag made of the image's digest.
func (r *Registry) sign(ref manifest.Reference, repo name.Repository, subject v1.Descriptor, opts []remote.Option) error {
	payload, err := json.Marshal(map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": ref.Name()},
			"image":    map[string]string{"docker-manifest-digest": subject.Digest.String()},
			"type":     "cosign container image signature",
		},
		"optional": nil,
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, r.key, sum[:])
	if err != nil {
		return err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:       static.NewLayer(payload, mediaTypeSimpleSigning),
		MediaType:   mediaTypeSimpleSigning,
		Annotations: map[string]string{annotationCosign: base64.StdEncoding.EncodeToString(sig)},
	})
	if err != nil {
		return err
	}
	return remote.Write(repo.Tag(strings.Replace(subject.Digest.String(), ":", "-", 1)+".sig"), img, opts...)
}

// attachSBOM adds an SPDX document that refers to the image.
func (r *Registry) attachSBOM(ref manifest.Reference, repo name.Repository, subject v1.Descriptor, opts []remote.Option) error {
	doc, err := json.Marshal(map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
		"name":              ref.Hostless(),
		"documentNamespace": "https://example.invalid/" + subject.Digest.Hex,
		"creationInfo":      map[string]any{"created": "1970-01-01T00:00:00Z", "creators": []string{"Tool: upstream"}},
		"packages":          []any{},
	})
	if err != nil {
		return err
	}
	cfg := static.NewLayer([]byte("{}"), mediaTypeEmpty)
	body := static.NewLayer(doc, mediaTypeSPDX)
	for _, l := range []v1.Layer{cfg, body} {
		if err := remote.WriteLayer(repo, l, opts...); err != nil {
			return err
		}
	}
	cd, err := descriptor(cfg)
	if err != nil {
		return err
	}
	bd, err := descriptor(body)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		ArtifactType  types.MediaType `json:"artifactType"`
		Config        v1.Descriptor   `json:"config"`
		Layers        []v1.Descriptor `json:"layers"`
		Subject       v1.Descriptor   `json:"subject"`
	}{2, types.OCIManifestSchema1, mediaTypeSPDX, cd, []v1.Descriptor{bd}, subject})
	if err != nil {
		return err
	}
	hash, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if err := remote.Put(repo.Digest(hash.String()), rawManifest(raw), opts...); err != nil {
		return err
	}
	r.referrers.add(repo.RepositoryStr(), subject.Digest, v1.Descriptor{
		MediaType: types.OCIManifestSchema1, Digest: hash, Size: size, ArtifactType: string(mediaTypeSPDX),
	})
	return nil
}

// rawManifest is an OCI manifest as it stands.
type rawManifest []byte

func (m rawManifest) RawManifest() ([]byte, error)        { return m, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// attestation is the child that buildx adds to an index for an image.
func attestation(ref manifest.Reference, of v1.Hash) (v1.Image, error) {
	doc, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"name": ref.Hostless(), "digest": map[string]string{of.Algorithm: of.Hex}}},
		"predicate":     map[string]any{},
	})
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(doc, mediaTypeInToto), MediaType: mediaTypeInToto})
}
