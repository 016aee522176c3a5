package imagelist

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// ParseWithAuth reads sealer's imageListWithAuth.yaml: a list of sections
// {registry, username, password, images}. registry is the registry of every
// image in the section that names none.
//
// Only the names are taken. A bundle must not carry passwords and a build
// reads them from --registry-config, so each section that has credentials
// gives a warning; the credentials themselves are never returned or quoted.
//
// Errors are as for [Parse]. Anchors and aliases are refused.
func ParseWithAuth(name string, r io.Reader) ([]Entry, []Warning, error) {
	data, err := readAll(name, r)
	if err != nil {
		return nil, nil, err
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, nil, nil
	} else if err != nil {
		// The text of a YAML error may quote the file, and the file holds
		// passwords: only the place is passed on.
		return nil, nil, &Problem{Source: manifest.Source(name), Reason: "this is not valid YAML" + yamlLine(err)}
	}
	a := authParser{name: name, c: collector{index: map[manifest.Reference]int{}}}
	if err := dec.Decode(&yaml.Node{}); err != io.EOF {
		a.c.problem(manifest.Source(name), "the file has more than one YAML document", "put all sections into one list")
	}
	a.document(&doc)
	return a.c.entries, a.warnings, a.c.err()
}

type authParser struct {
	name     string
	c        collector
	warnings []Warning
}

func (a *authParser) at(n *yaml.Node) manifest.Source { return manifest.FileLine(a.name, n.Line) }

func (a *authParser) document(doc *yaml.Node) {
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return
	}
	if root.Kind != yaml.SequenceNode {
		a.c.problem(a.at(root), "expected a list of sections", "write \"- registry: …\" with images: below it")
		return
	}
	for _, section := range root.Content {
		a.section(section)
	}
}

func (a *authParser) section(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		a.c.problem(a.at(n), "a section is a mapping with registry and images", "")
		return
	}
	var registry string
	var images *yaml.Node
	credentials := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "registry":
			registry = strings.TrimSuffix(value.Value, "/")
		case "username", "password":
			credentials = credentials || value.Value != ""
		case "images":
			images = value
		default:
			a.c.problem(a.at(key), fmt.Sprintf("unknown field %q", key.Value), "a section has registry, username, password and images")
		}
	}
	if registry == "" {
		a.c.problem(a.at(n), "the section names no registry", "")
		return
	}
	if images == nil || images.Kind != yaml.SequenceNode {
		a.c.problem(a.at(n), fmt.Sprintf("the section of %s has no list of images", registry), "")
		return
	}
	if credentials {
		a.warnings = append(a.warnings, Warning{
			Source: a.at(n),
			Text:   fmt.Sprintf("the credentials for %s are not used: give them in --registry-config", registry),
		})
	}
	for _, image := range images.Content {
		a.image(registry, image)
	}
}

func (a *authParser) image(registry string, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		a.c.problem(a.at(n), "an image is a plain name", "")
		return
	}
	raw := strings.TrimSpace(n.Value)
	if raw == "" {
		a.c.problem(a.at(n), "an image has no name", "")
		return
	}
	full := raw
	if !namesRegistry(raw) {
		full = registry + "/" + raw
	}
	ref, p := parseLine(full)
	if p != nil {
		a.c.problem(a.at(n), p.Reason, p.Hint)
		return
	}
	a.c.add(ref, raw, a.at(n))
}

// namesRegistry tells whether the first component of a name is a registry,
// by the rule every container tool uses.
func namesRegistry(name string) bool {
	first, _, ok := strings.Cut(name, "/")
	return ok && (first == "localhost" || strings.ContainsAny(first, ".:"))
}

// yamlLine gives " (line N)" out of a YAML error, or "".
func yamlLine(err error) string {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	if !ok {
		return ""
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if digits == "" {
		return ""
	}
	return " (line " + digits + ")"
}
