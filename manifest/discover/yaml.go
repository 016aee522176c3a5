package discover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one call.
const (
	maxBytes     = 64 << 20
	maxDocBytes  = 16 << 20
	maxDocuments = 20_000
)

var bom = []byte("\xef\xbb\xbf")

// chunk is one document of a stream as text; line is that of its first line.
type chunk struct {
	text []byte
	line int
}

// chunks cuts a stream at "---" lines, so that a mistake in one document can
// be told with its line and does not hide the others. YAML reserves "---" at
// the start of a line, even inside block scalars.
func chunks(data []byte) ([]chunk, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("it is larger than %d MiB and %w", maxBytes>>20, ErrLimit)
	}
	data = bytes.TrimPrefix(data, bom)
	var list []chunk
	start, startLine, line, offset := 0, 1, 0, 0
	flush := func(end int) {
		if text := data[start:end]; !empty(text) {
			list = append(list, chunk{text: text, line: startLine})
		}
	}
	for l := range bytes.Lines(data) {
		line++
		// Directives belong to the document after the marker.
		if marker(l) && !directives(data[start:offset]) {
			flush(offset)
			start, startLine = offset, line
		}
		offset += len(l)
	}
	flush(len(data))
	for _, c := range list {
		if len(c.text) > maxDocBytes {
			return nil, fmt.Errorf("the document at line %d is larger than %d MiB and %w", c.line, maxDocBytes>>20, ErrLimit)
		}
	}
	if len(list) > maxDocuments {
		return nil, fmt.Errorf("it holds more than %d documents and is %w", maxDocuments, ErrLimit)
	}
	return list, nil
}

func marker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n"))
}

// empty tells whether text holds nothing but markers and comments.
func empty(text []byte) bool {
	for l := range bytes.Lines(text) {
		l = bytes.TrimSpace(l)
		if len(l) > 0 && l[0] != '#' && string(l) != "---" && string(l) != "..." {
			return false
		}
	}
	return true
}

// directives tells whether text ends the head of a document: "%YAML 1.2".
func directives(text []byte) bool {
	found := false
	for l := range bytes.Lines(text) {
		l = bytes.TrimSpace(l)
		switch {
		case len(l) == 0 || l[0] == '#':
		case l[0] == '%':
			found = true
		default:
			return false
		}
	}
	return found
}

// parse gives the documents of one chunk. Lines of errors count from the
// start of the stream.
func parse(c chunk) ([]*yaml.Node, error) {
	docs, err := decode(c.text)
	if err != nil {
		// YAML forbids the tabs that JSON may be indented with; inside JSON
		// strings there are none.
		if t := bytes.TrimSpace(c.text); len(t) > 0 && (t[0] == '{' || t[0] == '[') && bytes.ContainsRune(t, '\t') {
			docs, err = decode(bytes.ReplaceAll(c.text, []byte("\t"), []byte(" ")))
		}
	}
	if err != nil {
		return nil, syntax(err, c.line)
	}
	return docs, nil
}

func decode(text []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var docs []*yaml.Node
	for {
		var n yaml.Node
		switch err := dec.Decode(&n); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		}
		docs = append(docs, &n)
	}
}

// syntax turns an error of the YAML library, whose lines count from the
// start of the chunk, into ours.
func syntax(err error, first int) error {
	reason := strings.TrimPrefix(err.Error(), "yaml: ")
	var at int
	if n, _ := fmt.Sscanf(reason, "line %d:", &at); n == 1 {
		_, reason, _ = strings.Cut(reason, ": ")
		return &syntaxError{line: first + at - 1, reason: reason}
	}
	return &syntaxError{line: first, reason: reason}
}

type syntaxError struct {
	line   int
	reason string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.reason) }
func (e *syntaxError) Unwrap() error { return ErrSyntax }
