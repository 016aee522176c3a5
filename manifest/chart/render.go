package chart

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
)

// RenderOptions are what an install would set. The zero value renders with
// the chart's own values.
type RenderOptions struct {
	// ReleaseName is "release-name" and Namespace "default" where empty, as
	// for `helm template`.
	ReleaseName, Namespace string
	// Values are merged from left to right, over the chart's own.
	Values []map[string]any
	// KubeVersion of the cluster, "v1.22.15" for instance. Empty means the
	// version the Helm SDK was made for.
	KubeVersion string
	// APIVersions that the cluster knows besides Kubernetes' own, for
	// templates that ask, "monitoring.coreos.com/v1" for instance.
	APIVersions []string
}

// Doc is one YAML document that an install would send to the cluster.
type Doc struct {
	// Template is the file it came from, relative to the chart's folder:
	// "templates/deploy.yaml", "charts/redis/templates/sts.yaml". A subchart
	// goes by its alias.
	Template string
	Data     []byte
	// Hook tells that Helm runs the document at an event of the release's
	// life; Events names them ("pre-install", "test").
	Hook   bool
	Events []string
	// CRD tells that the document is a file of a crds folder.
	CRD bool
}

// Render gives what `helm template --include-crds` prints, document by
// document, in a fixed order: CRDs, then by template name. Dependencies,
// their conditions, tags, aliases and import-values are followed; lookup finds
// nothing, getHostByName gives "", a values schema that points elsewhere is
// not fetched and so not checked. NOTES.txt and documents of comments alone
// are left out.
//
// Errors are *[Error] and wrap [ErrRender], [ErrValues], [ErrDependency] or
// [ErrChart]. When ctx ends first its error is returned; the template that
// hangs keeps its goroutine.
func (c *Chart) Render(ctx context.Context, o RenderOptions) ([]Doc, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		docs []Doc
		err  error
	}
	done := make(chan result, 1)
	go func() {
		docs, err := c.render(ctx, o)
		done <- result{docs, err}
	}()
	select {
	case r := <-done:
		return r.docs, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Render is [Chart.Render] as a function.
func Render(ctx context.Context, c *Chart, o RenderOptions) ([]Doc, error) {
	return c.Render(ctx, o)
}

func (c *Chart) render(ctx context.Context, o RenderOptions) (docs []Doc, err error) {
	// The SDK panics on some hostile values (a table where it wants a chart's
	// values, say), and a panic in this goroutine would end the program.
	defer func() {
		if r := recover(); r != nil {
			err = c.fail(ErrRender, fmt.Sprintf("the Helm SDK gave up: %v", r))
		}
	}()
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
	values := map[string]any{}
	for _, v := range o.Values {
		values = loader.MergeMaps(values, v)
	}
	if err := chartutil.ProcessDependencies(hc, values); err != nil {
		return nil, c.fail(ErrValues, oneLine(err.Error()))
	}
	caps, err := c.capabilities(o)
	if err != nil {
		return nil, err
	}
	for _, s := range subcharts(hc) {
		if !selfContained(s.Schema) {
			s.Schema = nil
		}
	}
	release := common.ReleaseOptions{Name: o.ReleaseName, Namespace: o.Namespace, Revision: 1, IsInstall: true}
	if release.Name == "" {
		release.Name = "release-name"
	}
	if release.Namespace == "" {
		release.Namespace = "default"
	}
	top, err := commonutil.ToRenderValues(hc, values, release, caps)
	if err != nil {
		return nil, c.fail(ErrValues, oneLine(err.Error()))
	}
	// The zero Engine has no cluster and no DNS.
	e := engine.Engine{CustomTemplateFuncs: boundedFuncs()}
	rendered, err := e.RenderWithContext(ctx, hc, top)
	if err != nil {
		return nil, c.renderError(err)
	}
	return c.documents(hc, rendered)
}

func (c *Chart) fail(class error, reason string) error {
	return &Error{Class: class, Chart: c.Name, Reason: reason}
}

// complete makes sure that every chart named as a dependency is there, as
// Helm does before it renders: images of an absent one would be missed.
func (c *Chart) complete(hc *helmchart.Chart) error {
	var missing []string
	for _, d := range hc.Metadata.Dependencies {
		if d != nil && !slices.ContainsFunc(hc.Dependencies(), func(s *helmchart.Chart) bool { return s.Name() == d.Name }) {
			missing = append(missing, d.Name)
		}
	}
	if missing != nil {
		return c.fail(ErrDependency, fmt.Sprintf("Chart.yaml names %s, which the charts folder lacks; run `helm dependency build` first",
			strings.Join(missing, ", ")))
	}
	return nil
}

func (c *Chart) capabilities(o RenderOptions) (*common.Capabilities, error) {
	caps := common.DefaultCapabilities.Copy()
	if o.KubeVersion != "" {
		v, err := common.ParseKubeVersion(o.KubeVersion)
		if err != nil {
			return nil, c.fail(ErrValues, fmt.Sprintf("the Kubernetes version %q cannot be read: %v", o.KubeVersion, err))
		}
		caps.KubeVersion = *v
	}
	caps.APIVersions = append(slices.Clip(caps.APIVersions), o.APIVersions...)
	if c.KubeVersion != "" && !chartutil.IsCompatibleRange(c.KubeVersion, caps.KubeVersion.String()) {
		return nil, c.fail(ErrRender, fmt.Sprintf("it wants Kubernetes %s and is rendered for %s", c.KubeVersion, caps.KubeVersion.Version))
	}
	return caps, nil
}

// relative names a rendered file from the chart's folder on.
func (c *Chart) relative(hc *helmchart.Chart, name string) string {
	return strings.TrimPrefix(path.Clean(name), hc.Name()+"/")
}
