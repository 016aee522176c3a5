package kubeadm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Kinds of documents that kubeadm reads, in the order they are written.
const (
	kindInit    = "InitConfiguration"
	kindCluster = "ClusterConfiguration"
	kindKubelet = "KubeletConfiguration"
	kindProxy   = "KubeProxyConfiguration"
	kindJoin    = "JoinConfiguration"
)

var kinds = []string{kindInit, kindCluster, kindKubelet, kindProxy, kindJoin}

// maxText bounds one file of the image, and what a template may grow to.
const maxText = 1 << 20

// doc is one YAML document. Numbers are [json.Number], as they were written.
type doc map[string]any

func (d doc) text(key string) string {
	s, _ := d[key].(string)
	return s
}

// at gives the map at a path, making it where it is not one.
func (d doc) at(path ...string) doc {
	for _, key := range path {
		next, ok := d[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			d[key] = next
		}
		d = next
	}
	return d
}

// look gives the value at a path, nil where there is none.
func (d doc) look(path ...string) any {
	var v any = map[string]any(d)
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func (d doc) lookText(path ...string) string {
	s, _ := d.look(path...).(string)
	return s
}

// fill sets a value that is not there yet.
func (d doc) fill(key string, value any) {
	if old, ok := d[key]; !ok || old == nil || old == "" {
		d[key] = value
	}
}

// set is the documents of one file, by kind.
type set map[string]doc

// get gives the document of a kind, making an empty one.
func (s set) get(kind string) doc {
	if s[kind] == nil {
		s[kind] = doc{"kind": kind}
	}
	return s[kind]
}

// parseDocuments reads a file of several documents. Kinds that kubeadm does
// not read are given to other. A kind that comes twice is an error, as it is
// for kubeadm.
func parseDocuments(name string, data []byte, other func(kind string)) (set, error) {
	if len(data) > maxText {
		return nil, fmt.Errorf("%s %w: it has %d bytes, at most %d are read", name, ErrInput, len(data), maxText)
	}
	s := set{}
	for _, part := range splitDocuments(data) {
		d, err := parseDocument(name, part)
		if err != nil {
			return nil, err
		}
		kind := d.text("kind")
		switch {
		case len(d) == 0:
		case !slices.Contains(kinds, kind):
			other(kind)
		case s[kind] != nil:
			return nil, fmt.Errorf("%s %w: it has two documents of the kind %s", name, ErrInput, kind)
		default:
			s[kind] = d
		}
	}
	return s, nil
}

// splitDocuments cuts at lines that begin with "---", as Kubernetes does.
func splitDocuments(data []byte) [][]byte {
	var parts [][]byte
	var part []byte
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("---")) {
			parts = append(parts, part)
			part = nil
			continue
		}
		part = append(part, line...)
	}
	return append(parts, part)
}

// parseDocument reads YAML the way kubeadm does: through JSON, with the rules
// of YAML 1.1.
func parseDocument(name string, data []byte) (doc, error) {
	if len(data) > maxText {
		return nil, fmt.Errorf("%s %w: a document has %d bytes, at most %d are read", name, ErrInput, len(data), maxText)
	}
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("%s %w: %s", name, ErrInput, reason(err))
	}
	if len(raw) > 4*maxText {
		return nil, fmt.Errorf("%s %w: it unfolds to %d bytes", name, ErrInput, len(raw))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%s %w: %s", name, ErrInput, reason(err))
	}
	switch v := v.(type) {
	case nil:
		return doc{}, nil
	case map[string]any:
		return v, nil
	}
	return nil, fmt.Errorf("%s %w: a document is no map", name, ErrInput)
}

// merge lays over onto base and gives the result, which shares nothing with
// either that it changes. Maps are merged; a list of {name, value} replaces
// what has the same names; any other value replaces. null leaves base alone.
func merge(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range over {
		if v == nil {
			continue
		}
		if b, ok := out[key].(map[string]any); ok {
			if o, ok := v.(map[string]any); ok {
				out[key] = merge(b, o)
				continue
			}
		}
		if b, ok := out[key].([]any); ok {
			if o, ok := v.([]any); ok && isArgs(key) {
				out[key] = mergeArgs(b, o)
				continue
			}
		}
		out[key] = v
	}
	return out
}

// isArgs tells whether a field holds arguments of a component: a map up to
// v1beta3, a list of {name, value} from v1beta4 on.
func isArgs(key string) bool { return key == "extraArgs" || key == "kubeletExtraArgs" }

func argName(v any) string {
	m, _ := v.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

func mergeArgs(base, over []any) []any {
	named := map[string]bool{}
	for _, v := range over {
		named[argName(v)] = true
	}
	var out []any
	for _, v := range base {
		if !named[argName(v)] {
			out = append(out, v)
		}
	}
	return append(out, over...)
}

// walkArgs calls fn for every field of arguments at and below v.
func walkArgs(v any, fn func(m map[string]any, key string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if isArgs(key) {
				fn(v, key)
				continue
			}
			walkArgs(v[key], fn)
		}
	case []any:
		for _, e := range v {
			walkArgs(e, fn)
		}
	}
}

// clone copies a document deeply.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			m[key] = clone(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = clone(e)
		}
		return l
	}
	return v
}

// encode writes documents as kubeadm reads them, in the order of kinds.
func (s set) encode(only ...string) ([]byte, error) {
	var buf bytes.Buffer
	for _, kind := range kinds {
		d := s[kind]
		if d == nil || !slices.Contains(only, kind) {
			continue
		}
		raw, err := json.Marshal(map[string]any(d))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		if buf.Len() > 0 {
			buf.WriteString("---\n")
		}
		buf.Write(text)
	}
	return buf.Bytes(), nil
}

// list gives the texts of a list, or of a text with commas.
func list(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		for s := range strings.SplitSeq(v, ",") {
			out = append(out, strings.TrimSpace(s))
		}
	case []any:
		for _, e := range v {
			switch e := e.(type) {
			case string:
				out = append(out, strings.TrimSpace(e))
			case json.Number:
				out = append(out, e.String())
			}
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}
