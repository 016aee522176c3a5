// Package override reads the Config documents of a Clusterfile: the files of
// a bundle that a profile replaces or merges into at install.
//
// It says what a profile asks for; applying it to a file is the caller's.
package override

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// Limits of one Clusterfile.
const (
	maxFileBytes = 16 << 20
	maxDocuments = 10_000
)

// ErrSyntax is wrapped by every error about the content of a Clusterfile.
var ErrSyntax = errors.New("not a usable Clusterfile")

// Strategies of a [Config].
const (
	Overwrite = "overwrite"
	Merge     = "merge"
)

// Config is one document of kind Config.
type Config struct {
	Name string
	// Path of the file in the root file system, clean and relative.
	Path string
	// Data is the content as the document gives it.
	Data string
	// Strategy is [Overwrite], the default, or [Merge].
	Strategy string
	// Process names what is done to Data before, "value|toJson" for instance.
	Process string
	Source  manifest.Source
}

type document struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct{ Path, Data, Strategy, Process string }
}

// Parse gives the Config documents of a multi-document Clusterfile in order.
// Documents of other kinds, empty ones and those without a kind are passed
// over. Errors wrap [ErrSyntax] and begin with file and line.
func Parse(name string, r io.Reader) ([]Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s is %w: it is larger than %d MiB", name, ErrSyntax, maxFileBytes>>20)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var list []Config
	for range maxDocuments {
		var node yaml.Node
		switch err := dec.Decode(&node); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("%s is %w: %s", name, ErrSyntax, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if kindOf(&node) != "Config" {
			continue
		}
		c, err := config(name, &node)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return nil, fmt.Errorf("%s is %w: it holds more than %d documents", name, ErrSyntax, maxDocuments)
}

// kindOf reads the kind without decoding the rest, whose shape is unknown.
func kindOf(doc *yaml.Node) string {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return ""
	}
	m := doc.Content[0].Content
	for i := 0; i+1 < len(m); i += 2 {
		if m[i].Value == "kind" {
			return m[i+1].Value
		}
	}
	return ""
}

func config(name string, node *yaml.Node) (Config, error) {
	at := manifest.FileLine(name, node.Content[0].Line)
	var d document
	if err := node.Decode(&d); err != nil {
		return Config{}, fmt.Errorf("%s: Config is %w: %s", at, ErrSyntax, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	c := Config{
		Name: d.Metadata.Name, Data: d.Spec.Data, Process: d.Spec.Process, Source: at,
		Path: strings.TrimPrefix(path.Clean("/"+d.Spec.Path), "/"), Strategy: d.Spec.Strategy,
	}
	if c.Strategy == "" {
		c.Strategy = Overwrite
	}
	switch {
	case c.Path == "":
		return Config{}, fmt.Errorf("%s: Config %q is %w: spec.path is empty", at, c.Name, ErrSyntax)
	case c.Data == "":
		return Config{}, fmt.Errorf("%s: Config %q is %w: spec.data is empty", at, c.Name, ErrSyntax)
	case c.Strategy != Overwrite && c.Strategy != Merge:
		return Config{}, fmt.Errorf("%s: Config %q is %w: spec.strategy %q is neither overwrite nor merge", at, c.Name, ErrSyntax, c.Strategy)
	}
	return c, nil
}
