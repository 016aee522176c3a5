package bundlefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

const (
	// MaxSize is the largest bundle.yaml that is read, in bytes.
	MaxSize = 1 << 20
	// maxDepth is how deep values may be nested; the grammar needs five.
	maxDepth = 16
)

// Parse reads a bundle.yaml. name is the file's name as the user knows it.
// All problems are reported together: the error joins a [*Problem] for each
// and wraps [ErrBundleFile].
func Parse(name string, r io.Reader) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > MaxSize {
		return nil, &Problem{File: name, Reason: fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20)}
	}
	doc, err := decode(name, data)
	if err != nil {
		return nil, err
	}
	p := &parser{reader: reader{name: name}, f: &File{Path: name, From: Scratch}, ids: map[string]bool{}, images: map[manifest.Reference]int{}}
	p.plain(doc, 0)
	if len(p.problems) == 0 {
		p.file(doc.Content[0])
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.f, nil
}

// decode gives the only document of a file.
func decode(name string, data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc := &yaml.Node{}
	switch err := dec.Decode(doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, &Problem{File: name, Reason: "the file is empty", Hint: "begin with apiVersion: " + APIVersion}
	case err != nil:
		return nil, yamlProblem(name, err)
	}
	switch err := dec.Decode(&yaml.Node{}); {
	case err == nil:
		return nil, &Problem{File: name, Reason: "the file has more than one YAML document", Hint: "a bundle.yaml describes one bundle"}
	case !errors.Is(err, io.EOF):
		return nil, yamlProblem(name, err)
	}
	return doc, nil
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func yamlProblem(name string, err error) error {
	p := &Problem{File: name, Reason: err.Error()}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if m := yamlError.FindStringSubmatch(text); m != nil {
		p.Reason = "this is not valid YAML: " + m[2]
		if p.Line, _ = strconv.Atoi(m[1]); p.Line > 0 {
			p.Column = 1
		}
	}
	return p
}

type parser struct {
	reader
	f      *File
	ids    map[string]bool
	images map[manifest.Reference]int
}

// plain refuses what would make the file mean something else than it shows.
func (p *parser) plain(n *yaml.Node, depth int) {
	switch {
	case n.Kind == yaml.AliasNode:
		p.bad(n, "write the value out", "aliases are not allowed")
		return
	case n.Anchor != "":
		p.bad(n, "write the value out where it is used", "anchors are not allowed")
		return
	case n.Style&yaml.TaggedStyle != 0:
		p.bad(n, "", "the tag %.40q is not allowed", n.Tag)
		return
	case depth > maxDepth:
		p.bad(n, "", "values are nested more than %d deep", maxDepth)
		return
	}
	for _, c := range n.Content {
		p.plain(c, depth+1)
	}
}

func (p *parser) file(n *yaml.Node) {
	f := p.f
	p.object(n, "a bundle.yaml", fields{
		"apiVersion": p.constant("apiVersion", APIVersion),
		"kind":       p.constant("kind", Kind),
		"name":       p.pattern(&f.Name, "name", bundleName, "use lower-case letters, digits, dots and dashes"),
		"version":    p.pattern(&f.Version, "version", bundleVersion, "use letters, digits, dots, dashes and _"),
		"from":       p.from,
		"platforms":  p.platforms,
		"images":     func(n *yaml.Node) { p.items(n, "images", p.image) },
		"imageLists": func(n *yaml.Node) { p.items(n, "imageLists", p.imageList) },
		"charts":     func(n *yaml.Node) { p.items(n, "charts", p.chart) },
		"files":      func(n *yaml.Node) { p.items(n, "files", p.copy) },
		"env":        p.env,
		"labels": func(n *yaml.Node) {
			f.Labels = map[string]string{}
			p.pairs(n, "labels", func(key, _ *yaml.Node, v string) { f.Labels[key.Value] = v })
		},
		"steps": func(n *yaml.Node) { p.items(n, "steps", p.step) },
	}, "apiVersion", "kind")
}

var (
	bundleName    = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*$`)
	bundleVersion = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	platformForm  = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+(/[a-z0-9.]+)?$`)
	envName       = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	objectName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?$`)
)

func (p *parser) constant(field, want string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if s, ok := p.str(n, field); ok && s != want {
			p.bad(n, "write "+want, "%s is %.40q, which this tool does not know", field, s)
		}
	}
}

// pattern gives a field reader that stores a string of a form.
func (p *parser) pattern(dst *string, what string, form *regexp.Regexp, hint string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := p.str(n, what)
		if ok && (!form.MatchString(s) || len(s) > 253) {
			p.bad(n, hint, "%s is %.60q", what, s)
			return
		}
		*dst = s
	}
}

// object names are checked loosely: resources have their own rules.
func (p *parser) object1(dst *string, what string) func(*yaml.Node) {
	return p.pattern(dst, what, objectName, "a name has letters, digits, dots, dashes and colons")
}

func (p *parser) from(n *yaml.Node) {
	s, ok := p.str(n, "from")
	if !ok {
		return
	}
	if s != Scratch {
		if _, err := manifest.ParseReference(s); err != nil {
			p.bad(n, "name a cluster image or a bundle, or "+Scratch, "from: %v", err)
			return
		}
	}
	p.f.From, p.f.FromSource = s, p.at(n)
}

func (p *parser) platforms(n *yaml.Node) {
	seen := map[string]bool{}
	p.items(n, "platforms", func(n *yaml.Node) {
		s, ok := p.str(n, "a platform")
		switch {
		case !ok:
		case !platformForm.MatchString(s):
			p.bad(n, "write it like linux/amd64", "the platform is %.40q", s)
		case seen[s]:
			p.bad(n, "", "the platform %s is in the list twice", s)
		default:
			seen[s] = true
			p.f.Platforms = append(p.f.Platforms, s)
		}
	})
}

func (p *parser) image(n *yaml.Node) {
	im := Image{Source: p.at(n)}
	at := n
	ref := func(n *yaml.Node) {
		at = n
		im.Raw, _ = p.str(n, "an image")
	}
	if n.Kind == yaml.ScalarNode {
		ref(n)
	} else if _, ok := p.object(n, "an image", fields{
		"ref":      ref,
		"optional": p.boolean(&im.Optional, "optional"),
	}, "ref"); !ok {
		return
	}
	if im.Raw == "" {
		return
	}
	var err error
	if im.Ref, err = manifest.ParseReference(im.Raw); err != nil {
		p.bad(at, "", "%v", err)
		return
	}
	if i, ok := p.images[im.Ref]; ok {
		p.bad(at, "", "the image %s is in the list already, see %s", im.Ref, p.f.Images[i].Source)
		return
	}
	p.images[im.Ref] = len(p.f.Images)
	p.f.Images = append(p.f.Images, im)
}

// inside reads a path that must stay below its root. what names the field.
func (p *parser) inside(n *yaml.Node, what string) (string, bool) {
	s, ok := p.str(n, what)
	if !ok {
		return "", false
	}
	clean := path.Clean(s)
	if path.IsAbs(s) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(s, "\x00\\") {
		p.bad(n, "write a relative path with slashes and without ..", "%s is %.80q, which is not below its folder", what, s)
		return "", false
	}
	return clean, true
}

func (p *parser) imageList(n *yaml.Node) {
	if s, ok := p.inside(n, "an image list"); ok {
		p.f.ImageLists = append(p.f.ImageLists, Input{s, p.at(n)})
	}
}

func (p *parser) env(n *yaml.Node) {
	p.pairs(n, "env", func(key, _ *yaml.Node, v string) {
		if !envName.MatchString(key.Value) {
			p.bad(key, "a name has letters, digits and _", "env sets %.40q, which no shell can read", key.Value)
			return
		}
		p.f.Env = append(p.f.Env, manifest.EnvVar{Name: key.Value, Value: v, Source: p.at(key)})
	})
}

func (p *parser) copy(n *yaml.Node) {
	c := Copy{Source: p.at(n)}
	p.object(n, "an entry of files", fields{
		"src": func(n *yaml.Node) { c.Src, _ = p.inside(n, "src") },
		"dst": func(n *yaml.Node) {
			c.Dst, _ = p.inside(n, "dst")
			c.Into = strings.HasSuffix(n.Value, "/") || c.Dst == "."
		},
		"mode": func(n *yaml.Node) {
			s, ok := p.str(n, "mode")
			if !ok {
				return
			}
			mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
			if err != nil || mode == 0 || mode > 0o777 || len(s) < 3 {
				p.bad(n, `write it like "0755"`, "mode is %.20q", s)
				return
			}
			c.Mode = uint32(mode)
		},
	}, "src", "dst")
	p.f.Files = append(p.f.Files, c)
}
