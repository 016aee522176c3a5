package discover

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// Bounds of one walk, which aliases could otherwise stretch without end.
const (
	maxVisits   = 4 << 20
	maxDepth    = 200
	maxEmbedded = 4
	maxBase64   = 2
	maxDecoded  = 64 << 20
	maxFound    = 200_000
)

// place is where the walk is.
type place struct {
	// object is "Deployment web", where is "container app", path the keys
	// from there.
	object, where, path string
	// line is set inside a string, whose own lines mean nothing outside.
	line int
	// embedded and base64 count how deep in strings the walk is.
	embedded, base64 int
	depth            int
}

func (p place) key(k string) place {
	if p.path != "" {
		k = "." + k
	}
	p.path = plain(p.path+k, maxSource)
	p.depth++
	return p
}

func (p place) index(i int) place {
	p.path += "[" + strconv.Itoa(i) + "]"
	p.depth++
	return p
}

func (p place) in(where string) place {
	p.where, p.path = plain(where, maxSource), ""
	p.depth++
	return p
}

// walker collects what is found in one text.
type walker struct {
	origin  Origin
	base    int // lines before the document at hand
	visits  int
	decoded int
	found   []Found
	seen    map[Found]bool
	// pods are the nodes that are pod specifications.
	pods map[*yaml.Node]bool
	// err is the first bound that was passed; the walk does nothing after.
	err error
}

func newWalker(o Origin) *walker {
	return &walker{origin: o, seen: map[Found]bool{}, pods: map[*yaml.Node]bool{}}
}

// spend takes n steps off the bounds and tells whether the walk may go on.
func (w *walker) spend(n int, p place) bool {
	if w.err != nil {
		return false
	}
	w.visits += n
	switch {
	case w.visits > maxVisits:
		w.err = fmt.Errorf("%s is %w: its aliases make it larger than %d nodes", w.origin.Name, ErrLimit, maxVisits)
	case p.depth > maxDepth:
		w.err = fmt.Errorf("%s is %w: it is nested deeper than %d", w.origin.Name, ErrLimit, maxDepth)
	case len(w.found) > maxFound:
		w.err = fmt.Errorf("%s is %w: it names more than %d images", w.origin.Name, ErrLimit, maxFound)
	}
	return w.err == nil
}

// pairs gives the entries of a mapping, at the price of a step each.
func (w *walker) pairs(n *yaml.Node, p place) []pair {
	ps := pairs(n)
	if !w.spend(1+len(ps), p) {
		return nil
	}
	return ps
}

// add records what was found. n gives the line.
func (w *walker) add(f Found, n *yaml.Node, p place) {
	line := p.line
	if line == 0 && n != nil {
		line = n.Line + w.base
	}
	f.Raw = plain(f.Raw, maxRaw)
	if p.embedded > 0 || p.base64 > 0 {
		f.Class = Candidate
	}
	if f.Class == Candidate && f.Malformed() {
		return
	}
	f.Source = w.source(line, p)
	if !w.seen[f] {
		w.seen[f] = true
		w.found = append(w.found, f)
	}
}

func (w *walker) source(line int, p place) manifest.Source {
	name := manifest.Source(w.origin.Name)
	if w.origin.Lines && line > 0 {
		name = manifest.FileLine(w.origin.Name, line)
	}
	var words []string
	for _, s := range []string{p.object, p.where, p.path} {
		if s != "" {
			words = append(words, s)
		}
	}
	if len(words) == 0 {
		return name
	}
	return name + manifest.Source(": "+plain(strings.Join(words, " "), maxSource))
}

// required records the image of a container.
func (w *walker) required(n *yaml.Node, p place) {
	if n = resolve(n); n == nil {
		return
	}
	raw, _ := scalar(n)
	switch n.Kind {
	case yaml.MappingNode:
		// "image: {{ .X }}" is a mapping to YAML.
		raw = "{…}"
	case yaml.SequenceNode:
		raw = "[…]"
	}
	if raw == "" {
		return
	}
	ref, err := manifest.ParseReference(expand(raw))
	if err != nil {
		ref = manifest.Reference{}
	}
	w.add(Found{Ref: ref, Raw: raw, Class: Required}, n, p)
}

// candidate records s if it is plausible in such a place.
func (w *walker) candidate(s string, h hint, n *yaml.Node, p place) bool {
	ref, ok := plausible(s, h)
	if ok {
		w.add(Found{Ref: ref, Raw: s, Class: Candidate}, n, p)
	}
	return ok
}

// any walks a node that nothing is known of but the key it lies under.
func (w *walker) any(n *yaml.Node, key string, h hint, p place) {
	n = resolve(n)
	if n == nil || !w.spend(1, p) {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		if w.pods[n] {
			w.podSpec(n, p)
			return
		}
		w.mapping(n, key, p)
	case yaml.SequenceNode:
		next := h
		for i, item := range n.Content {
			w.any(item, key, next, p.index(i))
			// "--image", "nginx:1.25" are two arguments.
			next = h
			if s, ok := scalar(item); ok && strings.HasPrefix(s, "-") && imageKey(s) {
				next = inField
			}
		}
	case yaml.ScalarNode:
		s, ok := scalar(n)
		if !ok {
			return
		}
		if n.Tag == "!!binary" || strings.EqualFold(key, "values") {
			if w.base64(s, key, h, n, p) {
				return
			}
		}
		w.str(s, h, n, p)
	}
}

// mapping walks the entries of a mapping of unknown meaning.
func (w *walker) mapping(n *yaml.Node, key string, p place) {
	ps := w.pairs(n, p)
	inImage := imageKey(key)
	done := w.triple(ps, inImage, n, p)
	shape := containerShape(ps)
	env := envName(ps)
	for _, e := range ps {
		if done[e.key] {
			continue
		}
		h := hintOf(e.key)
		switch {
		case inImage && (e.key == "name" || e.key == "reference" || e.key == "ref" || e.key == "url" || e.key == "uri"):
			h = inField
		case e.key == "value" && imageKey(env):
			h = inField
		case e.key == "image" && shape:
			if s, ok := scalar(e.value); ok && bareName(s) {
				if ref, err := manifest.ParseReference(s); err == nil {
					w.add(Found{Ref: ref, Raw: s, Class: Candidate}, e.value, p.key(e.key))
					continue
				}
			}
		}
		if templateKey(e.key) {
			if spec := get(e.value, "spec"); len(items(get(spec, "containers"))) > 0 {
				w.pods[spec] = true
			}
		}
		w.any(e.value, e.key, h, p.key(e.key))
	}
}

// templateKey tells whether a key names a template of pods by Kubernetes'
// conventions: template, podTemplate, workerTemplate, podTemplateSpec.
func templateKey(key string) bool {
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "template") || strings.HasSuffix(key, "templatespec")
}

// containerShape tells whether a mapping reads like a container.
func containerShape(ps []pair) bool {
	named, more := false, false
	for _, e := range ps {
		switch e.key {
		case "name":
			named = true
		case "command", "args", "env", "envFrom", "ports", "imagePullPolicy", "volumeMounts", "resources", "script":
			more = true
		}
	}
	return named && more
}

// envName gives the name of a variable in the shape {name:, value:}.
func envName(ps []pair) string {
	for _, e := range ps {
		if e.key == "name" {
			s, _ := scalar(e.value)
			return s
		}
	}
	return ""
}

// bareName tells whether s could only be an image by where it stands.
func bareName(s string) bool {
	return s != "" && !strings.ContainsAny(s, "/:@.") && letters.MatchString(s)
}
