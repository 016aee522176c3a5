package chart

import (
	"bytes"
	"slices"
	"strings"

	helmchart "helm.sh/helm/v4/pkg/chart/v2"
)

// Chart is one loaded chart with everything it brings along. It is immutable
// and safe for concurrent use.
type Chart struct {
	// Path is where the chart was loaded from, as it was given.
	Path string
	// Name, Version, AppVersion and KubeVersion are those of Chart.yaml.
	Name, Version, AppVersion string
	// KubeVersion is the constraint on the cluster's version, or empty.
	KubeVersion string
	// Library charts hold only definitions for other charts; they cannot be
	// rendered.
	Library bool

	meta *helmchart.Metadata
	// files are as they came, sorted by name; packed subcharts are packed.
	files []file
	// tgz is what was given where an archive was; a changed chart has none.
	tgz []byte
}

// file is one file of a chart; name is clean, relative to the chart's folder
// and uses forward slashes.
type file struct {
	name string
	data []byte
}

// Files gives the names of all files, sorted. A packed subchart is one file.
func (c *Chart) Files() []string {
	names := make([]string, len(c.files))
	for i, f := range c.files {
		names[i] = f.name
	}
	return names
}

// File gives the content of one file of the chart.
func (c *Chart) File(name string) ([]byte, bool) {
	i, ok := c.find(name)
	if !ok {
		return nil, false
	}
	return bytes.Clone(c.files[i].data), true
}

// WithFile returns a chart like c in which the file called name has the given
// content, as a sealer Config document would change it. The name is relative
// to the chart's folder; a file inside a packed subchart cannot be changed.
// Errors are those of [Load].
func (c *Chart) WithFile(name string, data []byte) (*Chart, error) {
	clean, err := cleanName(name)
	if err != nil {
		return nil, &Error{Class: ErrUnsafe, Chart: c.Name, Template: name, Reason: err.Error()}
	}
	files := slices.Clone(c.files)
	f := file{name: clean, data: bytes.Clone(data)}
	if i, ok := c.find(clean); ok {
		files[i] = f
	} else {
		files = slices.Insert(files, i, f)
	}
	return newChart(c.Path, files, nil, Loader{})
}

func (c *Chart) find(name string) (int, bool) {
	return slices.BinarySearchFunc(c.files, name, func(f file, n string) int {
		return strings.Compare(f.name, n)
	})
}

// Tag is the chart's version as an OCI tag, in which Helm writes "_" for the
// "+" that tags cannot hold.
func (c *Chart) Tag() string {
	return strings.ReplaceAll(c.Version, "+", "_")
}
