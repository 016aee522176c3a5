package chart

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
)

// Helm's media types (helm.sh/docs/topics/registries).
const (
	MediaTypeConfig = "application/vnd.cncf.helm.config.v1+json"
	MediaTypeLayer  = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// Artifact is a chart as an OCI artifact that `helm pull` understands. Equal
// charts give equal artifacts.
type Artifact struct {
	// Config is Chart.yaml as JSON, Layer the .tgz of [Chart.Package] and
	// Manifest the OCI image manifest that names both.
	Config, Layer, Manifest []byte
	// Descriptor is that of Manifest.
	Descriptor ocispec.Descriptor
}

// OCI gives the chart as Helm pushes it, except that no time of creation is
// recorded.
func (c *Chart) OCI() (Artifact, error) {
	layer, err := c.Package()
	if err != nil {
		return Artifact{}, err
	}
	config, err := json.Marshal(c.meta)
	if err != nil {
		return Artifact{}, fmt.Errorf("chart %s: Chart.yaml cannot be written as JSON: %w", c.Name, err)
	}
	m := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      descriptor(MediaTypeConfig, config),
		Layers:      []ocispec.Descriptor{descriptor(MediaTypeLayer, layer)},
		Annotations: annotations(c.meta),
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return Artifact{}, fmt.Errorf("chart %s: its manifest cannot be written as JSON: %w", c.Name, err)
	}
	return Artifact{
		Config: config, Layer: layer, Manifest: manifest,
		Descriptor: descriptor(ocispec.MediaTypeImageManifest, manifest),
	}, nil
}

// OCI is [Chart.OCI] as a function.
func OCI(c *Chart) (Artifact, error) { return c.OCI() }

func descriptor(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// annotations are those Helm derives from Chart.yaml, and the chart's own,
// which may replace all but title and version.
func annotations(m *helmchart.Metadata) map[string]string {
	all := map[string]string{}
	set := func(key, value string) {
		if strings.TrimSpace(value) != "" {
			all[key] = value
		}
	}
	set(ocispec.AnnotationDescription, m.Description)
	set(ocispec.AnnotationTitle, m.Name)
	set(ocispec.AnnotationVersion, m.Version)
	set(ocispec.AnnotationURL, m.Home)
	if len(m.Sources) > 0 {
		set(ocispec.AnnotationSource, m.Sources[0])
	}
	set(ocispec.AnnotationAuthors, authors(m.Maintainers))
	for k, v := range m.Annotations {
		if !slices.Contains([]string{ocispec.AnnotationTitle, ocispec.AnnotationVersion}, k) {
			all[k] = v
		}
	}
	return all
}

func authors(list []*helmchart.Maintainer) string {
	var names []string
	for _, m := range list {
		name := m.Name
		if m.Email != "" {
			name += " (" + m.Email + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
