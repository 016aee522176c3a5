package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"bundle/manifest"
	"bundle/manifest/discover"
	"bundle/manifest/step"
)

// maxScanBytes bounds one file that is looked through for images.
const maxScanBytes = 16 << 20

// discover looks through charts, manifests and profiles for images.
func (in *inputs) discover(ctx context.Context, o Options, charts []packedChart, steps []manifest.Step) ([]discover.Found, error) {
	profiles, err := readProfiles(o, o.Warn)
	if err != nil {
		return nil, err
	}
	found, err := discoverCharts(ctx, o, charts, profiles, o.Warn)
	if err != nil {
		return nil, err
	}
	applied, err := appliedPaths(steps)
	if err != nil {
		return nil, inputError{err}
	}
	var errs []error
	for _, e := range in.tree.sorted() {
		if e.Type != "file" || e.Path == imageListPath || !manifestFile(e.Path, applied) || insideChart(e.Path, charts) {
			continue
		}
		fs, err := e.scan()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, fs...)
	}
	for _, p := range profiles {
		for _, cfg := range p.configs {
			if insideChart(cfg.Path, charts) || !hasYAMLExt(cfg.Path) {
				continue // charts were rendered with it
			}
			fs, err := discover.Objects([]byte(cfg.Data), discover.Origin{Name: fmt.Sprintf("%s: Config %s", cfg.Source, cfg.Name)})
			if err != nil {
				errs = append(errs, err)
				continue
			}
			found = append(found, fs...)
		}
	}
	if len(errs) > 0 {
		return nil, inputError{errors.Join(errs...)}
	}
	return found, nil
}

// scan looks for images in one file of the tree.
func (e *rootfsEntry) scan() ([]discover.Found, error) {
	if e.Size > maxScanBytes {
		return nil, fmt.Errorf("%s: %s has %d bytes; a manifest may have %d", e.Source, e.Path, e.Size, maxScanBytes)
	}
	r, err := os.Open(e.src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Source, noSuchFile(e.src, err))
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxScanBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", e.Source, e.Path, err)
	}
	return discover.File(e.Path, data)
}

// appliedPaths gives the files and folders that kubectl steps name.
func appliedPaths(steps []manifest.Step) (map[string]bool, error) {
	paths := map[string]bool{}
	for _, s := range steps {
		if s.Kind != manifest.StepKubectlApply && s.Kind != manifest.StepKubectlCreate {
			continue
		}
		action, err := step.Decode(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Source, err)
		}
		var dir string
		var files []string
		switch a := action.(type) {
		case *step.Apply:
			dir, files = a.Dir, a.Files
		case *step.Create:
			dir, files = a.Dir, a.Files
		}
		for _, f := range files {
			paths[path.Join(dir, strings.TrimSuffix(f, "/*"))] = true
		}
	}
	return paths, nil
}

// insideChart tells whether a file belongs to a chart, which is rendered and
// not read as it lies there.
func insideChart(p string, charts []packedChart) bool {
	for _, c := range charts {
		if c.path != "" && strings.HasPrefix(p, c.path+"/") {
			return true
		}
	}
	return false
}

// manifestFile says whether a file of the tree holds Kubernetes objects that
// an install may apply.
func manifestFile(p string, applied map[string]bool) bool {
	if applied[p] || applied[path.Dir(p)] {
		return hasYAMLExt(p)
	}
	return strings.HasPrefix(p, "manifests/") && (hasYAMLExt(p) || strings.HasSuffix(p, ".tmpl"))
}

func hasYAMLExt(p string) bool {
	ext := path.Ext(p)
	return ext == ".yaml" || ext == ".yml" || ext == ".json"
}
