package step

import (
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// parse reads a shell line as bash would.
func parse(text string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
}

// convert turns one line into its steps: typed ones if all of it is
// understood, else one exec.
func convert(c Command) []part {
	whole := func() []part {
		a, danger := NewExec(c.Text, c.Dir)
		return []part{{action: a, run: c.Text, danger: danger}}
	}
	f, err := parse(c.Text)
	if err != nil || len(f.Stmts) != 1 {
		return whole()
	}
	stmts, ok := chain(f.Stmts[0], nil)
	if !ok {
		return whole()
	}
	line := converter{text: c.Text, dir: c.Dir}
	if dir, ok := line.cd(stmts[0]); ok && len(stmts) > 1 {
		line.dir, stmts = dir, stmts[1:]
	}
	var out []part
	for _, s := range stmts {
		parts, ok := line.stmt(s)
		if !ok {
			return whole()
		}
		out = append(out, parts...)
	}
	return out
}

// chain gives the members of A && B && C in order.
func chain(s *syntax.Stmt, out []*syntax.Stmt) ([]*syntax.Stmt, bool) {
	if s.Negated || s.Background || s.Coprocess || s.Disown {
		return nil, false
	}
	b, isChain := s.Cmd.(*syntax.BinaryCmd)
	if !isChain || b.Op != syntax.AndStmt {
		return append(out, s), true
	}
	if len(s.Redirs) > 0 {
		return nil, false
	}
	out, ok := chain(b.X, out)
	if !ok {
		return nil, false
	}
	return chain(b.Y, out)
}

// converter turns the statements of one line into parts.
type converter struct {
	text string
	dir  string
}

// source gives the text of a node as the user wrote it.
func (v *converter) source(n syntax.Node) string {
	from, to := int(n.Pos().Offset()), int(n.End().Offset())
	if from < 0 || to > len(v.text) || from > to {
		return v.text
	}
	return v.text[from:to]
}

// stmt turns one member of a chain into parts. A simple command that is not
// understood becomes an exec of its own, if nothing it does to the shell could
// matter to the members after it.
func (v *converter) stmt(s *syntax.Stmt) ([]part, bool) {
	if loop, ok := s.Cmd.(*syntax.ForClause); ok && len(s.Redirs) == 0 {
		return v.loop(loop, v.source(s))
	}
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok {
		return nil, false
	}
	if quiet(s.Redirs) && len(call.Assigns) == 0 {
		if parts, ok := v.call(call, v.source(s)); ok {
			return parts, true
		}
	}
	if changesShell(call) {
		return nil, false
	}
	run := v.source(s)
	a, danger := NewExec(run, v.dir)
	return []part{{action: a, run: run, danger: danger}}, true
}

// call turns helm and kubectl into parts.
func (v *converter) call(c *syntax.CallExpr, run string) ([]part, bool) {
	var args []arg
	for _, w := range c.Args {
		a, ok := literal(w)
		if !ok {
			return nil, false
		}
		args = append(args, a)
	}
	if len(args) == 0 || args[0].special() {
		return nil, false
	}
	var actions []Action
	var timeout int
	var ok bool
	switch args[0].text {
	case "helm":
		actions, timeout, ok = helm(args[1:], v.dir)
	case "kubectl":
		actions, timeout, ok = kubectl(args[1:], v.dir)
	}
	if !ok {
		return nil, false
	}
	var out []part
	for _, a := range actions {
		out = append(out, part{action: a, run: run, timeout: timeout})
	}
	return out, true
}

// cd gives the folder of a leading "cd folder".
func (v *converter) cd(s *syntax.Stmt) (string, bool) {
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(s.Redirs) > 0 || len(call.Assigns) > 0 || len(call.Args) != 2 || call.Args[0].Lit() != "cd" {
		return "", false
	}
	a, ok := literal(call.Args[1])
	if !ok || a.special() || a.text == "" || a.text == "-" || path.IsAbs(a.text) {
		return "", false
	}
	dir := path.Join(v.dir, a.text)
	if dir == ".." || strings.HasPrefix(dir, "../") {
		return "", false
	}
	if dir == "." {
		dir = ""
	}
	return dir, true
}

// quiet tells whether redirections only throw output away.
func quiet(redirs []*syntax.Redirect) bool {
	for _, r := range redirs {
		word := r.Word.Lit()
		switch r.Op {
		case syntax.RdrOut, syntax.RdrAll, syntax.AppOut:
			if word != "/dev/null" {
				return false
			}
		case syntax.DplOut:
			if word != "1" && word != "2" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// stateful are commands whose effect on the shell later commands may need.
var stateful = map[string]bool{
	".": true, "alias": true, "break": true, "builtin": true, "cd": true, "command": true, "continue": true,
	"declare": true, "enable": true, "eval": true, "exec": true, "exit": true, "export": true, "hash": true,
	"let": true, "local": true, "mapfile": true, "popd": true, "printf": true, "pushd": true, "read": true,
	"readarray": true, "readonly": true, "return": true, "set": true, "shift": true, "shopt": true,
	"source": true, "trap": true, "typeset": true, "ulimit": true, "umask": true, "unalias": true,
	"unset": true, "wait": true,
}

// changesShell tells whether a simple command may change the shell it runs in.
func changesShell(c *syntax.CallExpr) bool {
	if len(c.Args) == 0 {
		return true // only assignments
	}
	name, ok := literal(c.Args[0])
	if !ok || name.special() || stateful[name.text] {
		return true
	}
	// ${x:=y} assigns while it expands.
	changes := false
	syntax.Walk(c, func(n syntax.Node) bool {
		if p, ok := n.(*syntax.ParamExp); ok && p.Exp != nil &&
			(p.Exp.Op == syntax.AssignUnset || p.Exp.Op == syntax.AssignUnsetOrNull) {
			changes = true
		}
		if _, ok := n.(*syntax.ArithmExp); ok {
			changes = true
		}
		return !changes
	})
	return changes
}
