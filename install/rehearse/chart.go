package rehearse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/strvals"

	"bundle/archive"
	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/manifest/discover"
	"bundle/manifest/step"
)

// release renders the chart of a helm step with the values that it will have.
func (g *gatherer) release(a step.HelmRelease, dir string, source manifest.Source) error {
	c, name, err := g.chart(a, dir)
	if err != nil {
		return err
	}
	o := chart.RenderOptions{ReleaseName: a.Release, Namespace: a.Namespace}
	for _, v := range a.Values {
		p, err := g.locate(dir, v)
		if err != nil {
			return fmt.Errorf("values %w", err)
		}
		data, err := g.readFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			return &absentError{"the values file " + v}
		}
		if err != nil {
			return fmt.Errorf("values file %s: %w", v, err)
		}
		values, err := chart.ParseValues(v, data)
		if err != nil {
			return err
		}
		o.Values = append(o.Values, values)
	}
	set := map[string]any{}
	for _, s := range a.Set {
		if err := strvals.ParseInto(s, set); err != nil {
			return fmt.Errorf("--set %s: %w", s, err)
		}
	}
	for _, s := range a.SetString {
		if err := strvals.ParseIntoString(s, set); err != nil {
			return fmt.Errorf("--set-string %s: %w", s, err)
		}
	}
	o.Values = append(o.Values, set)
	g.read[name] = true
	return g.render(c, name, o, true)
}

// chart loads the chart that a step names: a path of the root file system, or
// the name of a chart that is in the bundle alone.
func (g *gatherer) chart(a step.HelmRelease, dir string) (*chart.Chart, string, error) {
	remote, isOCI := strings.CutPrefix(a.Chart, "oci://")
	if !isOCI {
		p, err := g.locate(dir, a.Chart)
		if err != nil {
			return nil, "", err
		}
		c, err := chart.LoadFS(g.files, p)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return c, p, err
		}
		remote = a.Chart
	}
	c, err := PackedChart(g.in.Bundles, remote, a.Version)
	return c, a.Chart, err
}

// PackedChart gives a chart that bundles hold as an OCI artifact and not as
// files, as that of a bundle.yaml. ref is what a step calls it: a path, or a
// reference with or without oci://; the last part of it is the chart's name.
// Where there is none it errs with [fs.ErrNotExist].
func PackedChart(bundles []Bundle, ref, version string) (*chart.Chart, error) {
	name, v, _ := strings.Cut(path.Base(ref), ":")
	if version == "" {
		version = v
	}
	tgz, err := packedChart(bundles, name, version)
	if err != nil {
		return nil, err
	}
	return chart.LoadBytes(ref, tgz)
}

func packedChart(bundles []Bundle, name, version string) ([]byte, error) {
	for _, b := range bundles {
		for _, d := range b.Reader.Index().Manifests {
			if d.Annotations[archive.AnnotationKind] != archive.KindChart {
				continue
			}
			n, v, _ := strings.Cut(path.Base(d.Annotations[archive.AnnotationRef]), ":")
			if n != name || version != "" && v != version && v != strings.ReplaceAll(version, "+", "_") {
				continue
			}
			raw, err := b.Reader.ReadBlob(d.Digest, maxManifest)
			if err != nil {
				return nil, err
			}
			var m doc
			if err := json.Unmarshal(raw, &m); err != nil || len(m.Layers) == 0 {
				return nil, fmt.Errorf("%w: the manifest of chart %s has no layer", ErrDamaged, name)
			}
			return b.Reader.ReadBlob(m.Layers[0].Digest, chart.DefaultMaxBytes)
		}
	}
	return nil, fs.ErrNotExist
}

// render takes the images of a chart, and what else later steps depend on.
func (g *gatherer) render(c *chart.Chart, name string, o chart.RenderOptions, required bool) error {
	o.KubeVersion, o.APIVersions = g.kube, g.apis
	docs, err := c.Render(g.ctx, o)
	if err != nil {
		return err
	}
	g.charts++
	label := "chart " + c.Name + " "
	if !required {
		label = "chart " + name + ", which no typed step installs, "
	}
	for _, d := range docs {
		found, err := discover.Objects(d.Data, discover.Origin{Name: label + d.Template})
		if err != nil {
			return err
		}
		g.take(found, required)
		if required {
			g.look(d.Data)
		}
	}
	return nil
}

// object is what the rehearsal wants to know of an object besides images.
type object struct {
	Kind string
	Spec struct {
		Type    string
		Group   string
		Version string
		Names   struct{ Kind string }
		// Of a definition of a custom resource.
		Versions []struct{ Name string }
		// Of a service.
		Ports []struct {
			NodePort int `yaml:"nodePort"`
		}
	}
}

// look notes the node ports of services, and the APIs that definitions of
// custom resources add: templates ask for them.
func (g *gatherer) look(data []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var o object
		err := dec.Decode(&o)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			if errors.As(err, new(*yaml.TypeError)) {
				continue // of another shape, so not one of ours
			}
			return // package discover has read it, and said what is wrong
		}
		switch o.Kind {
		case "Service":
			for _, p := range o.Spec.Ports {
				if p.NodePort > 0 {
					g.nodePorts = append(g.nodePorts, p.NodePort)
				}
			}
		case "CustomResourceDefinition":
			versions := []string{o.Spec.Version}
			for _, v := range o.Spec.Versions {
				versions = append(versions, v.Name)
			}
			for _, v := range versions {
				api := o.Spec.Group + "/" + v
				if v == "" || slices.Contains(g.apis, api) {
					continue
				}
				g.apis = append(g.apis, api, api+"/"+o.Spec.Names.Kind)
			}
		}
	}
}

// apply takes the images of the manifests that kubectl would read: wildcards
// as the shell expands them, of folders the files that end in .yaml, .yml or
// .json.
func (g *gatherer) apply(dir string, names []string, recursive bool, source manifest.Source) error {
	for _, name := range names {
		p, err := g.locate(dir, name)
		if err != nil {
			return err
		}
		matches := []string{p}
		if strings.ContainsAny(p, "*?[") {
			if matches, err = fs.Glob(g.files, p); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if len(matches) == 0 {
				return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
			}
		}
		for _, m := range matches {
			if err := g.applied(m, recursive); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *gatherer) applied(p string, recursive bool) error {
	info, err := fs.Stat(g.files, p)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return g.objects(p, true)
	}
	entries, err := fs.ReadDir(g.files, p)
	if err != nil {
		return err
	}
	for _, e := range entries {
		child := path.Join(p, e.Name())
		info, err := fs.Stat(g.files, child)
		if err != nil {
			return err
		}
		switch {
		case info.IsDir() && recursive:
			err = g.applied(child, true)
		case !info.IsDir() && hasManifestExt(child):
			err = g.objects(child, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
