package kubefile

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// statement is one instruction before its grammar is looked at.
type statement struct {
	line    int    // where it begins, from 1
	keyword string // as written
	rest    string // trimmed
	raw     string
	// joined tells that the statement went over several lines.
	joined bool
	// tab tells that something else than a plain blank follows the keyword.
	tab bool
}

func newStatement(line int, text string) statement {
	s := statement{line: line, raw: text, keyword: text}
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		s.keyword, s.rest = text[:i], strings.TrimSpace(text[i:])
		s.tab = text[i] != ' '
	}
	return s
}

// lex05 gives a statement for each line that is neither blank nor comment.
func lex05(lines []string) []statement {
	var out []statement
	for n, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		out = append(out, newStatement(n+1, line))
	}
	return out
}

// lex09 joins continued lines by Dockerfile's rules. Places where sealer and
// docker join differently, or the file ends within a statement, go to bad,
// which may be nil.
func lex09(lines []string, bad func(line int, reason, hint string)) (out []statement, escape byte) {
	if bad == nil {
		bad = func(int, string, string) {}
	}
	escape, directives := directive(lines, bad)
	var text strings.Builder
	start := 0 // line the open statement began on, 0 when there is none
	joined := false
	flush := func() {
		if s := strings.TrimSpace(text.String()); s != "" {
			st := newStatement(start, s)
			st.joined = joined
			out = append(out, st)
		}
		text.Reset()
		start, joined = 0, false
	}
	for n := directives; n < len(lines); n++ {
		line := lines[n]
		trimmed := strings.TrimSpace(line)
		if start == 0 {
			if trimmed == "" || trimmed[0] == '#' {
				continue
			}
			start = n + 1
		} else {
			if trimmed == "" || line[0] == '#' {
				continue
			}
			if trimmed[0] == '#' {
				bad(n+1, "a comment inside a continued instruction must begin in the first column", "sealer makes an indented one part of the command")
				continue
			}
		}
		body, more := continued(line, escape)
		text.WriteString(body)
		if !more {
			flush()
			continue
		}
		joined = true
	}
	if start != 0 {
		bad(start, "the file ends inside this instruction", "the last line ends in a line continuation")
		flush()
	}
	return out, escape
}

// directive reads the parser directives at the top of the file. Only escape
// means something; it gives the number of lines that were directives.
func directive(lines []string, bad func(line int, reason, hint string)) (escape byte, n int) {
	escape = '\\'
	for n < len(lines) {
		body, ok := strings.CutPrefix(strings.TrimSpace(lines[n]), "#")
		if !ok {
			break
		}
		key, value, ok := strings.Cut(body, "=")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if !ok || (key != "escape" && key != "syntax" && key != "check") {
			break
		}
		if key == "escape" {
			if value != "\\" && value != "`" {
				bad(n+1, fmt.Sprintf("the escape character is %q", value), "it must be \\ or `")
			} else {
				escape = value[0]
			}
		}
		n++
	}
	return escape, n
}

// continued cuts the continuation off a line, if it has one.
func continued(line string, escape byte) (string, bool) {
	t := strings.TrimRightFunc(line, unicode.IsSpace)
	if t == "" || t[len(t)-1] != escape {
		return line, false
	}
	return t[:len(t)-1], true
}

// flags cuts the leading --name[=value] words off s.
func flags(s string) (names []Var, rest string) {
	rest = s
	for strings.HasPrefix(rest, "--") {
		word := rest
		if i := strings.IndexFunc(rest, unicode.IsSpace); i >= 0 {
			word, rest = rest[:i], strings.TrimSpace(rest[i:])
		} else {
			rest = ""
		}
		name, value, _ := strings.Cut(word[2:], "=")
		names = append(names, Var{name, value})
	}
	return names, rest
}

// list reads a JSON list of strings, or blank-separated words. isJSON tells
// which it was. A value that begins like a list and is none is an error:
// docker would quietly take it for words.
func list(s string) (items []string, isJSON bool, err error) {
	if !strings.HasPrefix(s, "[") {
		return strings.Fields(s), false, nil
	}
	if err := json.Unmarshal([]byte(s), &items); err != nil {
		return nil, true, fmt.Errorf("%.40q begins like a JSON list of strings and is none", s)
	}
	return items, true, nil
}

// words splits s at blanks outside quotes, and takes the quotes and escapes
// away, as Dockerfile does for ENV, LABEL and ARG. quoted tells whether there
// were any.
func words(s string, escape byte) (out []string, quoted bool, err error) {
	var cur strings.Builder
	open := false
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == escape && quote != '\'' && i+1 < len(s):
			i++
			if quote == '"' && s[i] != '"' && s[i] != '$' && s[i] != escape {
				cur.WriteByte(c)
			}
			cur.WriteByte(s[i])
			open, quoted = true, true
		case quote != 0:
			cur.WriteByte(c)
		case c == '"' || c == '\'':
			quote, open, quoted = c, true, true
		case c == ' ' || c == '\t':
			if open {
				out = append(out, cur.String())
				cur.Reset()
				open = false
			}
		default:
			cur.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, true, fmt.Errorf("a %c quote is not closed", quote)
	}
	if open {
		out = append(out, cur.String())
	}
	return out, quoted, nil
}
