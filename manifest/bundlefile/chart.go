package bundlefile

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// chart reads one entry of charts: a path, an oci:// reference, or a mapping.
func (p *parser) chart(n *yaml.Node) {
	c := Chart{Source: p.at(n)}
	if n.Kind == yaml.ScalarNode {
		if strings.HasPrefix(n.Value, "oci://") {
			p.chartOCI(&c, n)
		} else {
			c.Path, _ = p.inside(n, "a chart")
		}
		if c.OCI != "" && c.Version == "" {
			p.bad(n, "write oci://registry/chart:version", "the chart %s has no version", c.OCI)
		}
		p.f.Charts = append(p.f.Charts, c)
		return
	}
	seen, ok := p.object(n, "a chart", fields{
		"path":      func(n *yaml.Node) { c.Path, _ = p.inside(n, "path") },
		"oci":       func(n *yaml.Node) { p.chartOCI(&c, n) },
		"name":      p.object1(&c.Name, "name"),
		"repo":      func(n *yaml.Node) { p.repo(&c, n) },
		"version":   p.into(&c.Version, "version"),
		"values":    p.paths(&c.Values, "values"),
		"profiles":  func(n *yaml.Node) { p.profiles(&c, n) },
		"release":   p.object1(&c.Release, "release"),
		"namespace": p.object1(&c.Namespace, "namespace"),
	})
	if !ok {
		return
	}
	sources := 0
	for _, name := range []string{"path", "oci", "name"} {
		if seen[name] != nil {
			sources++
		}
	}
	switch {
	case sources != 1:
		p.bad(n, "", "a chart has exactly one of path, oci and name (with repo)")
	case seen["name"] != nil && seen["repo"] == nil:
		p.bad(n, "add repo: https://…, or use path or oci", "the chart %s names no repository", c.Name)
	case seen["name"] == nil && seen["repo"] != nil:
		p.bad(seen["repo"], "", "repo goes with name only")
	case seen["path"] == nil && seen["version"] == nil && c.Version == "":
		p.bad(n, "a bundle must not depend on the day it is built", "the chart needs a version")
	}
	p.f.Charts = append(p.f.Charts, c)
}

// chartOCI reads oci://registry/chart[:version].
func (p *parser) chartOCI(c *Chart, n *yaml.Node) {
	s, ok := p.str(n, "oci")
	if !ok {
		return
	}
	name, ok := strings.CutPrefix(s, "oci://")
	if !ok {
		p.bad(n, "write oci://registry/chart", "oci is %.80q", s)
		return
	}
	ref, err := manifest.ParseReference(name)
	if err != nil {
		p.bad(n, "", "oci: %v", err)
		return
	}
	c.OCI = "oci://" + ref.Name()
	// A tag in the reference stands where the mapping gives no version.
	if ref.Tag != "" && strings.HasSuffix(name, ":"+ref.Tag) && c.Version == "" {
		c.Version = ref.Tag
	}
	if ref.Digest != "" {
		p.bad(n, "give the version; the lock file pins the digest", "oci has a digest")
	}
}

func (p *parser) repo(c *Chart, n *yaml.Node) {
	s, ok := p.str(n, "repo")
	if !ok {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		p.bad(n, "write https://…; for registries use oci", "repo is %.80q, which is no URL of a chart repository", s)
		return
	}
	if u.User != nil {
		p.bad(n, "give credentials in --registry-config", "repo holds a user name or password")
		return
	}
	c.Repo = s
}

// paths gives a field reader for a path or a list of paths in the context.
func (p *parser) paths(dst *[]string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
			if s, ok := p.inside(n, what); ok {
				*dst = []string{s}
			}
			return
		}
		p.items(n, what, func(item *yaml.Node) {
			if s, ok := p.inside(item, "an entry of "+what); ok {
				*dst = append(*dst, s)
			}
		})
	}
}

// profiles reads a list of values lists.
func (p *parser) profiles(c *Chart, n *yaml.Node) {
	p.items(n, "profiles", func(n *yaml.Node) {
		var files []string
		p.paths(&files, "a profile")(n)
		c.Profiles = append(c.Profiles, files)
	})
}
