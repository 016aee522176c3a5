package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"path"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/step"
)

// sum hashes a list of texts so that no two lists give the same.
type sum struct{ h hash.Hash }

func newSum() sum { return sum{sha256.New()} }

func (s sum) add(parts ...string) {
	for _, p := range parts {
		fmt.Fprintf(s.h, "%d:%s,", len(p), p)
	}
	s.h.Write([]byte{'\n'})
}

// String gives half of the hash: enough to tell contents apart, and short.
func (s sum) String() string { return hex.EncodeToString(s.h.Sum(nil)[:16]) }

// reads gives the paths that a typed step reads, relative to the root file
// system.
func reads(s manifest.Step) []string {
	a, err := step.Decode(s)
	if err != nil {
		return nil
	}
	var dir string
	var list []string
	switch a := a.(type) {
	case *step.HelmRelease:
		dir, list = a.Dir, append([]string{a.Chart}, a.Values...)
	case *step.Apply:
		dir, list = a.Dir, a.Files
	case *step.Create:
		dir, list = a.Dir, a.Files
	case *step.Delete:
		dir, list = a.Dir, a.Files
	}
	var out []string
	for _, p := range list {
		if p == "" || p == "-" || path.IsAbs(p) || strings.Contains(p, "://") {
			continue
		}
		out = append(out, path.Join(dir, p))
	}
	return out
}

// content is the digest of everything in the bundle that a typed step reads,
// as Configs and templates leave it. What is missing is warned about.
func (b *builder) content(s manifest.Step) string {
	paths := reads(s)
	if len(paths) == 0 {
		return ""
	}
	h := newSum()
	for _, p := range paths {
		n := 0
		for _, f := range b.in.Contents.Files {
			if under(p, f.Path) {
				n++
				h.add(f.Path, f.Type, f.Digest.String(), f.Link)
			}
		}
		for _, c := range b.in.Contents.Charts {
			// A chart that is no file goes by its name, as the install finds it.
			name, _, _ := strings.Cut(path.Base(p), ":")
			if c.Path == p || c.Path == "" && c.Name == name {
				n++
				h.add("chart", c.Name, c.Digest.String())
			}
		}
		n += b.changed(h, func(name string) bool { return under(p, name) })
		if n == 0 && len(b.in.Contents.Files) > 0 {
			b.warn(s.Source, "%s is not in the bundle", p)
		}
	}
	return h.String()
}

// under tells whether a path is what a pattern names or lies below it.
func under(pattern, name string) bool {
	if pattern == "." {
		return true
	}
	for p := name; p != "." && p != "/"; p = path.Dir(p) {
		if p == pattern {
			return true
		}
		if strings.ContainsAny(pattern, `*?[`) {
			if ok, err := path.Match(pattern, p); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// changed adds what Configs and templates make of the files that want is true
// for, and counts them.
func (b *builder) changed(h sum, want func(name string) bool) int {
	n := 0
	if b.in.Changed != nil {
		for _, name := range slices.Sorted(maps.Keys(b.in.Changed)) {
			if want(name) {
				n++
				h.add("changed", name, b.in.Changed[name].String())
			}
		}
		return n
	}
	for _, c := range b.in.Cluster.Configs {
		if want(c.Path) {
			n++
			h.add("config", c.Path, c.Data, c.Strategy, strings.Join(c.Process, "|"))
		}
	}
	for _, f := range b.in.Contents.Files {
		if strings.HasSuffix(f.Path, ".tmpl") && want(strings.TrimSuffix(f.Path, ".tmpl")) {
			n++
			h.add("template", f.Path, f.Digest.String(), b.variables())
		}
	}
	return n
}

// variables is the digest of everything that templates and scripts may see.
func (b *builder) variables() string {
	if b.env != "" {
		return b.env
	}
	h := newSum()
	for _, list := range [][]manifest.EnvVar{b.in.Contents.Env, b.in.Cluster.Env} {
		for _, v := range list {
			h.add(v.App, v.Name, v.Value)
		}
	}
	c := b.in.Cluster
	for _, x := range c.Hosts {
		for _, v := range x.Env {
			h.add(x.Address, v.Name, v.Value)
		}
	}
	h.add(c.PodCIDR, c.ServiceCIDR, c.Runtime, c.Registry.URL(), c.Registry.External)
	h.add(c.CertSANs...)
	b.env = h.String()
	return b.env
}
