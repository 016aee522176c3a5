package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// Limits of one file.
const (
	maxFileBytes = 16 << 20
	maxDocuments = 1000
)

// document is one YAML document of a file.
type document struct {
	// file is the name as the user knows it, lines its text by line, and
	// first the number of the first of them.
	file  string
	lines []string
	first int
	// filled tells that a value was put in.
	filled bool
	// root is the content, with the line numbers of the whole file.
	root       *yaml.Node
	kind       string
	apiVersion string
}

func (d *document) at(n *yaml.Node) manifest.Source { return manifest.FileLine(d.file, n.Line) }

// line gives a line of the file, by its number.
func (d *document) line(n int) string {
	if n < d.first || n >= d.first+len(d.lines) {
		return ""
	}
	return d.lines[n-d.first]
}

// readText reads a file and tidies what editors on other systems leave in it.
func (r *report) readText(name string, in io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return r.tidy(name, data), nil
}

// tidy gives the text with LF alone and without byte order mark, and nothing
// where it is no text.
func (r *report) tidy(name string, data []byte) string {
	if len(data) > maxFileBytes {
		r.bad(manifest.FileLine(name, 1), "", "the file is larger than %d MiB", maxFileBytes>>20)
		return ""
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		n := 1
		for line := range bytes.Lines(data) {
			if !utf8.Valid(line) {
				break
			}
			n++
		}
		r.bad(manifest.FileLine(name, n), "save the file as UTF-8", "the line is not UTF-8 text")
		return ""
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// documents cuts a text into its YAML documents. Each is parsed on its own, so
// that an error in one does not hide those of the others. Empty ones are left
// out.
func (r *report) documents(name, text string) []*document {
	var list []*document
	lines := strings.Split(text, "\n")
	start := 0
	for i := 0; i <= len(lines); i++ {
		if i < len(lines) && !documentMark(lines[i]) {
			continue
		}
		end := ""
		if i < len(lines) {
			end = "\n"
		}
		if d := r.document(name, lines[start:i], start+1, end); d != nil {
			if len(list) == maxDocuments {
				r.bad(manifest.FileLine(name, d.first), "", "the file holds more than %d documents", maxDocuments)
				return list
			}
			list = append(list, d)
		}
		start = i
	}
	return list
}

// documentMark tells whether a line begins a document or ends one.
func documentMark(line string) bool {
	rest, ok := strings.CutPrefix(line, "---")
	if !ok {
		rest, ok = strings.CutPrefix(line, "...")
	}
	return ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// document parses one document; end is what stands behind its last line.
func (r *report) document(name string, lines []string, first int, end string) *document {
	// Directives belong to the document behind the next mark; ours need none.
	lines = slices.Clone(lines)
	for i, line := range lines {
		if strings.HasPrefix(line, "%") || i == 0 && strings.HasPrefix(line, "...") {
			lines[i] = ""
		} else if line != "" && line[0] != '#' {
			break
		}
	}
	d := &document{file: name, lines: lines, first: first}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(strings.Join(lines, "\n")+end), &n); err != nil {
		line, reason := yamlError(err)
		fix := ""
		if strings.Contains(reason, "cannot start any token") {
			fix = "put the value in quotes, and indent with blanks, not tabs"
		}
		r.bad(manifest.FileLine(name, first+min(max(line-1, 0), len(lines)-1)), fix, "the document is not YAML: %s", reason)
		return nil
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
		return nil
	}
	d.root = n.Content[0]
	if d.root.Kind == yaml.ScalarNode && d.root.ShortTag() == "!!null" {
		return nil
	}
	shift(d.root, first-1)
	if d.root.Kind != yaml.MappingNode {
		r.bad(d.at(d.root), "", "the document must be a mapping with a kind, not %s", kindOf(d.root))
		return nil
	}
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		switch v := d.root.Content[i+1]; d.root.Content[i].Value {
		case "kind":
			d.kind = v.Value
		case "apiVersion":
			d.apiVersion = v.Value
		}
	}
	return d
}

func shift(n *yaml.Node, by int) {
	n.Line += by
	for _, c := range n.Content {
		shift(c, by)
	}
}

var (
	yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)
	// The parser counts from 0 where the scanner counts from 1.
	fromZero = regexp.MustCompile(`^did not find expected (?:[<'-]|key|node content)`)
)

// yamlError gives the line of a YAML error within its text, 0 where unknown,
// and the reason.
func yamlError(err error) (line int, reason string) {
	var te *yaml.TypeError
	text := err.Error()
	if errors.As(err, &te) && len(te.Errors) > 0 {
		text = te.Errors[0]
	}
	m := yamlLine.FindStringSubmatch(text)
	reason = strings.Join(strings.Fields(text[len(m[0]):]), " ")
	line, _ = strconv.Atoi(m[1])
	if fromZero.MatchString(reason) {
		line++
	}
	return line, reason
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return "a text"
}
