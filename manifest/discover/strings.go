package discover

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// str looks at a string value: an image, an argument that holds one, a
// document, or text.
func (w *walker) str(s string, h hint, n *yaml.Node, p place) {
	if s == "" || h == inField && w.candidate(s, inField, n, p) {
		return
	}
	if !strings.ContainsAny(s, " \t\r\n") && !strings.HasPrefix(s, "{") && !strings.HasPrefix(s, "[") {
		w.token(s, h, n, p)
		return
	}
	if structured(s) && w.embedded(s, n, p) {
		return
	}
	w.text(s, n, p)
}

// token looks at a string without blanks: "ref", "--flag=ref", "A=ref,B=ref".
func (w *walker) token(s string, h hint, n *yaml.Node, p place) {
	if len(s) > 16*maxReference {
		return
	}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.Trim(part, "\"'`;()[]{}<>")
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
			w.candidate(part, max(h, inValue), n, p)
		case strings.ContainsAny(name, "/:?"):
			// A query of a URL or the like.
		case imageKey(name):
			w.candidate(strings.Trim(value, "\"'"), inField, n, p)
		default:
			w.candidate(strings.Trim(value, "\"'"), max(h, inValue), n, p)
		}
	}
}

// text looks at every word of prose, a script or a template.
func (w *walker) text(s string, n *yaml.Node, p place) {
	before := ""
	for word := range strings.FieldsSeq(s) {
		if !w.spend(1, p) {
			return
		}
		if !strings.ContainsAny(word, ":@=/") && !imageKey(before) {
			before = word
			continue
		}
		flag := strings.HasPrefix(before, "-") || strings.HasSuffix(before, ":")
		if flag && imageKey(strings.TrimRight(before, ":\"'")) {
			w.candidate(strings.Trim(word, "\"'`,;"), inField, n, p)
		} else {
			w.token(strings.TrimRight(word, ".!?"), inText, n, p)
		}
		before = word
	}
}

// structured tells whether it is worth trying to read s as a document.
func structured(s string) bool {
	return strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") || strings.Contains(s, "\n") && strings.Contains(s, ":")
}

// embedded walks the YAML or JSON documents in a string; false if there are
// none.
func (w *walker) embedded(s string, n *yaml.Node, p place) bool {
	if p.embedded >= maxEmbedded || !w.take(len(s)) {
		return false
	}
	list, err := chunks([]byte(s))
	if err != nil {
		return false
	}
	if p.line == 0 && n != nil {
		p.line = n.Line + w.base
	}
	p.embedded++
	p.depth++
	for i, c := range list {
		docs, err := parse(c)
		if err != nil || !anyTree(docs) {
			if len(list) == 1 && i == 0 {
				return false
			}
			w.text(string(c.text), n, p)
			continue
		}
		for _, d := range docs {
			w.document(d, p)
		}
	}
	return true
}

// anyTree tells whether one of the documents is more than a scalar.
func anyTree(docs []*yaml.Node) bool {
	for _, d := range docs {
		for _, n := range d.Content {
			if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
				return true
			}
		}
	}
	return false
}

// take takes bytes off what may be decoded from strings in one walk.
func (w *walker) take(n int) bool {
	if w.err != nil {
		return false
	}
	if w.decoded += n; w.decoded > maxDecoded {
		w.err = fmt.Errorf("%s is %w: it holds more than %d MiB of documents inside strings", w.origin.Name, ErrLimit, maxDecoded>>20)
	}
	return w.err == nil
}

// base64 walks a base64 string; false if it is none.
func (w *walker) base64(s, key string, h hint, n *yaml.Node, p place) bool {
	const shortest = 8
	if p.base64 >= maxBase64 {
		return false
	}
	s = strings.Join(strings.Fields(s), "")
	if len(s) < shortest || !w.take(len(s)) {
		return false
	}
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		if data, err = base64.RawStdEncoding.DecodeString(s); err != nil {
			return false
		}
	}
	if !readable(data) {
		return false
	}
	if p.line == 0 && n != nil {
		p.line = n.Line + w.base
	}
	p.base64++
	p.depth++
	inner := strings.TrimSpace(string(data))
	if strings.EqualFold(key, "values") && w.base64(inner, key, h, n, p) {
		return true
	}
	w.str(inner, h, n, p)
	return true
}

// readable tells text from the binary that decodes by accident.
func readable(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	for _, r := range string(data) {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return true
}
