package bundlefile

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest/step"
)

// target reads which nodes or objects a step is for: nodes, selector or, for
// other resources, names.
type target struct {
	step.Target
	nodes, names []string
	all          bool
	word         string
}

// nodesField reads master0, all, or a list of names.
func (r *stepReader) nodesField(t *target) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			r.strs(&t.nodes, "nodes")(n)
			return
		}
		s, ok := r.str(n, "nodes")
		switch {
		case !ok:
		case s == step.TargetMaster0 || s == step.TargetAll:
			t.word = s
		default:
			r.bad(n, "write master0, all, or a list of node names", "nodes is %.40q", s)
		}
	}
}

// resolve gives the target that the fields describe.
func (r *stepReader) resolve(n *yaml.Node, what string, t *target) step.Target {
	names := append(append([]string{}, t.nodes...), t.names...)
	ways := 0
	out := step.Target{}
	if t.word != "" {
		out.Target = t.word
		ways++
	}
	if t.all {
		out.Target = step.TargetAll
		ways++
	}
	if t.Selector != "" {
		out.Target, out.Selector = step.TargetSelector, t.Selector
		ways++
	}
	if len(names) > 0 {
		out.Target, out.Names = step.TargetNames, names
		ways++
	}
	if ways != 1 && n.Kind == yaml.MappingNode && len(r.problems) == 0 {
		r.bad(n, "", "%s needs exactly one of nodes, names, all and selector", what)
	}
	return out
}

func (r *stepReader) taint(n *yaml.Node) {
	var t target
	var a step.Taint
	taint := func(remove bool) func(*yaml.Node) {
		return func(n *yaml.Node) {
			s, ok := r.str(n, "a taint")
			if !ok {
				return
			}
			text := s
			if remove {
				text += "-"
			}
			parsed, ok := step.ParseTaint(text)
			if !ok || strings.HasSuffix(s, "-") {
				r.bad(n, "write key=value:Effect or key:Effect; the effect is NoSchedule, PreferNoSchedule or NoExecute", "the taint is %.80q", s)
				return
			}
			parsed.Overwrite = a.Overwrite
			a = parsed
		}
	}
	var overwrite bool
	seen, ok := r.object(n, "taint", fields{
		"nodes":     r.nodesField(&t),
		"selector":  r.into(&t.Selector, "selector"),
		"add":       taint(false),
		"remove":    taint(true),
		"overwrite": r.boolean(&overwrite, "overwrite"),
	})
	if ok && (seen["add"] == nil) == (seen["remove"] == nil) {
		r.bad(n, "", "taint needs exactly one of add and remove")
	}
	a.Overwrite = overwrite
	a.Target = r.resolve(n, "taint", &t)
	r.action = a
}

func (r *stepReader) label(n *yaml.Node)    { r.action = step.Label{Meta: r.meta(n, "label")} }
func (r *stepReader) annotate(n *yaml.Node) { r.action = step.Annotate{Meta: r.meta(n, "annotate")} }

func (r *stepReader) meta(n *yaml.Node, what string) step.Meta {
	var t target
	m := step.Meta{Resource: "node", Set: map[string]string{}}
	seen, ok := r.object(n, what, fields{
		"nodes":     r.nodesField(&t),
		"resource":  r.object1(&m.Resource, "resource"),
		"names":     r.strs(&t.names, "names"),
		"all":       r.boolean(&t.all, "all"),
		"selector":  r.into(&t.Selector, "selector"),
		"namespace": r.object1(&m.Namespace, "namespace"),
		"set": func(n *yaml.Node) {
			r.pairs(n, "set", func(key, _ *yaml.Node, v string) { m.Set[key.Value] = v })
		},
		"remove":    r.strs(&m.Remove, "remove"),
		"overwrite": r.boolean(&m.Overwrite, "overwrite"),
	})
	if ok && seen["nodes"] != nil && seen["resource"] != nil {
		r.bad(seen["resource"], "use names with resource", "nodes and resource do not go together")
	}
	if ok && len(m.Set) == 0 && len(m.Remove) == 0 && len(r.problems) == 0 {
		r.bad(n, "", "%s needs set or remove", what)
	}
	m.Target = r.resolve(n, what, &t)
	return m
}
