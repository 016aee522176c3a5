package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/manifest/cluster"
	"bundle/manifest/discover"
	rootfiles "bundle/manifest/rootfs"
)

// chartInput is a chart that the input names.
type chartInput struct {
	// spec is a folder or .tgz, oci://REF[:VERSION] or NAME@REPO_URL[:VERSION].
	spec   string
	source manifest.Source
	// path in the root file system; empty for charts that are not there.
	path string
	// release and namespace the input installs it as; empty for defaults.
	release, namespace string
	// values are files of this chart alone; each of profiles is a list of
	// files that an install may use besides.
	values   []string
	profiles [][]string
}

// packedChart is a chart as it goes into the bundle.
type packedChart struct {
	chartInput
	*chart.Chart
	artifact chart.Artifact
}

// chartFolders finds the charts that COPY lines brought along: folders with a
// Chart.yaml, and .tgz files below charts/. Subcharts belong to their parent.
func chartFolders(tree *rootfs) []chartInput {
	var list []chartInput
	last := "\x00"
	for _, e := range tree.sorted() {
		if strings.HasPrefix(e.Path, last+"/") {
			continue
		}
		switch {
		case e.Type == "dir":
			inside := tree.entries[path.Join(e.Path, "Chart.yaml")]
			if inside == nil || inside.src == "" {
				continue
			}
			last = e.Path
			list = append(list, chartInput{spec: filepath.Dir(inside.src), source: e.Source, path: e.Path})
		case e.Type == "file" && strings.HasPrefix(e.Path, "charts/") && strings.HasSuffix(e.Path, ".tgz") && e.src != "":
			list = append(list, chartInput{spec: e.src, source: e.Source, path: e.Path})
		}
	}
	return list
}

// loadCharts loads every chart that the input names.
func loadCharts(ctx context.Context, o Options, in *inputs) ([]packedChart, error) {
	var (
		list []packedChart
		errs []error
	)
	for _, ci := range slices.Concat(chartFolders(in.tree), in.charts) {
		c, err := loadChart(ctx, o, ci)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ci.source, err))
			continue
		}
		artifact, err := c.OCI()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ci.source, err))
			continue
		}
		list = append(list, packedChart{chartInput: ci, Chart: c, artifact: artifact})
	}
	if len(errs) > 0 {
		return nil, inputError{errors.Join(errs...)}
	}
	return list, sameChartTwice(list)
}

// sameChartTwice refuses two charts of one name and version with different
// content: the registry could serve only one of them.
func sameChartTwice(list []packedChart) error {
	first := map[string]packedChart{}
	for _, c := range list {
		key := c.Name + ":" + c.Version
		if f, ok := first[key]; ok && f.artifact.Descriptor.Digest != c.artifact.Descriptor.Digest {
			return inputError{fmt.Errorf("chart %s is there twice with different content: %s and %s; give one of them another version", key, f.source, c.source)}
		}
		first[key] = c
	}
	return nil
}

func loadChart(ctx context.Context, o Options, ci chartInput) (*chart.Chart, error) {
	if isRemoteChart(ci.spec) {
		tgz, err := fetchChart(ctx, ci.spec, o.Registry)
		if err != nil {
			return nil, err
		}
		return chart.LoadBytes(ci.spec, tgz)
	}
	if _, err := os.Stat(ci.spec); err != nil {
		return nil, noSuchFile("chart "+ci.spec, err)
	}
	return chart.Load(ci.spec)
}

// valuesFor gives the user's values for a chart.
func valuesFor(o Options, c packedChart) ([]map[string]any, error) {
	var list []map[string]any
	for _, v := range slices.Concat(c.values, o.Values) {
		file := v
		if name, f, ok := strings.Cut(v, "="); ok && !fileExists(v) {
			if name != c.Name {
				continue
			}
			file = f
		}
		m, err := chart.ValuesFile(file)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func valuesOf(files []string) ([]map[string]any, error) {
	list := make([]map[string]any, 0, len(files))
	for _, f := range files {
		m, err := chart.ValuesFile(f)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func fileExists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// renderings of one chart: with its own values, and with each profile that
// overrides one of its files.
type profile struct {
	name    string
	configs []cluster.Config
}

func readProfiles(o Options, warn func(Warning)) ([]profile, error) {
	var list []profile
	for _, p := range o.Profiles {
		f, err := os.Open(p)
		if err != nil {
			return nil, inputError{fmt.Errorf("profile %w", noSuchFile(p, err))}
		}
		configs, warnings, err := cluster.ParseConfigs(filepath.Base(p), f)
		f.Close()
		if err != nil {
			return nil, inputError{err}
		}
		for _, w := range warnings {
			warn(Warning(w))
		}
		list = append(list, profile{name: filepath.Base(p), configs: configs})
	}
	return list, nil
}

// discoverCharts renders every chart with all values it may meet and gives
// the images that it needs or may need.
func discoverCharts(ctx context.Context, o Options, charts []packedChart, profiles []profile, warn func(Warning)) ([]discover.Found, error) {
	var (
		found []discover.Found
		errs  []error
	)
	for _, c := range charts {
		if c.Library {
			continue
		}
		values, err := valuesFor(o, c)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		variants, err := c.variants(profiles, warn)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, files := range c.profiles {
			over, err := valuesOf(files)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			variants = append(variants, variant{chart: c.Chart, values: over, label: " (with " + strings.Join(files, ", ") + ")"})
		}
		for _, v := range variants {
			docs, err := v.chart.Render(ctx, chart.RenderOptions{
				ReleaseName: cmp.Or(c.release, c.Name), Namespace: c.namespace, Values: slices.Concat(values, v.values), KubeVersion: o.KubeVersion,
			})
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.source, err))
				continue
			}
			for _, d := range docs {
				fs, err := discover.Objects(d.Data, discover.Origin{Name: "chart " + c.Name + " " + d.Template + v.label})
				if err != nil {
					errs = append(errs, err)
					continue
				}
				found = append(found, fs...)
			}
		}
	}
	if len(errs) > 0 {
		return nil, inputError{errors.Join(errs...)}
	}
	return found, nil
}

// variant is a chart as one profile leaves it.
type variant struct {
	chart *chart.Chart
	// values go over all others.
	values []map[string]any
	label  string
}

func (c packedChart) variants(profiles []profile, warn func(Warning)) ([]variant, error) {
	list := []variant{{chart: c.Chart}}
	if c.path == "" {
		return list, nil
	}
	for _, p := range profiles {
		changed := c.Chart
		for _, cfg := range p.configs {
			name, ok := strings.CutPrefix(cfg.Path, c.path+"/")
			if !ok {
				continue
			}
			old, _ := changed.File(name)
			applied, err := rootfiles.ApplyConfig(old, cfg)
			if err != nil {
				return nil, fmt.Errorf("%s: Config %q: %w", cfg.Source, cfg.Name, err)
			}
			for _, w := range applied.Warnings {
				warn(Warning{Source: cfg.Source, Text: w})
			}
			if changed, err = changed.WithFile(name, applied.Data); err != nil {
				return nil, fmt.Errorf("%s: Config %q: %w", cfg.Source, cfg.Name, err)
			}
		}
		if changed != c.Chart {
			list = append(list, variant{chart: changed, label: " (with " + p.name + ")"})
		}
	}
	return list, nil
}
