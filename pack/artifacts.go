package pack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/manifest"
	"bundle/manifest/chart"
)

// blobsOf gives the config and layers that a manifest names; none for what is
// no manifest.
func blobsOf(raw []byte) []digest.Digest {
	var m struct {
		Config *ocispec.Descriptor  `json:"config"`
		Layers []ocispec.Descriptor `json:"layers"`
		Blobs  []ocispec.Descriptor `json:"blobs"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	var list []digest.Digest
	if m.Config != nil {
		list = append(list, m.Config.Digest)
	}
	for _, d := range slices.Concat(m.Layers, m.Blobs) {
		list = append(list, d.Digest)
	}
	return list
}

// markAttachedBlobs finds the blobs that only attachments need.
func (img *packedImage) markAttachedBlobs() {
	attached := map[digest.Digest]bool{}
	for _, a := range img.attached {
		attached[a.Digest] = true
	}
	own := map[digest.Digest]bool{}
	for _, d := range img.order {
		if !attached[d.Digest] {
			for _, b := range blobsOf(img.manifests[d.Digest]) {
				own[b] = true
			}
		}
	}
	for i := range img.blobs {
		img.blobs[i].attached = !own[img.blobs[i].desc.Digest]
	}
}

// baseChart is a chart that the base brings and the context does not replace.
type baseChart struct {
	manifest.Chart
	desc             ocispec.Descriptor
	raw, config, tgz []byte
}

// inheritCharts reads the base's charts, but for those that the context has
// under the same name.
func (b *Build) inheritCharts(base *base, own []packedChart) ([]baseChart, error) {
	if base == nil {
		return nil, nil
	}
	var list []baseChart
	for _, c := range base.contents.Charts {
		if slices.ContainsFunc(own, func(o packedChart) bool {
			return o.Name == c.Name && o.Version == c.Version || o.path != "" && o.path == c.Path
		}) {
			continue
		}
		bc, err := base.chart(c)
		if err != nil {
			return nil, fmt.Errorf("%s: chart %s: %w", base.name, c.Name, err)
		}
		list = append(list, bc)
	}
	return list, nil
}

// maxChartBytes bounds a chart that is held in memory.
const maxChartBytes = 64 << 20

func (b *base) chart(c manifest.Chart) (bc baseChart, err error) {
	bc.Chart = c
	bc.NeededBy = nil
	for _, s := range c.NeededBy {
		bc.NeededBy = append(bc.NeededBy, b.inherited(s))
	}
	if bc.raw, err = b.reader.ReadBlob(c.Digest, maxManifestBytes); err != nil {
		return bc, err
	}
	bc.desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: c.Digest, Size: int64(len(bc.raw))}
	var m ocispec.Manifest
	if err := json.Unmarshal(bc.raw, &m); err != nil || len(m.Layers) != 1 {
		return bc, fmt.Errorf("%w: its manifest is not a chart's", archive.ErrDamaged)
	}
	if bc.config, err = b.reader.ReadBlob(m.Config.Digest, maxManifestBytes); err != nil {
		return bc, err
	}
	bc.tgz, err = b.reader.ReadBlob(m.Layers[0].Digest, maxChartBytes)
	return bc, err
}

// chartRef is the name that a chart is served under.
func chartRef(name, version string) string {
	return "charts/" + name + ":" + strings.ReplaceAll(version, "+", "_")
}

// addCharts puts all charts into the file and the index, by name.
func (b *Build) addCharts(inherited []baseChart, own []packedChart) {
	c := b.content
	seen := map[digest.Digest]bool{}
	add := func(ref string, desc ocispec.Descriptor, raw, config, tgz []byte) {
		if seen[desc.Digest] {
			return
		}
		seen[desc.Digest] = true
		c.addMemory(&c.manifests, desc.MediaType, raw)
		c.addMemory(&c.configs, chart.MediaTypeConfig, config)
		c.addMemory(&c.layers, chart.MediaTypeLayer, tgz)
		c.entry(desc, archive.KindChart, ref)
	}
	for _, bc := range inherited {
		add(chartRef(bc.Name, bc.Version), bc.desc, bc.raw, bc.config, bc.tgz)
	}
	for _, pc := range own {
		add(chartRef(pc.Name, pc.Version), pc.artifact.Descriptor, pc.artifact.Manifest, pc.artifact.Config, pc.artifact.Layer)
	}
}

// inventoryCharts lists all charts by name and version, each once, with
// everybody who asked for it.
func inventoryCharts(inherited []baseChart, own []packedChart) []manifest.Chart {
	var list []manifest.Chart
	at := map[digest.Digest]int{}
	for _, bc := range inherited {
		at[bc.Digest] = len(list)
		list = append(list, bc.Chart)
	}
	for _, pc := range own {
		d := pc.artifact.Descriptor.Digest
		if i, ok := at[d]; ok {
			list[i].NeededBy = append(list[i].NeededBy, pc.source)
			continue
		}
		at[d] = len(list)
		list = append(list, manifest.Chart{
			Name: pc.Name, Version: pc.Version, AppVersion: pc.AppVersion, Digest: d,
			Size: int64(len(pc.artifact.Layer)), Path: pc.path, NeededBy: []manifest.Source{pc.source},
		})
	}
	slices.SortStableFunc(list, func(a, b manifest.Chart) int {
		return strings.Compare(a.Name+"\x00"+a.Version, b.Name+"\x00"+b.Version)
	})
	return list
}
