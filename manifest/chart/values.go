package chart

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"sigs.k8s.io/yaml"
)

const maxValuesBytes = 16 << 20

// ValuesFile reads a file of values as `helm --values` does: a YAML mapping,
// or several documents that are merged in order. Errors wrap [ErrValues] or
// the error of the file system.
func ValuesFile(name string) (map[string]any, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("values file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxValuesBytes+1))
	if err != nil {
		return nil, fmt.Errorf("values file: %w", err)
	}
	return ParseValues(name, data)
}

// ParseValues is [ValuesFile] for bytes at hand; name is for errors.
func ParseValues(name string, data []byte) (map[string]any, error) {
	if len(data) > maxValuesBytes {
		return nil, fmt.Errorf("values file %s: %w: it is larger than %d MiB", name, ErrValues, maxValuesBytes>>20)
	}
	v, err := loader.LoadValues(bytes.NewReader(bytes.TrimPrefix(data, bom)))
	if err != nil {
		s := strings.TrimPrefix(oneLine(err.Error()), "cannot unmarshal yaml document: ")
		s = strings.TrimPrefix(strings.TrimPrefix(s, "error converting YAML to JSON: "), "yaml: ")
		return nil, fmt.Errorf("values file %s: %w: %s", name, ErrValues, s)
	}
	return v, nil
}

// Strategies of [ApplyConfig], as sealer's Config documents name them.
const (
	Overwrite = "overwrite"
	Merge     = "merge"
)

// Applied is what became of a file that a Config document changed.
type Applied struct {
	// Data is the file's new content.
	Data []byte
	// Dropped are the top-level keys that the file had and has no more,
	// sorted. A chart that expects them may fail or leave things out.
	Dropped []string
}

// ApplyConfig does to a values file what sealer does with a Config document.
// [Overwrite], also meant by "", replaces the whole file by data: every key
// that data does not repeat is dropped, which Applied tells. [Merge] puts the
// mapping data over each document of the file: mappings are merged, lists and
// all else are replaced, also by false, 0 and null; as in sealer a mapping
// does not replace a value that is not one. The comments of a merged file are
// lost. old may be nil where there was no such file; then data becomes it.
// Errors wrap [ErrValues].
func ApplyConfig(old []byte, strategy string, data []byte) (Applied, error) {
	switch strategy {
	case Overwrite, "":
		return Applied{Data: bytes.Clone(data), Dropped: dropped(old, data)}, nil
	case Merge:
	default:
		return Applied{}, fmt.Errorf("the data of the Config: %w: the strategy %q is neither overwrite nor merge", ErrValues, strategy)
	}
	if old == nil {
		return Applied{Data: bytes.Clone(data)}, nil
	}
	var over map[string]any
	if err := yaml.Unmarshal(data, &over); err != nil {
		return Applied{}, fmt.Errorf("the data of the Config: %w: %s", ErrValues, yamlReason(err))
	}
	var out bytes.Buffer
	for i, doc := range splitDocuments(old) {
		base := map[string]any{}
		if err := yaml.Unmarshal(doc, &base); err != nil {
			return Applied{}, fmt.Errorf("document %d of the file to merge into: %w: %s", i+1, ErrValues, yamlReason(err))
		}
		if base == nil {
			base = map[string]any{}
		}
		merge(base, over)
		text, err := yaml.Marshal(base)
		if err != nil {
			return Applied{}, fmt.Errorf("the data of the Config: %w: %v", ErrValues, err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return Applied{Data: out.Bytes()}, nil
}

// splitDocuments cuts at the lines sealer cuts at, leaving out empty pieces.
func splitDocuments(data []byte) [][]byte {
	var docs [][]byte
	var doc []byte
	for line := range bytes.Lines(data) {
		if string(bytes.TrimRight(line, " \t\r\n")) == "---" {
			docs, doc = append(docs, doc), nil
			continue
		}
		doc = append(doc, line...)
	}
	docs = append(docs, doc)
	docs = slices.DeleteFunc(docs, func(d []byte) bool { return blank(string(d)) })
	if len(docs) == 0 {
		docs = [][]byte{nil}
	}
	return docs
}

// merge puts src over dst the way mergo, which sealer uses, does with
// WithOverride.
func merge(dst, src map[string]any) {
	for key, value := range src {
		sub, isMap := value.(map[string]any)
		if !isMap {
			dst[key] = value
			continue
		}
		switch old := dst[key].(type) {
		case map[string]any:
			merge(old, sub)
		case nil:
			dst[key] = sub
		}
	}
}

// dropped lists the top-level keys of old that data lacks. Files that are no
// mappings have no keys to speak of.
func dropped(old, data []byte) []string {
	var before, after map[string]any
	if yaml.Unmarshal(old, &before) != nil || yaml.Unmarshal(data, &after) != nil {
		return nil
	}
	var keys []string
	for k := range before {
		if _, ok := after[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
