package chart

import (
	"bytes"
	"encoding/json"
	"strings"
)

// selfContained tells whether a JSON schema can be used without reading
// anything else: the SDK would fetch what it points at, from the network or
// from this machine's disk.
func selfContained(schema []byte) bool {
	if len(schema) == 0 {
		return true
	}
	var doc any
	if err := json.NewDecoder(bytes.NewReader(schema)).Decode(&doc); err != nil {
		// The SDK says what is wrong with it.
		return true
	}
	return refersToItself(doc)
}

func refersToItself(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			s, isString := child.(string)
			switch {
			case isString && (key == "$ref" || key == "$dynamicRef" || key == "$recursiveRef"):
				if !strings.HasPrefix(s, "#") {
					return false
				}
			case isString && key == "$schema":
				if !builtInSchema(s) {
					return false
				}
			default:
				if !refersToItself(child) {
					return false
				}
			}
		}
	case []any:
		for _, child := range v {
			if !refersToItself(child) {
				return false
			}
		}
	}
	return true
}

// builtInSchema tells whether the validator carries the meta schema with it.
func builtInSchema(url string) bool {
	_, rest, ok := strings.Cut(strings.TrimSuffix(url, "#"), "://")
	if !ok {
		return false
	}
	switch rest {
	case "json-schema.org/draft-04/schema", "json-schema.org/draft-06/schema", "json-schema.org/draft-07/schema",
		"json-schema.org/draft/2019-09/schema", "json-schema.org/draft/2020-12/schema", "json-schema.org/schema":
		return true
	}
	return false
}
