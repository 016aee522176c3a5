package rootfs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
)

// What one template may use up. Without loops and definitions the work is
// bounded by the size of its text.
const (
	maxOutputBytes = 8 << 20
	maxNodes       = 200_000
	maxTextBytes   = 1 << 20
	maxWorkBytes   = 64 << 20
)

var (
	errEndless = errors.New("the template runs without end, or close to it")
	errHuge    = errors.New("the template makes more than anybody could read")
)

// guard counts what a template does. Package template knows no limits: a range
// over a number, or definitions that call each other twice, keep it busy for
// years without a byte of output.
type guard struct{ nodes, bytes int }

// stepFunc is the function that counts; watch puts calls of it in.
const stepFunc = "_step"

func (g *guard) step(n int) (string, error) {
	if g.nodes += n; g.nodes > maxNodes {
		return "", errEndless
	}
	return "", nil
}

// watch makes every body of a loop and every definition count its nodes each
// time before it runs.
func (g *guard) watch(t *template.Template) error {
	for _, t := range t.Templates() {
		if t.Tree == nil || t.Root == nil {
			continue
		}
		bodies := map[*parse.ListNode]int{}
		bodies[t.Root] = weigh(t.Root, bodies)
		for body, size := range bodies {
			call, err := parse.Parse("step", fmt.Sprintf("{{%s %d}}", stepFunc, size), "", "", map[string]any{stepFunc: g.step})
			if err != nil {
				return err
			}
			body.Nodes = append(call["step"].Root.Nodes[:1:1], body.Nodes...)
		}
	}
	return nil
}

// weigh gives about the work that a node is, and notes that of each body of a
// loop.
func weigh(n parse.Node, bodies map[*parse.ListNode]int) int {
	arms := func(b *parse.BranchNode) int {
		return 1 + weighPipe(b.Pipe) + weighList(b.List, bodies) + weighList(b.ElseList, bodies)
	}
	switch n := n.(type) {
	case *parse.ListNode:
		return weighList(n, bodies)
	case *parse.IfNode:
		return arms(&n.BranchNode)
	case *parse.WithNode:
		return arms(&n.BranchNode)
	case *parse.RangeNode:
		bodies[n.List] = weighList(n.List, bodies)
		return 1 + weighPipe(n.Pipe) + bodies[n.List] + weighList(n.ElseList, bodies)
	case *parse.ActionNode:
		return 1 + weighPipe(n.Pipe)
	case *parse.TemplateNode:
		return 1 + weighPipe(n.Pipe)
	}
	return 1
}

func weighList(l *parse.ListNode, bodies map[*parse.ListNode]int) int {
	if l == nil {
		return 0
	}
	size := 1
	for _, n := range l.Nodes {
		size += weigh(n, bodies)
	}
	return size
}

func weighPipe(p *parse.PipeNode) int {
	if p == nil {
		return 0
	}
	n := len(p.Decl)
	for _, c := range p.Cmds {
		n += len(c.Args)
		for _, a := range c.Args {
			switch a := a.(type) {
			case *parse.PipeNode:
				n += weighPipe(a)
			case *parse.ChainNode:
				if inner, ok := a.Node.(*parse.PipeNode); ok {
					n += weighPipe(inner)
				}
			}
		}
	}
	return n
}

// funcs are those that templates may call: sealer's two, and those of package
// template that make texts, with bounds.
func (g *guard) funcs() template.FuncMap {
	return template.FuncMap{
		stepFunc: g.step,
		"b64enc": func(s string) (string, error) {
			return g.text(len(s)*4/3+4, func() string { return base64.StdEncoding.EncodeToString([]byte(s)) })
		},
		"b64dec": func(s string) (string, error) {
			return g.text(len(s)+100, func() string { return b64dec(s) })
		},
		"print":    func(args ...any) (string, error) { return g.printed(1, args, fmt.Sprint) },
		"println":  func(args ...any) (string, error) { return g.printed(1, args, fmt.Sprintln) },
		"html":     func(args ...any) (string, error) { return g.printed(6, args, template.HTMLEscaper) },
		"js":       func(args ...any) (string, error) { return g.printed(6, args, template.JSEscaper) },
		"urlquery": func(args ...any) (string, error) { return g.printed(3, args, template.URLQueryEscaper) },
		"printf":   g.printf,
	}
}

// text makes a text of at most size bytes, unless that is too many.
func (g *guard) text(size int, text func() string) (string, error) {
	if g.bytes += size; size > maxTextBytes || g.bytes > maxWorkBytes {
		return "", errHuge
	}
	return text(), nil
}

func (g *guard) printed(growth int, args []any, print func(...any) string) (string, error) {
	size := 0
	for _, a := range args {
		if size += 1 + sizeOf(a); size > maxTextBytes {
			break
		}
	}
	return g.text(size*growth, func() string { return print(args...) })
}

// wide are widths and precisions that make much of little.
var wide = regexp.MustCompile(`%[^%a-zA-Z]*(?:[0-9]{4}|\*)`)

func (g *guard) printf(format string, args ...any) (string, error) {
	if wide.MatchString(format) {
		return "", errHuge
	}
	largest := 0
	for _, a := range args {
		largest = max(largest, sizeOf(a))
	}
	// %q and %x make up to ten bytes of one.
	verbs := min(strings.Count(format, "%"), maxTextBytes)
	return g.text(len(format)+verbs*(1024+largest), func() string { return fmt.Sprintf(format, args...) })
}

// sizeOf is about the length of a printed value.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case map[string]string:
		n := 0
		for k, s := range v {
			n += len(k) + len(s) + 2
		}
		return n
	}
	return 64
}
