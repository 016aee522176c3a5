package chart

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

var chartName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

var bom = []byte("\xef\xbb\xbf")

// newChart checks that Helm can load files and reads what is asked for often.
func newChart(name string, files []file, tgz []byte, l Loader) (*Chart, error) {
	hc, err := load(name, files, l)
	if err != nil {
		return nil, err
	}
	m := hc.Metadata
	return &Chart{
		Path: name, Name: m.Name, Version: m.Version, AppVersion: m.AppVersion, KubeVersion: m.KubeVersion,
		Library: strings.EqualFold(m.Type, "library"), meta: m, files: files, tgz: tgz,
	}, nil
}

// load makes a Helm chart of files. Rendering changes a Helm chart, so every
// rendering loads its own.
func load(name string, files []file, l Loader) (*helmchart.Chart, error) {
	expanded, err := expand(name, files, l.budget(name), l.maxDepth())
	if err != nil {
		return nil, err
	}
	list := make([]*archive.BufferedFile, len(expanded))
	for i, f := range expanded {
		list[i] = &archive.BufferedFile{Name: f.name, Data: bytes.TrimPrefix(f.data, bom)}
	}
	hc, err := loadFiles(list)
	if err != nil {
		return nil, &Error{Class: ErrChart, Chart: name, Reason: oneLine(err.Error())}
	}
	if v := hc.Metadata.APIVersion; v != helmchart.APIVersionV1 && v != helmchart.APIVersionV2 {
		return nil, &Error{Class: ErrChart, Chart: name, Template: "Chart.yaml", Reason: fmt.Sprintf("apiVersion %q is neither v1 nor v2", v)}
	}
	// The name becomes a folder, a file name and part of a reference.
	if n := hc.Metadata.Name; !chartName.MatchString(n) {
		return nil, &Error{Class: ErrChart, Chart: name, Template: "Chart.yaml", Reason: fmt.Sprintf("the name %q holds more than letters, digits, dots, dashes and underscores", n)}
	}
	order(hc)
	return hc, nil
}

// loadFiles keeps a panic in the SDK on a hostile Chart.yaml from ending a
// build without a word about which chart it was.
func loadFiles(list []*archive.BufferedFile) (hc *helmchart.Chart, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the Helm SDK cannot read it: %v", r)
		}
	}()
	hc, err = loader.LoadFiles(list)
	if err == nil && hc.Metadata == nil {
		err = errors.New("there is no Chart.yaml")
	}
	return hc, err
}

// order gives subcharts a fixed order; the SDK takes them from a map, and
// which of two versions a dependency means would change from run to run.
func order(hc *helmchart.Chart) {
	deps := slices.Clone(hc.Dependencies())
	slices.SortStableFunc(deps, func(a, b *helmchart.Chart) int {
		if n := strings.Compare(a.Name(), b.Name()); n != 0 {
			return n
		}
		return strings.Compare(b.Metadata.Version, a.Metadata.Version)
	})
	hc.SetDependencies(deps...)
	for _, d := range deps {
		order(d)
	}
}

// expand unpacks the subcharts that are archives, with one budget for all:
// the SDK gives every archive a budget of its own and follows an archive that
// holds itself for ever.
func expand(name string, files []file, b *budget, depth int) ([]file, error) {
	if depth <= 0 {
		return nil, &Error{Class: ErrUnsafe, Chart: b.chart, Reason: fmt.Sprintf("charts lie too deep in one another, down to %s", name)}
	}
	var out []file
	for _, f := range files {
		dir, base, ok := subchart(f.name)
		if !ok {
			if b.bytes -= int64(len(f.data)); b.bytes < 0 {
				return nil, b.tooLarge()
			}
			if err := b.entry(); err != nil {
				return nil, err
			}
			out = append(out, f)
			continue
		}
		inner, err := readArchive(path.Join(name, f.name), f.data, b)
		if err != nil {
			return nil, err
		}
		// Reading took these already; expand takes them again.
		b.files += len(inner)
		for _, i := range inner {
			b.bytes += int64(len(i.data))
		}
		if inner, err = expand(path.Join(name, f.name), inner, b, depth-1); err != nil {
			return nil, err
		}
		for _, i := range inner {
			// The suffix keeps charts/x.tgz apart from a folder charts/x.
			out = append(out, file{name: dir + base + ".d/" + i.name, data: i.data})
		}
	}
	return out, nil
}

// subchart tells whether name is a packed subchart: one that lies directly in
// a charts folder, at whatever depth, and is not one Helm passes over.
func subchart(name string) (dir, base string, ok bool) {
	dir, base = path.Split(name)
	if !strings.HasSuffix(base, ".tgz") || strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".") {
		return "", "", false
	}
	// charts/a/charts/b.tgz is a subchart, files/charts/b.tgz is a file.
	parts := strings.Split(strings.TrimSuffix(dir, "/"), "/")
	for i := 0; i < len(parts); i += 2 {
		if parts[i] != "charts" {
			return "", "", false
		}
	}
	return dir, base, len(parts)%2 == 1
}

// subcharts lists hc and every chart below it.
func subcharts(hc *helmchart.Chart) []*helmchart.Chart {
	list := []*helmchart.Chart{hc}
	for _, d := range hc.Dependencies() {
		list = append(list, subcharts(d)...)
	}
	return list
}
