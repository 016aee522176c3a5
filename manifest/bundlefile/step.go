package bundlefile

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
	"bundle/manifest/step"
)

// stepReader reads the value of one kind of step.
type stepReader struct {
	*parser
	action step.Action
	// what the value says beside the action
	timeout     int
	run         string
	destructive *bool
	idempotent  *bool
}

// step reads one entry of steps: one action, and what every step may have.
func (p *parser) step(n *yaml.Node) {
	r := &stepReader{parser: p}
	var id, phase, summary string
	known := fields{
		"id":      p.object1(&id, "id"),
		"phase":   p.object1(&phase, "phase"),
		"summary": p.into(&summary, "summary"),
	}
	actions := r.actions()
	for name, read := range actions {
		known[name] = read
	}
	seen, ok := p.object(n, "a step", known)
	if !ok {
		return
	}
	count := 0
	for name := range actions {
		if seen[name] != nil {
			count++
		}
	}
	if count != 1 {
		p.bad(n, "it has one of "+strings.Join(slices.Sorted(maps.Keys(actions)), ", "), "a step does exactly one thing, this one does %d", count)
		return
	}
	if id != "" {
		if p.ids[id] {
			p.bad(n, "", "the step id %q is used twice", id)
		}
		p.ids[id] = true
	}
	if r.action == nil || len(p.problems) > 0 {
		return
	}
	s := step.Build(r.action, manifest.Step{ID: id, Phase: phase, Run: r.run, Source: p.at(n), TimeoutSeconds: r.timeout})
	if summary != "" {
		s.Summary = summary
	}
	if r.destructive != nil {
		s.Destructive = *r.destructive
	}
	if r.idempotent != nil {
		s.Idempotent = *r.idempotent
	}
	p.f.steps = append(p.f.steps, stepItem{s})
}

func (r *stepReader) actions() fields {
	return fields{
		"helm":          r.helm,
		"helmUninstall": r.helmUninstall,
		"apply":         r.apply,
		"create":        r.create,
		"delete":        r.delete,
		"namespace":     r.namespace,
		"scale":         r.scale,
		"taint":         r.taint,
		"label":         r.label,
		"annotate":      r.annotate,
		"patch":         r.patch,
		"waitCRD":       r.waitCRD,
		"waitRollout":   r.waitRollout,
		"exec":          r.exec,
	}
}

func (r *stepReader) helm(n *yaml.Node) {
	a := step.HelmRelease{Namespace: "default"}
	var upgrade bool
	set := func(dst *[]string, what string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode {
				r.strs(dst, what)(n)
				return
			}
			r.pairs(n, what, func(key, _ *yaml.Node, v string) {
				*dst = append(*dst, key.Value+"="+strings.ReplaceAll(v, ",", `\,`))
			})
		}
	}
	seen, _ := r.object(n, "helm", fields{
		"release":         r.object1(&a.Release, "release"),
		"chart":           r.into(&a.Chart, "chart"),
		"namespace":       r.object1(&a.Namespace, "namespace"),
		"version":         r.into(&a.Version, "version"),
		"values":          r.paths(&a.Values, "values"),
		"set":             set(&a.Set, "set"),
		"setString":       set(&a.SetString, "setString"),
		"createNamespace": r.boolean(&a.CreateNamespace, "createNamespace"),
		"wait":            r.boolean(&a.Wait, "wait"),
		"atomic":          r.boolean(&a.Atomic, "atomic"),
		"upgradeOnly":     r.boolean(&upgrade, "upgradeOnly"),
		"timeout":         r.seconds(&r.timeout, "timeout"),
	}, "release", "chart")
	if strings.HasPrefix(a.Chart, "http://") || strings.HasPrefix(a.Chart, "https://") {
		r.bad(seen["chart"], "list the chart in charts and name its path or name here", "the chart %.80q would be fetched while installing", a.Chart)
	}
	if upgrade {
		a.Mode = step.ModeUpgrade
	}
	a.Wait = a.Wait || a.Atomic
	r.action = a
}

func (r *stepReader) helmUninstall(n *yaml.Node) {
	a := step.HelmUninstall{Namespace: "default"}
	r.object(n, "helmUninstall", fields{
		"release":   r.object1(&a.Release, "release"),
		"namespace": r.object1(&a.Namespace, "namespace"),
		"timeout":   r.seconds(&r.timeout, "timeout"),
	}, "release")
	r.action = a
}

// short reads a value that may be written as just its most important field.
func (r *stepReader) short(n *yaml.Node, what, field string, known fields) {
	if n.Kind == yaml.MappingNode {
		r.object(n, what, known, field)
		return
	}
	known[field](n)
}

func (r *stepReader) apply(n *yaml.Node) {
	var a step.Apply
	r.short(n, "apply", "files", fields{
		"files":      r.paths(&a.Files, "files"),
		"namespace":  r.object1(&a.Namespace, "namespace"),
		"recursive":  r.boolean(&a.Recursive, "recursive"),
		"serverSide": r.boolean(&a.ServerSide, "serverSide"),
		"timeout":    r.seconds(&r.timeout, "timeout"),
	})
	r.needFiles(n, "apply", a.Files)
	r.action = a
}

func (r *stepReader) needFiles(n *yaml.Node, what string, files []string) {
	if len(files) == 0 && len(r.problems) == 0 {
		r.bad(n, "", "%s names no file", what)
	}
}

func (r *stepReader) create(n *yaml.Node) {
	var a step.Create
	r.short(n, "create", "files", fields{
		"files":     r.paths(&a.Files, "files"),
		"namespace": r.object1(&a.Namespace, "namespace"),
		"recursive": r.boolean(&a.Recursive, "recursive"),
		"timeout":   r.seconds(&r.timeout, "timeout"),
	})
	r.needFiles(n, "create", a.Files)
	r.action = a
}

func (r *stepReader) delete(n *yaml.Node) {
	var a step.Delete
	seen, ok := r.object(n, "delete", fields{
		"files":     r.paths(&a.Files, "files"),
		"resource":  r.object1(&a.Resource, "resource"),
		"names":     r.strs(&a.Names, "names"),
		"namespace": r.object1(&a.Namespace, "namespace"),
		"timeout":   r.seconds(&r.timeout, "timeout"),
	})
	byFile := seen["files"] != nil
	byName := seen["resource"] != nil && seen["names"] != nil
	if ok && (byFile == byName || byFile && (seen["resource"] != nil || seen["names"] != nil)) {
		r.bad(n, "", "delete needs either files, or resource and names")
	}
	r.action = a
}

func (r *stepReader) namespace(n *yaml.Node) {
	var a step.Namespace
	r.short(n, "namespace", "name", fields{"name": r.object1(&a.Name, "name")})
	r.action = a
}

func (r *stepReader) scale(n *yaml.Node) {
	a := step.Scale{Resource: "deployment"}
	r.object(n, "scale", fields{
		"resource":  r.oneOf(&a.Resource, "resource", "deployment", "statefulset", "replicaset", "replicationcontroller"),
		"name":      r.object1(&a.Name, "name"),
		"namespace": r.object1(&a.Namespace, "namespace"),
		"replicas": func(n *yaml.Node) {
			count, err := strconv.ParseInt(n.Value, 10, 32)
			if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || count < 0 {
				r.bad(n, "", "replicas must be a number from 0 on")
			}
			a.Replicas = int(count)
		},
	}, "name", "replicas")
	r.action = a
}

// oneOf gives a field reader for one of some words.
func (r *stepReader) oneOf(dst *string, what string, words ...string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := r.str(n, what)
		if ok && !slices.Contains(words, s) {
			r.bad(n, "write one of "+strings.Join(words, ", "), "%s is %.40q", what, s)
			return
		}
		*dst = s
	}
}

func (r *stepReader) patch(n *yaml.Node) {
	a := step.Patch{Type: "strategic"}
	r.object(n, "patch", fields{
		"resource":  r.object1(&a.Resource, "resource"),
		"name":      r.object1(&a.Name, "name"),
		"namespace": r.object1(&a.Namespace, "namespace"),
		"type":      r.oneOf(&a.Type, "type", "strategic", "merge", "json"),
		"patch":     r.into(&a.Patch, "patch"),
	}, "resource", "name", "patch")
	r.action = a
}

func (r *stepReader) waitCRD(n *yaml.Node) {
	var a step.WaitCRD
	r.short(n, "waitCRD", "name", fields{
		"name":     r.object1(&a.CRD, "name"),
		"interval": r.seconds(&a.IntervalSeconds, "interval"),
		"timeout":  r.seconds(&r.timeout, "timeout"),
	})
	r.action = a
}

func (r *stepReader) waitRollout(n *yaml.Node) {
	a := step.WaitRollout{Resource: "deployment"}
	r.object(n, "waitRollout", fields{
		"resource":  r.oneOf(&a.Resource, "resource", "deployment", "statefulset", "daemonset"),
		"name":      r.object1(&a.Name, "name"),
		"namespace": r.object1(&a.Namespace, "namespace"),
		"timeout":   r.seconds(&r.timeout, "timeout"),
	}, "name")
	r.action = a
}

func (r *stepReader) exec(n *yaml.Node) {
	dir := ""
	flag := func(dst **bool, what string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			*dst = new(bool)
			r.boolean(*dst, what)(n)
		}
	}
	r.short(n, "exec", "run", fields{
		"run": func(n *yaml.Node) {
			s, ok := r.str(n, "run")
			if !ok {
				return
			}
			if err := step.Syntax(s); err != nil {
				r.bad(n, "", "run is not valid shell: %v", err)
			}
			r.run = s
		},
		"dir": func(n *yaml.Node) {
			if dir, _ = r.inside(n, "dir"); dir == "." {
				dir = ""
			}
		},
		"timeout":     r.seconds(&r.timeout, "timeout"),
		"destructive": flag(&r.destructive, "destructive"),
		"idempotent":  flag(&r.idempotent, "idempotent"),
	})
	a, danger := step.NewExec(r.run, dir)
	if r.destructive == nil {
		r.destructive = &danger
	}
	r.action = a
}
