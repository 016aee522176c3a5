package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Bounds of manifests.
const (
	maxObjects = 50_000
	maxNesting = 4 // of lists in lists
)

// doc is one object of a manifest and where it came from.
type doc struct {
	*unstructured.Unstructured
	// from is "manifests/crd.yaml", or with the number of the document
	// "manifests/all.yaml (document 3)".
	from string
}

// load reads all objects of the files of a step, in order.
func (c *Cluster) load(ctx context.Context, dir string, names []string, recursive bool) ([]doc, error) {
	places, err := c.expand(dir, names, recursive)
	if err != nil {
		return nil, err
	}
	var docs []doc
	total := 0
	for _, p := range places {
		data, err := c.read(ctx, p)
		if err != nil {
			return nil, err
		}
		if total += len(data); total > maxTotal {
			return nil, fail(ErrInput, p.name, "the manifests up to %s are larger than %d MiB", p.name, maxTotal>>20)
		}
		found, err := decode(p.name, data)
		if err != nil {
			return nil, err
		}
		if docs = append(docs, found...); len(docs) > maxObjects {
			return nil, fail(ErrInput, p.name, "the manifests up to %s hold more than %d objects", p.name, maxObjects)
		}
	}
	if len(docs) == 0 {
		return nil, fail(ErrInput, strings.Join(names, ", "), "%s describes no object", strings.Join(names, ", "))
	}
	return docs, nil
}

// decode reads the objects of one file: YAML documents, JSON values one after
// the other, or a mix, and lists of objects.
func decode(name string, data []byte) ([]doc, error) {
	var docs []doc
	for i, text := range split(data) {
		found, err := values(text)
		if err == nil {
			for _, v := range found {
				from := name
				if i > 0 {
					from = fmt.Sprintf("%s (document %d)", name, i+1)
				}
				if docs, err = objects(docs, v, from, "", 0); err != nil {
					break
				}
			}
		}
		if err != nil {
			return nil, fail(ErrInput, name, "%s, document %d: %s", name, i+1, err)
		}
	}
	return docs, nil
}

// split cuts a file at its document markers, as a YAML parser would. Unlike
// kubectl it knows a marker with a comment behind it, which kubectl takes for
// no marker and so drops what follows. Pieces without content are left out.
func split(data []byte) [][]byte {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs [][]byte
	var cur []byte
	flush := func() {
		if !empty(cur) {
			docs = append(docs, cur)
		}
		cur = nil
	}
	for line := range bytes.Lines(data) {
		if rest, ok := marker(line, "---"); ok {
			flush()
			cur = append(cur, rest...)
			continue
		}
		if _, ok := marker(line, "..."); ok {
			flush()
			continue
		}
		cur = append(cur, line...)
	}
	flush()
	return docs
}

// marker tells whether a line begins with a document marker, and gives what
// stands behind it.
func marker(line []byte, mark string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(mark))
	if !ok || len(rest) > 0 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])) {
		return nil, false
	}
	return bytes.TrimLeft(rest, " \t"), true
}

// empty tells whether a document holds nothing but blank lines, comments and
// directives.
func empty(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// values reads a document as JSON.
func values(text []byte) ([]any, error) {
	if t := bytes.TrimSpace(text); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		if v, err := jsonValues(t); err == nil {
			return v, nil
		}
	}
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(strings.TrimPrefix(oneLine(err.Error()), "error converting YAML to JSON: "), "yaml: "))
	}
	var v any
	if err := utiljson.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return []any{v}, nil
}

// jsonValues reads JSON values that follow one another.
func jsonValues(text []byte) ([]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var out []any
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		var v any
		if err := utiljson.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

// objects adds the object v, or those of the list v. kind is what the items
// of a typed list are.
func objects(docs []doc, v any, from, kind string, depth int) ([]doc, error) {
	if v == nil {
		return docs, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is no object but a bare value")
	}
	u := &unstructured.Unstructured{Object: m}
	if u.GetKind() == "" && kind != "" {
		group, item, _ := strings.Cut(kind, " ")
		u.SetAPIVersion(group)
		u.SetKind(item)
	}
	if _, isList := m["items"].([]any); isList && strings.HasSuffix(u.GetKind(), "List") {
		if depth >= maxNesting {
			return nil, errors.New("lists lie too deep in one another")
		}
		item := ""
		if k := strings.TrimSuffix(u.GetKind(), "List"); k != "" {
			item = u.GetAPIVersion() + " " + k
		}
		var err error
		for _, i := range m["items"].([]any) {
			if docs, err = objects(docs, i, from, item, depth+1); err != nil {
				return nil, err
			}
		}
		return docs, nil
	}
	if err := identified(m, u); err != nil {
		return nil, err
	}
	if len(docs) >= maxObjects {
		return nil, fmt.Errorf("it holds more than %d objects", maxObjects)
	}
	return append(docs, doc{Unstructured: u, from: from}), nil
}

// identified tells what an object lacks to be one. It also makes sure that
// reading its metadata later cannot go wrong.
func identified(m map[string]any, u *unstructured.Unstructured) error {
	for _, field := range []string{"apiVersion", "kind"} {
		if s, ok := m[field].(string); !ok || s == "" {
			return fmt.Errorf("it has no %s", field)
		}
	}
	md, ok := m["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("the %s has no metadata", u.GetKind())
	}
	for _, field := range []string{"name", "namespace", "generateName"} {
		if v, there := md[field]; there && v != nil {
			if _, ok := v.(string); !ok {
				return fmt.Errorf("the %s of the %s is no text", field, u.GetKind())
			}
		}
	}
	if u.GetName() == "" && u.GetGenerateName() == "" {
		return fmt.Errorf("the %s has no name", u.GetKind())
	}
	return nil
}
