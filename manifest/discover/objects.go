package discover

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Objects finds the images of the Kubernetes objects in a stream of YAML
// documents, in their order. Empty documents are passed over. Errors wrap
// [ErrSyntax], and name the line, or [ErrLimit]; what was found until then is
// returned too.
func Objects(data []byte, o Origin) ([]Found, error) {
	w := newWalker(o)
	list, err := chunks(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	for _, c := range list {
		docs, err := parse(c)
		if err != nil {
			return w.found, located(o, err)
		}
		w.base = c.line - 1
		for _, d := range docs {
			w.document(d, place{})
		}
		if w.err != nil {
			return w.found, w.err
		}
	}
	return w.found, nil
}

// located puts the name of the input before an error.
func located(o Origin, err error) error {
	if s, ok := errors.AsType[*syntaxError](err); ok && o.Lines {
		return fmt.Errorf("%s:%d is %w: %s", o.Name, s.line, ErrSyntax, s.reason)
	}
	if errors.Is(err, ErrSyntax) {
		return fmt.Errorf("%s is %w: %s", o.Name, ErrSyntax, err)
	}
	return fmt.Errorf("%s: %w", o.Name, err)
}

// File finds the images of one file as it lies in a context: YAML, or a
// template of it. A file with template actions is scanned by line, see
// [Lines], where it is no YAML for them or hides an image behind one. name is
// the file's for sources and errors.
func File(name string, data []byte) ([]Found, error) {
	o := Origin{Name: name, Lines: true}
	found, err := Objects(data, o)
	unclear := errors.Is(err, ErrSyntax) || slices.ContainsFunc(found, Found.Malformed)
	if unclear && bytes.Contains(data, []byte("{{")) {
		return Lines(data, o)
	}
	return found, err
}

// document walks one document of a stream.
func (w *walker) document(d *yaml.Node, p place) {
	if d.Kind == yaml.DocumentNode {
		for _, n := range d.Content {
			w.root(n, "", p)
		}
		return
	}
	w.root(d, "", p)
}

// root walks an object, or a list of them, whose kind is given where the
// list's kind says it.
func (w *walker) root(n *yaml.Node, kind string, p place) {
	if !w.spend(1, p) {
		return
	}
	if !isMap(n) {
		if list := items(n); list != nil && p.path == "" {
			p.depth++
			for _, item := range list {
				w.root(item, kind, p)
			}
			return
		}
		w.any(n, "", inValue, p)
		return
	}
	if k := text(n, "kind"); k != "" {
		kind = k
	}
	if kind == "" {
		w.any(n, "", inValue, p)
		return
	}
	if list := items(get(n, "items")); list != nil && strings.HasSuffix(kind, "List") {
		for _, item := range list {
			q := p
			q.depth++
			w.root(item, strings.TrimSuffix(kind, "List"), q)
		}
		return
	}
	name := text(n, "metadata", "name")
	if name == "" {
		name = text(n, "metadata", "generateName")
	}
	object := plain(strings.TrimSpace(kind+" "+name), maxSource)
	if p.object != "" {
		// An object inside a string of another: name both.
		p.where, p.path = strings.TrimSpace(p.where+" "+p.path), ""
		p.where = plain(strings.TrimSpace(p.where+" "+object), maxSource)
	} else {
		p.object = object
	}
	w.kind(kind, n, p)
}

// podPaths are where the kinds of Kubernetes itself hold pods.
var podPaths = map[string][]string{
	"Pod":                   {"spec"},
	"Deployment":            {"spec", "template", "spec"},
	"ReplicaSet":            {"spec", "template", "spec"},
	"StatefulSet":           {"spec", "template", "spec"},
	"DaemonSet":             {"spec", "template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
	"Job":                   {"spec", "template", "spec"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
	"PodTemplate":           {"template", "spec"},
}

func (w *walker) kind(kind string, n *yaml.Node, p place) {
	switch kind {
	case "CustomResourceDefinition":
		w.defaults(n, "", p)
		return
	case "Secret", "ConfigMap":
		w.config(kind, n, p)
		return
	}
	if spec := get(n, podPaths[kind]...); podPaths[kind] != nil && isMap(spec) {
		w.pods[spec] = true
	}
	// The labels and the like of the object itself are not its name's path.
	w.mapping(resolve(n), "", p)
}

// config walks a ConfigMap or a Secret.
func (w *walker) config(kind string, n *yaml.Node, p place) {
	for _, e := range w.pairs(n, p) {
		q := p.key(e.key)
		encoded := e.key == "binaryData" || (e.key == "data" && kind == "Secret")
		if !isMap(e.value) || !encoded {
			w.any(e.value, e.key, hintOf(e.key), q)
			continue
		}
		for _, d := range w.pairs(e.value, q) {
			r := q.key(d.key)
			if s, ok := scalar(d.value); ok && w.spend(1, r) {
				w.base64(s, d.key, hintOf(d.key), d.value, r)
			}
		}
	}
}

// defaults walks the definition of a custom resource. Its properties called
// image are types, its examples and descriptions are prose; what the cluster
// may come to use are the defaults.
func (w *walker) defaults(n *yaml.Node, property string, p place) {
	n = resolve(n)
	if n == nil || !w.spend(1, p) {
		return
	}
	for i, item := range items(n) {
		w.defaults(item, property, p.index(i))
	}
	for _, e := range w.pairs(n, p) {
		switch e.key {
		case "default":
			q := p
			q.where, q.path = "default of", plain(property, maxSource)
			w.any(e.value, property, hintOf(property), q)
		case "properties":
			for _, sub := range w.pairs(e.value, p) {
				q := p
				q.depth += 2
				w.defaults(sub.value, sub.key, q)
			}
		default:
			q := p
			q.depth++
			w.defaults(e.value, property, q)
		}
	}
}

// podSpec walks the specification of a pod.
func (w *walker) podSpec(n *yaml.Node, p place) {
	for _, e := range w.pairs(n, p) {
		switch e.key {
		case "containers":
			w.containers(e.value, "container", p)
		case "initContainers":
			w.containers(e.value, "init container", p)
		case "ephemeralContainers":
			w.containers(e.value, "ephemeral container", p)
		case "volumes":
			for _, v := range items(e.value) {
				w.volume(v, p)
			}
		default:
			w.any(e.value, e.key, hintOf(e.key), p.in("pod").key(e.key))
		}
	}
}

func (w *walker) containers(list *yaml.Node, what string, p place) {
	for i, c := range items(list) {
		name := text(c, "name")
		if name == "" {
			name = fmt.Sprint(i)
		}
		q := p.in(strings.TrimSpace(inObject(p) + what + " " + name))
		for _, e := range w.pairs(c, q) {
			if e.key == "image" {
				w.required(e.value, q)
				continue
			}
			w.any(e.value, e.key, hintOf(e.key), q.key(e.key))
		}
	}
}

func (w *walker) volume(v *yaml.Node, p place) {
	q := p.in(strings.TrimSpace(inObject(p) + "volume " + text(v, "name")))
	for _, e := range w.pairs(v, q) {
		if e.key == "image" && isMap(e.value) {
			w.required(get(e.value, "reference"), q)
			continue
		}
		w.any(e.value, e.key, hintOf(e.key), q.key(e.key))
	}
}

// inObject keeps what is above a pod when it is not the object itself: the
// path to the template in a custom resource, or the string that holds it.
func inObject(p place) string {
	at := strings.TrimSpace(p.where + " " + p.path)
	switch at {
	case "", "spec", "spec.template.spec", "spec.jobTemplate.spec.template.spec", "template.spec":
		return ""
	}
	return at + " "
}
