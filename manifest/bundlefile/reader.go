package bundlefile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// ErrBundleFile is wrapped by every error that the content of a bundle.yaml
// causes, as opposed to a failing reader.
var ErrBundleFile = errors.New("bad bundle.yaml")

// maxProblems bounds a report.
const maxProblems = 50

// Problem is one thing wrong in the file. It wraps [ErrBundleFile].
type Problem struct {
	// File is the file's name; Line and Column count from 1 and are 0 where
	// the whole file is meant.
	File         string
	Line, Column int
	// Reason says what is wrong.
	Reason string
	// Hint says what to write instead; it may be empty.
	Hint string
}

// Error gives "file:line:column: reason; hint".
func (p *Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	s += ": " + p.Reason
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Unwrap gives [ErrBundleFile].
func (p *Problem) Unwrap() error { return ErrBundleFile }

// reader walks YAML nodes and gathers problems.
type reader struct {
	name     string
	problems []error
	more     int
}

func (r *reader) bad(n *yaml.Node, hint, format string, args ...any) {
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, &Problem{File: r.name, Line: n.Line, Column: n.Column, Reason: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *reader) err() error {
	if r.more > 0 {
		r.problems = append(r.problems, fmt.Errorf("and %d more of this kind: %w", r.more, ErrBundleFile))
	}
	return errors.Join(r.problems...)
}

func (r *reader) at(n *yaml.Node) manifest.Source { return manifest.FileLine(r.name, n.Line) }

// fields are the fields of a mapping and what reads each.
type fields map[string]func(*yaml.Node)

// object reads a mapping. It gives the node of each field that is there, and
// false where n is no mapping.
func (r *reader) object(n *yaml.Node, what string, known fields, required ...string) (map[string]*yaml.Node, bool) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "%s must be a mapping, not %s", what, kindOf(n))
		return nil, false
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !ok:
			r.bad(key, suggest(key.Value, known), "%s has no field %.60q", what, key.Value)
		case seen[key.Value] != nil:
			r.bad(key, "", "%s has the field %q twice", what, key.Value)
		default:
			seen[key.Value] = key
			read(value)
		}
	}
	for _, name := range required {
		if seen[name] == nil {
			r.bad(n, "", "%s needs the field %q", what, name)
		}
	}
	return seen, true
}

// items reads a list.
func (r *reader) items(n *yaml.Node, what string, each func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "", "%s must be a list, not %s", what, kindOf(n))
		return
	}
	for _, item := range n.Content {
		each(item)
	}
}

// pairs reads a mapping of names to strings, in file order.
func (r *reader) pairs(n *yaml.Node, what string, each func(key, value *yaml.Node, v string)) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "%s must be a mapping of names to strings, not %s", what, kindOf(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Value == "" {
			r.bad(key, "", "%s has a name that is no string", what)
			continue
		}
		if seen[key.Value] {
			r.bad(key, "", "%s has %q twice", what, key.Value)
			continue
		}
		seen[key.Value] = true
		if value.Kind != yaml.ScalarNode || value.ShortTag() == "!!null" {
			hint := ""
			if value.Kind == yaml.ScalarNode {
				hint = `write "" for an empty string`
			}
			r.bad(value, hint, "%s: %s must be a string, not %s", what, key.Value, kindOf(value))
			continue
		}
		each(key, value, value.Value)
	}
}

// str reads a string that is not empty. Numbers and the like are taken as
// they are written: version: 1.10 is "1.10".
func (r *reader) str(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		r.bad(n, "", "%s must be a string, not %s", what, kindOf(n))
		return "", false
	}
	if strings.TrimSpace(n.Value) == "" {
		r.bad(n, "", "%s is empty", what)
		return "", false
	}
	return n.Value, true
}

// into gives a field reader that stores a string.
func (r *reader) into(dst *string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) { *dst, _ = r.str(n, what) }
}

// strs gives a field reader that stores a string or a list of strings.
func (r *reader) strs(dst *[]string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
			if s, ok := r.str(n, what); ok {
				*dst = []string{s}
			}
			return
		}
		r.items(n, what, func(item *yaml.Node) {
			if s, ok := r.str(item, "an entry of "+what); ok {
				*dst = append(*dst, s)
			}
		})
	}
}

// boolean gives a field reader that stores true or false.
func (r *reader) boolean(dst *bool, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			r.bad(n, "", "%s must be true or false", what)
			return
		}
		*dst = n.Value[0] == 't' || n.Value[0] == 'T'
	}
}

// maxSeconds is the longest timeout: a week.
const maxSeconds = 7 * 24 * 3600

// seconds gives a field reader that stores a duration in whole seconds.
func (r *reader) seconds(dst *int, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := r.str(n, what)
		if !ok {
			return
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			hint := "write it like 90s or 10m"
			if _, err := strconv.Atoi(s); err == nil {
				hint = fmt.Sprintf("write %ss for seconds", s)
			}
			r.bad(n, hint, "%s is %.40q, which is no duration", what, s)
			return
		}
		if d <= 0 || d > maxSeconds*time.Second {
			r.bad(n, "", "%s is %s; it must be more than nothing and at most a week", what, s)
			return
		}
		*dst = int((d + time.Second - 1) / time.Second)
	}
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%.40q", n.Value)
}

// suggest gives a hint that names the field somebody may have meant.
func suggest(word string, known fields) string {
	names := slices.Sorted(maps.Keys(known))
	best, bestAt := 3, ""
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < best && d < len(name) {
			best, bestAt = d, name
		}
	}
	if bestAt != "" {
		return fmt.Sprintf("did you mean %q?", bestAt)
	}
	return "it has " + strings.Join(names, ", ")
}

// distance is Levenshtein's, and a large number for words that are far apart
// in length.
func distance(a, b string) int {
	if len(a) > len(b)+3 || len(b) > len(a)+3 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
