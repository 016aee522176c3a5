package cluster

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// maxVisits bounds how often the nodes of one file are looked at, so that
// aliases of aliases cannot keep us busy.
const (
	maxVisits = 2_000_000
	maxMerges = 16
)

// reader walks the nodes of one document.
type reader struct {
	*report
	*document
	visits *int
}

// item is one text of a list.
type item struct {
	text string
	at   manifest.Source
}

// resolve follows an alias. It gives nil when the file asks for too much.
func (r reader) resolve(n *yaml.Node) *yaml.Node {
	for {
		if *r.visits++; *r.visits > maxVisits {
			r.fatal = &Problem{Source: manifest.FileLine(r.file, r.first), Reason: "the aliases of the document multiply without end"}
			return nil
		}
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
}

// field is one field of a mapping.
type field struct {
	name       string
	key, value *yaml.Node
}

// pairs gives the fields of a mapping, with merged ones last. It reports a
// field that is there twice.
func (r reader) pairs(n *yaml.Node, what string) []field {
	n = r.resolve(n)
	if n == nil || null(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.bad(r.at(n), "", "%s must be a mapping, not %s", what, kindOf(n))
		return nil
	}
	var list []field
	seen := map[string]bool{}
	r.collect(n, what, seen, &list, 0)
	return list
}

func (r reader) collect(n *yaml.Node, what string, seen map[string]bool, list *[]field, depth int) {
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.resolve(n.Content[i]), r.resolve(n.Content[i+1])
		switch {
		case key == nil || value == nil:
			return
		case key.Kind != yaml.ScalarNode:
			r.bad(r.at(key), "", "%s has %s for a name", what, kindOf(key))
		case key.ShortTag() == "!!merge":
			if value.Kind == yaml.SequenceNode {
				merged = append(merged, value.Content...)
			} else {
				merged = append(merged, value)
			}
		case seen[key.Value] && depth > 0: // a merge does not replace
		case seen[key.Value]:
			r.bad(r.at(key), "", "%s has the field %q twice", what, key.Value)
		default:
			seen[key.Value] = true
			*list = append(*list, field{key.Value, key, value})
		}
	}
	for _, m := range merged {
		if m = r.resolve(m); m == nil || depth == maxMerges {
			return
		}
		if m.Kind != yaml.MappingNode {
			r.bad(r.at(m), "", "%s merges %s, which must be a mapping", what, kindOf(m))
			continue
		}
		r.collect(m, what, seen, list, depth+1)
	}
}

// fields calls what reads each field of a mapping, and warns of the others. A
// nil function passes a field over without a word.
func (r reader) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	for _, f := range r.pairs(n, what) {
		read, ok := known[f.name]
		if !ok {
			r.warn(r.at(f.key), "%s has no field %.60q; it is ignored", what, f.name)
		} else if read != nil {
			read(f.value)
		}
	}
}

// object is the frame of every document: metadata and spec. Everything else
// in metadata is for other programs.
func (r reader) object(name *string, spec func(*yaml.Node)) {
	r.fields(r.root, r.kind, map[string]func(*yaml.Node){
		"apiVersion": nil, "kind": nil, "status": nil,
		"metadata": func(n *yaml.Node) {
			for _, f := range r.pairs(n, "metadata") {
				if f.name == "name" {
					*name = r.text(f.value, "metadata.name")
				}
			}
		},
		"spec": spec,
	})
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// text reads a text; numbers and the like are taken as they are written, and
// nothing is the empty text.
func (r reader) text(n *yaml.Node, what string) string {
	n = r.resolve(n)
	if n == nil || null(n) {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		r.bad(r.at(n), "", "%s must be a text, not %s", what, kindOf(n))
		return ""
	}
	return n.Value
}

// word is text without blanks around it.
func (r reader) word(n *yaml.Node, what string) string { return strings.TrimSpace(r.text(n, what)) }

// into gives a reader of a field that stores a word.
func (r reader) into(dst *string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) { *dst = r.word(n, what) }
}

// secret gives a reader of a field that stores a secret as it stands.
func (r reader) secret(dst *Secret, what string) func(*yaml.Node) {
	return func(n *yaml.Node) { *dst = Secret(r.text(n, what)) }
}

// port gives a reader of a field that stores a port number.
func (r reader) port(dst *int, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s := r.word(n, what)
		if s == "" || s == "0" {
			return
		}
		p, ok := portOf(s)
		if !ok {
			r.bad(r.at(n), "", "%s is %.20q, which is no port", what, s)
			return
		}
		*dst = p
	}
}

func portOf(s string) (int, bool) {
	p, err := strconv.ParseUint(s, 10, 16)
	return int(p), err == nil && p > 0
}

// boolean gives a reader of a field that stores true or false.
func (r reader) boolean(dst *bool, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		switch s := strings.ToLower(r.word(n, what)); s {
		case "true", "yes", "on":
			*dst = true
		case "false", "no", "off":
			*dst = false
		case "":
		default:
			r.bad(r.at(n), "", "%s must be true or false", what)
		}
	}
}

// items reads a list of texts. A text alone is a list of one.
func (r reader) items(n *yaml.Node, what string) []item {
	n = r.resolve(n)
	if n == nil || null(n) {
		return nil
	}
	nodes := []*yaml.Node{n}
	switch n.Kind {
	case yaml.SequenceNode:
		nodes = n.Content
	case yaml.MappingNode:
		r.bad(r.at(n), "", "%s must be a list, not a mapping", what)
		return nil
	}
	var list []item
	for _, c := range nodes {
		at := r.at(c)
		if c = r.resolve(c); c == nil {
			return list
		}
		if s := r.text(c, "an entry of "+what); strings.TrimSpace(s) != "" {
			list = append(list, item{s, at})
		}
	}
	return list
}

// elements reads a list of mappings.
func (r reader) elements(n *yaml.Node, what string, each func(n *yaml.Node, at manifest.Source)) {
	n = r.resolve(n)
	if n == nil || null(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.bad(r.at(n), "", "%s must be a list, not %s", what, kindOf(n))
		return
	}
	for _, c := range n.Content {
		each(c, r.at(c))
	}
}

// sources gives where the texts of a list stand.
func (r reader) sources(n *yaml.Node) []manifest.Source {
	var list []manifest.Source
	for _, it := range r.items(n, "the list") {
		list = append(list, it.at)
	}
	return list
}

// texts gives a reader of a field that stores a list of texts.
func (r reader) texts(dst *[]string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		// A list that is there and empty says something else than none.
		if m := r.resolve(n); m != nil && !null(m) {
			*dst = []string{}
		}
		for _, it := range r.items(n, what) {
			*dst = append(*dst, it.text)
		}
	}
}

var (
	varName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	dnsName    = regexp.MustCompile(`^(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)
	fileName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	folderPath = regexp.MustCompile(`^(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)
	labelKey   = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
)
