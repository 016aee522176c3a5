package step

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// arg is one word of a command whose value is known without running it.
type arg struct {
	text string
	// glob tells that the word has unquoted wildcards.
	glob bool
	// index tells that its only wildcards are [N], as --set uses for lists.
	index bool
	// host tells that the word is the lower-cased name of the host the line
	// runs on, which is the first master. text is empty then.
	host bool
}

// special tells whether the word is anything but plain text.
func (a arg) special() bool { return a.glob || a.host }

// literal gives the value of a word, if it is known here.
func literal(w *syntax.Word) (arg, bool) {
	if hostname(w) {
		return arg{host: true}, true
	}
	var a arg
	var b strings.Builder
	var bare strings.Builder // the unquoted text, for what a shell does to it
	for i, part := range w.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			text, ok := unescape(p.Value, &bare)
			if !ok || (i == 0 && strings.HasPrefix(p.Value, "~")) {
				return arg{}, false
			}
			b.WriteString(text)
		case *syntax.SglQuoted:
			if p.Dollar {
				return arg{}, false
			}
			b.WriteString(p.Value)
			bare.WriteByte('q')
		case *syntax.DblQuoted:
			text, ok := doubleQuoted(p)
			if !ok {
				return arg{}, false
			}
			b.WriteString(text)
			bare.WriteByte('q')
		default:
			return arg{}, false
		}
	}
	a.text = b.String()
	u := bare.String()
	if strings.Contains(u, "{") && strings.Contains(u, "}") && (strings.Contains(u, ",") || strings.Contains(u, "..")) {
		return arg{}, false // brace expansion
	}
	if strings.Contains(u, "=~") || strings.Contains(u, ":~") {
		return arg{}, false // bash may put the home folder in
	}
	if wild := count(u); wild > 0 {
		if wild != count(a.text) {
			return arg{}, false // quoted and bare wildcards in one word
		}
		a.glob = true
		a.index = !strings.ContainsAny(u, "*?") && onlyIndexes(u)
	}
	return a, true
}

// count gives the number of wildcards in s.
func count(s string) int {
	return strings.Count(s, "*") + strings.Count(s, "?") + strings.Count(s, "[")
}

// unescape takes the backslashes away from unquoted text; what stays
// unquoted is added to bare.
func unescape(s string, bare *strings.Builder) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			bare.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		if s[i] == '\n' {
			continue
		}
		b.WriteByte(s[i])
		bare.WriteByte('q')
	}
	return b.String(), true
}

// doubleQuoted gives the value of "…" that holds no expansion.
func doubleQuoted(q *syntax.DblQuoted) (string, bool) {
	if q.Dollar {
		return "", false
	}
	var b strings.Builder
	for _, part := range q.Parts {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			return "", false
		}
		for i := 0; i < len(lit.Value); i++ {
			c := lit.Value[i]
			if c == '\\' && i+1 < len(lit.Value) {
				switch next := lit.Value[i+1]; next {
				case '$', '`', '"', '\\':
					b.WriteByte(next)
					i++
					continue
				case '\n':
					i++
					continue
				}
			}
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// onlyIndexes tells whether every bracket of s is part of [digits].
func onlyIndexes(s string) bool {
	for {
		_, rest, ok := strings.Cut(s, "[")
		if !ok {
			return true
		}
		digits, after, ok := strings.Cut(rest, "]")
		if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
			return false
		}
		s = after
	}
}

// upper and lower are the ways in which tr is told the letters.
var (
	upper = map[string]bool{"A-Z": true, "[A-Z]": true, "[:upper:]": true, "[[:upper:]]": true}
	lower = map[string]bool{"a-z": true, "[a-z]": true, "[:lower:]": true, "[[:lower:]]": true}
)

// hostname tells whether a word is $(hostname) or $(hostname | tr A-Z a-z),
// quoted or not, in either form of substitution.
func hostname(w *syntax.Word) bool {
	if len(w.Parts) != 1 {
		return false
	}
	part := w.Parts[0]
	if q, ok := part.(*syntax.DblQuoted); ok && len(q.Parts) == 1 && !q.Dollar {
		part = q.Parts[0]
	}
	sub, ok := part.(*syntax.CmdSubst)
	if !ok || len(sub.Stmts) != 1 || sub.TempFile || sub.ReplyVar {
		return false
	}
	if w, ok := plainCall(sub.Stmts[0]); ok {
		return len(w) == 1 && w[0] == "hostname"
	}
	pipe, ok := sub.Stmts[0].Cmd.(*syntax.BinaryCmd)
	if !ok || pipe.Op != syntax.Pipe || len(sub.Stmts[0].Redirs) > 0 {
		return false
	}
	left, ok1 := plainCall(pipe.X)
	right, ok2 := plainCall(pipe.Y)
	return ok1 && ok2 && len(left) == 1 && left[0] == "hostname" &&
		len(right) == 3 && right[0] == "tr" && upper[right[1]] && lower[right[2]]
}

// plainCall gives the words of a statement that is a simple command without
// assignments, redirections or expansions.
func plainCall(s *syntax.Stmt) ([]string, bool) {
	c, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || s.Negated || s.Background || s.Coprocess || s.Disown || len(s.Redirs) > 0 || len(c.Assigns) > 0 {
		return nil, false
	}
	var out []string
	for _, w := range c.Args {
		a, ok := literal(w)
		if !ok || a.host {
			return nil, false
		}
		out = append(out, a.text)
	}
	return out, true
}
