package chart

import (
	"crypto/sha256"
	"text/template"

	"github.com/opencontainers/go-digest"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
)

// Helm gives a fresh chart of the Helm SDK, for an install. Using one changes
// it, so every use takes its own. Schemas that point at other places are left
// out, because the SDK would fetch them. Errors are those of [Chart.Render].
func (c *Chart) Helm() (*helmchart.Chart, error) {
	if c.Library {
		return nil, c.fail(ErrRender, "it is a library chart, which only other charts can use")
	}
	hc, err := load(c.Path, c.files, Loader{MaxDepth: maxFolderDepth, MaxFiles: 1 << 30, MaxBytes: 1 << 40})
	if err != nil {
		return nil, err
	}
	if err := c.complete(hc); err != nil {
		return nil, err
	}
	for _, s := range subcharts(hc) {
		if !selfContained(s.Schema) {
			s.Schema = nil
		}
	}
	return hc, nil
}

// Digest tells charts apart by what is in their files, whether they came as
// an archive or as a folder.
func (c *Chart) Digest() digest.Digest {
	h := sha256.New()
	put := func(b []byte) {
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	for _, f := range c.files {
		put([]byte(f.name))
		put(f.data)
	}
	return digest.NewDigest(digest.SHA256, h)
}

// BoundedFuncs are the template functions that [Chart.Render] replaces so that
// a template cannot ask for any amount of memory.
func BoundedFuncs() template.FuncMap { return boundedFuncs() }
