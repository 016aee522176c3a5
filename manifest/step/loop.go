package step

import (
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// loop understands the one loop that installs use, waiting for a definition:
//
//	for i in `seq 0 1 2000`; do
//	  if kubectl get RESOURCE 2>/dev/null; then helm install … && break; fi
//	  echo … && sleep 1
//	done
//
// It becomes a wait of as many seconds as the loop would take, and then what
// was to be done. The loop itself would end well when the time is over.
func (v *converter) loop(f *syntax.ForClause, run string) ([]part, bool) {
	iter, ok := f.Loop.(*syntax.WordIter)
	if !ok || f.Select {
		return nil, false
	}
	count, ok := iterations(iter.Items)
	if !ok || len(f.Do) < 2 {
		return nil, false
	}
	cond, ok := f.Do[0].Cmd.(*syntax.IfClause)
	if !ok || !bareStmt(f.Do[0]) || cond.Else != nil || len(cond.Cond) != 1 || len(cond.Then) == 0 {
		return nil, false
	}
	crd, ok := awaited(cond.Cond[0])
	if !ok {
		return nil, false
	}
	interval, ok := pause(f.Do[1:])
	if !ok {
		return nil, false
	}
	actions, ok := v.thenBreak(cond.Then)
	if !ok {
		return nil, false
	}
	if count > int64(maxTimeout/interval) {
		return nil, false
	}
	timeout, ok1 := seconds(time.Duration(count) * interval)
	every, ok2 := seconds(interval)
	if !ok1 || !ok2 {
		return nil, false
	}
	wait := part{action: WaitCRD{CRD: crd, IntervalSeconds: every}, run: run, timeout: timeout}
	return append([]part{wait}, actions...), true
}

// bareStmt tells whether nothing is around a statement's command.
func bareStmt(s *syntax.Stmt) bool {
	return !s.Negated && !s.Background && !s.Coprocess && !s.Disown && len(s.Redirs) == 0
}

// iterations counts the words of a for: a seq, a brace range of numbers, or
// plain words.
func iterations(items []*syntax.Word) (int64, bool) {
	if len(items) != 1 {
		for _, w := range items {
			if a, ok := literal(w); !ok || a.special() {
				return 0, false
			}
		}
		return int64(len(items)), len(items) > 0
	}
	parts := items[0].Parts
	if len(parts) != 1 {
		return 0, false
	}
	switch p := parts[0].(type) {
	case *syntax.CmdSubst:
		if len(p.Stmts) != 1 || p.TempFile || p.ReplyVar {
			return 0, false
		}
		w, ok := plainCall(p.Stmts[0])
		if !ok || len(w) < 2 || w[0] != "seq" {
			return 0, false
		}
		return seq(w[1:])
	case *syntax.Lit:
		inner, ok := strings.CutPrefix(p.Value, "{")
		if inner, ok2 := strings.CutSuffix(inner, "}"); ok && ok2 {
			first, last, ok := strings.Cut(inner, "..")
			if !ok {
				return 0, false
			}
			if a, err := strconv.ParseInt(first, 10, 32); err == nil {
				if b, err := strconv.ParseInt(last, 10, 32); err == nil {
					return max(a, b) - min(a, b) + 1, true
				}
			}
		}
	}
	return 0, false
}

// seq counts the numbers that "seq [first [step]] last" prints.
func seq(words []string) (int64, bool) {
	if len(words) > 3 {
		return 0, false
	}
	var n [3]int64
	for i, w := range words {
		x, err := strconv.ParseInt(w, 10, 32)
		if err != nil {
			return 0, false
		}
		n[i] = x
	}
	first, step, last := int64(1), int64(1), n[0]
	switch len(words) {
	case 2:
		first, last = n[0], n[1]
	case 3:
		first, step, last = n[0], n[1], n[2]
	}
	if step <= 0 || last < first {
		return 0, false
	}
	return (last-first)/step + 1, true
}

// awaited gives the custom resource whose definition "kubectl get" waits for.
func awaited(s *syntax.Stmt) (string, bool) {
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || s.Negated || s.Background || s.Coprocess || s.Disown || !quiet(s.Redirs) || len(call.Assigns) > 0 {
		return "", false
	}
	var w []string
	for _, x := range call.Args {
		a, ok := literal(x)
		if !ok || a.special() || strings.HasPrefix(a.text, "-") || a.text == "" {
			return "", false
		}
		w = append(w, a.text)
	}
	if len(w) < 3 || w[0] != "kubectl" || w[1] != "get" {
		return "", false
	}
	switch {
	case len(w) == 3 && !strings.ContainsAny(w[2], "/,") && !builtin(w[2]):
		return w[2], true
	case len(w) == 3:
		resource, name, ok := strings.Cut(w[2], "/")
		return name, ok && resourceName(resource) == "customresourcedefinition" && name != "" && !strings.Contains(name, "/")
	case len(w) == 4 && resourceName(w[2]) == "customresourcedefinition":
		return w[3], true
	}
	return "", false
}

// pause gives the one sleep in statements that else only print.
func pause(stmts []*syntax.Stmt) (time.Duration, bool) {
	var total time.Duration
	for _, s := range stmts {
		members, ok := chain(s, nil)
		if !ok {
			return 0, false
		}
		for _, m := range members {
			call, ok := m.Cmd.(*syntax.CallExpr)
			if !ok || !bareStmt(m) || len(call.Assigns) > 0 || len(call.Args) == 0 {
				return 0, false
			}
			switch call.Args[0].Lit() {
			case "echo":
				if !harmless(call) {
					return 0, false
				}
			case "sleep":
				w, ok := plainCall(m)
				if !ok || len(w) != 2 || total != 0 {
					return 0, false
				}
				if total, ok = sleep(w[1]); !ok {
					return 0, false
				}
			default:
				return 0, false
			}
		}
	}
	return total, total > 0
}

// harmless tells whether the words of an echo run nothing.
func harmless(call *syntax.CallExpr) bool {
	ok := !changesShell(call)
	syntax.Walk(call, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst, *syntax.ArithmExp:
			ok = false
		}
		return ok
	})
	return ok
}

// sleep reads the argument of sleep.
func sleep(s string) (time.Duration, bool) {
	unit := time.Second
	for suffix, u := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour} {
		if cut, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = cut, u
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n <= 0 || n > int64(maxTimeout/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// thenBreak gives the typed parts of "A && B && break".
func (v *converter) thenBreak(stmts []*syntax.Stmt) ([]part, bool) {
	if len(stmts) != 1 {
		return nil, false // "A; break" leaves the loop even if A failed
	}
	members, ok := chain(stmts[0], nil)
	if !ok {
		return nil, false
	}
	last := members[len(members)-1]
	if w, ok := plainCall(last); !ok || len(w) != 1 || w[0] != "break" {
		return nil, false
	}
	var out []part
	for _, m := range members[:len(members)-1] {
		call, ok := m.Cmd.(*syntax.CallExpr)
		if !ok || !quiet(m.Redirs) || len(call.Assigns) > 0 {
			return nil, false
		}
		parts, ok := v.call(call, v.source(m))
		if !ok {
			return nil, false
		}
		out = append(out, parts...)
	}
	return out, true
}
