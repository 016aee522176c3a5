package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// MaxSize bounds a policy or revocation list, in bytes.
const MaxSize = 1 << 20

// maxDepth is how deep values may be nested; the grammar needs five.
const maxDepth = 8

// reader walks YAML nodes. It stops at the first problem: a policy is short,
// and half of it is worth nothing.
type reader struct {
	name string
	err  error
}

func (r *reader) bad(n *yaml.Node, hint, format string, args ...any) {
	if r.err == nil {
		r.err = &Problem{File: r.name, Line: n.Line, Column: n.Column, Reason: fmt.Sprintf(format, args...), hint: hint}
	}
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// decode gives the only document of a file, without anchors, aliases and
// tags: what a reviewer sees is what holds.
func decode(name string, data []byte) (*yaml.Node, error) {
	if len(data) > MaxSize {
		return nil, &Problem{File: name, Reason: fmt.Sprintf("it has more than %d bytes", MaxSize)}
	}
	invalid := func(err error) error {
		p := &Problem{File: name, Reason: err.Error()}
		text, _, _ := strings.Cut(err.Error(), "\n")
		if m := yamlError.FindStringSubmatch(text); m != nil {
			p.Reason = "this is not valid YAML: " + m[2]
			if p.Line, _ = strconv.Atoi(m[1]); p.Line > 0 {
				p.Column = 1
			}
		}
		return p
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc := new(yaml.Node)
	switch err := dec.Decode(doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, &Problem{File: name, Reason: "it is empty"}
	case err != nil:
		return nil, invalid(err)
	}
	switch err := dec.Decode(new(yaml.Node)); {
	case err == nil:
		return nil, &Problem{File: name, Reason: "it has more than one YAML document"}
	case !errors.Is(err, io.EOF):
		return nil, invalid(err)
	}
	if err := plain(name, doc, 0); err != nil {
		return nil, err
	}
	return doc.Content[0], nil
}

func plain(name string, n *yaml.Node, depth int) error {
	at := func(reason string) error {
		return &Problem{File: name, Line: n.Line, Column: n.Column, Reason: reason}
	}
	switch {
	case depth > maxDepth:
		return at("this is nested too deep")
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return at("anchors and aliases are not allowed")
	case n.Style&yaml.TaggedStyle != 0:
		return at("tags are not allowed")
	}
	for _, c := range n.Content {
		if err := plain(name, c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fields are the fields of a mapping and what reads each.
type fields map[string]func(*yaml.Node)

// object reads a mapping of known fields.
func (r *reader) object(n *yaml.Node, what string, known fields, required ...string) {
	seen := map[string]bool{}
	r.pairs(n, what, func(key, value *yaml.Node) {
		read, ok := known[key.Value]
		if !ok {
			r.bad(key, "it has "+strings.Join(slices.Sorted(maps.Keys(known)), ", "), "%s has no field %.60q", what, key.Value)
			return
		}
		seen[key.Value] = true
		read(value)
	})
	for _, name := range required {
		if !seen[name] {
			r.bad(n, "", "%s needs the field %q", what, name)
		}
	}
}

// pairs reads a mapping in the order of the file.
func (r *reader) pairs(n *yaml.Node, what string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "%s must be a mapping", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && r.err == nil; i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			r.bad(key, "", "%s has a name that is no string", what)
		case seen[key.Value]:
			r.bad(key, "", "%s has %.60q twice", what, key.Value)
		default:
			seen[key.Value] = true
			each(key, n.Content[i+1])
		}
	}
}

// items reads a list of at most limit entries.
func (r *reader) items(n *yaml.Node, what string, limit int, each func(*yaml.Node)) {
	switch {
	case n.Kind != yaml.SequenceNode:
		r.bad(n, "", "%s must be a list", what)
	case len(n.Content) > limit:
		r.bad(n, "", "%s has %d entries, and may have %d", what, len(n.Content), limit)
	default:
		for _, item := range n.Content {
			each(item)
		}
	}
}

// str reads a string that is not empty.
func (r *reader) str(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || strings.TrimSpace(n.Value) == "" {
		r.bad(n, "", "%s must be a string", what)
		return ""
	}
	return n.Value
}

func (r *reader) into(dst *string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) { *dst = r.str(n, what) }
}

func (r *reader) strs(n *yaml.Node, what string, limit int) []string {
	var list []string
	r.items(n, what, limit, func(n *yaml.Node) {
		s := r.str(n, "an entry of "+what)
		if slices.Contains(list, s) {
			r.bad(n, "", "%s has %.60q twice", what, s)
		}
		list = append(list, s)
	})
	return list
}

// count reads a number from 1 to limit.
func (r *reader) count(n *yaml.Node, what string, limit int64) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || v < 1 || v > limit {
		r.bad(n, "", "%s must be a number from 1 to %d", what, limit)
	}
	return v
}

// day is how a date without a time is written.
const day = "2006-01-02"

// instant reads a date or an RFC 3339 time. A date is the whole day in UTC:
// its first moment, or where it is an end, its last.
func (r *reader) instant(dst *time.Time, what string, end bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s := r.str(n, what)
		if t, err := time.Parse(day, s); err == nil {
			if end {
				t = t.AddDate(0, 0, 1).Add(-time.Nanosecond)
			}
			*dst = t
			return
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			r.bad(n, "write it like 2027-01-31 or 2027-01-31T12:00:00Z", "%s is %.40q, which is no date", what, s)
		}
		*dst = t.UTC()
	}
}

// kind reads the two fields that every document begins with.
func (r *reader) kind(want string) fields {
	fixed := func(what, want string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if v := r.str(n, what); v != want {
				r.bad(n, "", "%s is %.60q, and must be %s", what, v, want)
			}
		}
	}
	return fields{"apiVersion": fixed("apiVersion", APIVersion), "kind": fixed("kind", want)}
}

// kindOf tells what a document says to be, before it is read as that.
func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "kind" {
				return n.Content[i+1].Value
			}
		}
	}
	return ""
}
