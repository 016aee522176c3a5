package discover

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// pair is one entry of a mapping.
type pair struct {
	key   string
	value *yaml.Node
}

// resolve follows aliases. YAML lets an alias point at an alias only through
// another node, so a few steps are enough for all but loops.
func resolve(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

// pairs gives the entries of a mapping in order, those merged in with "<<"
// last; nil for anything else.
func pairs(n *yaml.Node) []pair {
	return appendPairs(nil, n, 0)
}

// maxMerged bounds what "<<" may bring into one mapping: merges of merges
// would make a small file as large as one likes.
const maxMerged = 1000

func appendPairs(list []pair, n *yaml.Node, depth int) []pair {
	const maxMergeDepth = 8
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode || depth > maxMergeDepth || depth > 0 && len(list) > maxMerged {
		return list
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		if key == nil || key.Kind != yaml.ScalarNode {
			continue
		}
		if key.Value == "<<" && (key.Tag == "!!merge" || key.Tag == "") {
			merged = append(merged, value)
			continue
		}
		list = append(list, pair{key.Value, value})
	}
	for _, m := range merged {
		if m = resolve(m); m != nil && m.Kind == yaml.SequenceNode {
			for _, e := range m.Content[:min(len(m.Content), maxMerged)] {
				list = appendPairs(list, e, depth+1)
			}
			continue
		}
		list = appendPairs(list, m, depth+1)
	}
	return list
}

// get finds the value at a path of keys, or nil.
func get(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		var next *yaml.Node
		for _, p := range pairs(n) {
			if p.key == key {
				next = p.value
				break
			}
		}
		if n = resolve(next); n == nil {
			return nil
		}
	}
	return resolve(n)
}

// text gives the scalar at a path of keys, or "".
func text(n *yaml.Node, path ...string) string {
	s, _ := scalar(get(n, path...))
	return s
}

// scalar gives the text of a scalar that is not null.
func scalar(n *yaml.Node) (string, bool) {
	n = resolve(n)
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", false
	}
	return strings.TrimSpace(n.Value), true
}

// items gives the elements of a sequence.
func items(n *yaml.Node) []*yaml.Node {
	if n = resolve(n); n != nil && n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return nil
}

func isMap(n *yaml.Node) bool {
	n = resolve(n)
	return n != nil && n.Kind == yaml.MappingNode
}
