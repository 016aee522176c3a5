package rootfs

import (
	"bytes"
	"fmt"
	"text/template"
	"text/template/parse"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// maxMissing bounds the warnings about one template.
const maxMissing = 20

// rendered is what a template printed.
type rendered struct {
	data     []byte
	warnings []cluster.Warning
}

func (r *rendered) warn(at manifest.Source, format string, args ...any) {
	r.warnings = append(r.warnings, cluster.Warning{Source: at, Text: fmt.Sprintf(format, args...)})
}

// missing says which variables a template printed that have no value, by the
// line of the template; and the line of the output where it cannot tell.
func (r *rendered) missing(name string, t *template.Template, env map[string]string) {
	told := map[manifest.Source]bool{}
	for _, t := range t.Templates() {
		if t.Tree == nil {
			continue
		}
		visit(t.Root, func(n parse.Node) {
			a, ok := n.(*parse.ActionNode)
			if !ok || len(a.Pipe.Decl) > 0 || len(a.Pipe.Cmds) != 1 || len(a.Pipe.Cmds[0].Args) != 1 {
				return
			}
			var field string
			switch arg := a.Pipe.Cmds[0].Args[0].(type) {
			case *parse.FieldNode:
				field = arg.Ident[0]
			case *parse.VariableNode:
				if len(arg.Ident) == 2 && arg.Ident[0] == "$" {
					field = arg.Ident[1]
				}
			}
			at := manifest.FileLine(name, a.Line)
			if _, ok := env[field]; ok || field == "" || told[at] || len(told) == maxMissing {
				return
			}
			told[at] = true
			r.warn(at, "the variable %s has no value; the file will hold %q", field, noValue)
		})
	}
	if len(told) == 0 {
		line := 1 + bytes.Count(r.data[:bytes.Index(r.data, []byte(noValue))], []byte("\n"))
		r.warn(manifest.Source(name), "line %d of what the template makes holds %q: a variable has no value", line, noValue)
	}
}

// visit calls f with a node and all below it.
func visit(n parse.Node, f func(parse.Node)) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		f(n)
		for _, c := range n.Nodes {
			visit(c, f)
		}
	case *parse.IfNode:
		branch(n, &n.BranchNode, f)
	case *parse.RangeNode:
		branch(n, &n.BranchNode, f)
	case *parse.WithNode:
		branch(n, &n.BranchNode, f)
	default:
		f(n)
	}
}

func branch(n parse.Node, b *parse.BranchNode, f func(parse.Node)) {
	f(n)
	visit(b.List, f)
	visit(b.ElseList, f)
}
