package rootfs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"bundle/manifest/cluster"
)

// process runs the processors of a Config over its data, left to right. value
// makes those behind it work on each value of the mapping instead of the whole.
func process(c cluster.Config) (data []byte, warnings []string, err error) {
	data = []byte(c.Data)
	each := false
	for _, name := range c.Process {
		switch name {
		case "value":
			each = true
		case "toJson":
			data, err = toJSON(data, each)
		case "toBase64":
			data, err = toBase64(data, each)
		case "toSecret":
			// Done when the file is at hand.
		default:
			warnings = append(warnings, fmt.Sprintf("names the unknown processor %.40q; it is ignored", name))
		}
		if err == nil && len(data) > maxFileBytes {
			err = refuse("it makes more than %d MiB", maxFileBytes>>20)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the processor %s: %w", name, err)
		}
	}
	return data, warnings, nil
}

func toJSON(data []byte, each bool) ([]byte, error) {
	if !each {
		out, err := yaml.YAMLToJSON(data)
		return out, notYAML(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		return nil, notYAML(err)
	}
	for k, v := range m {
		text, err := compact(v)
		if err != nil {
			return nil, err
		}
		m[k] = text
	}
	return yaml.Marshal(m)
}

// compact gives JSON on one line, with <, > and & as they are.
func compact(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func toBase64(data []byte, each bool) ([]byte, error) {
	if !each {
		return []byte(base64.StdEncoding.EncodeToString(data)), nil
	}
	m, err := texts(data)
	if err != nil {
		return nil, err
	}
	for k, v := range m {
		m[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return yaml.Marshal(m)
}

// texts reads a mapping of names to texts.
func texts(data []byte) (map[string]string, error) {
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		return nil, notYAML(err)
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		s, ok := v.(string)
		if !ok {
			return nil, refuse("the value of %.60q is no text; put it in quotes", k)
		}
		out[k] = s
	}
	return out, nil
}

// toSecret puts texts into the data of the Secret that a file holds. A file of
// several documents keeps those that are no Secret; where none is one, all
// count as one.
func toSecret(old, data []byte) ([]byte, error) {
	values, err := texts(data)
	if err != nil {
		return nil, fmt.Errorf("the processor toSecret: %w", err)
	}
	docs := documents(old)
	parsed := make([]map[string]any, len(docs))
	any1 := false
	for i, d := range docs {
		if err := yaml.Unmarshal(d, &parsed[i]); err != nil {
			return nil, fmt.Errorf("the processor toSecret: the file: %w", notYAML(err))
		}
		any1 = any1 || parsed[i]["kind"] == "Secret"
	}
	for i, m := range parsed {
		if any1 && m["kind"] != "Secret" {
			continue
		}
		if m == nil {
			m = map[string]any{}
		}
		inner, ok := m["data"].(map[string]any)
		if !ok {
			inner = map[string]any{}
		}
		for k, v := range values {
			inner[k] = base64.StdEncoding.EncodeToString([]byte(v))
		}
		m["data"] = inner
		if docs[i], err = yaml.Marshal(m); err != nil {
			return nil, err
		}
	}
	return bytes.Join(docs, []byte("---\n")), nil
}

// documents cuts a file at its document marks. There is always one.
func documents(data []byte) [][]byte {
	var docs [][]byte
	var doc []byte
	for line := range bytes.Lines(data) {
		if string(bytes.TrimRight(line, " \t\r\n")) == "---" {
			if len(bytes.TrimSpace(doc)) > 0 {
				docs = append(docs, doc)
			}
			doc = nil
			continue
		}
		doc = append(doc, line...)
	}
	if len(bytes.TrimSpace(doc)) > 0 || len(docs) == 0 {
		docs = append(docs, doc)
	}
	return docs
}

// notYAML drops the words that YAML libraries put before the reason.
func notYAML(err error) error {
	if err == nil {
		return nil
	}
	s := strings.Join(strings.Fields(err.Error()), " ")
	for _, p := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "yaml: "} {
		s = strings.TrimPrefix(s, p)
	}
	return refuse("not YAML as it is needed: %s", s)
}
