package discover

import (
	"fmt"
	"regexp"
	"strings"

	"bundle/manifest"
)

// Lines finds images in text that is not YAML yet, above all Go templates, by
// looking for "image:" as sealer does. Every value of a key that is just
// "image" is [Required]: where a template action hides what it will be, the
// result is malformed rather than silently absent. Two kinds of actions are
// understood: one that names a registry in front of a path is the cluster's
// own registry, and one with a literal default ("or .Tag \"v1\"") is that
// default. Errors wrap [ErrLimit].
func Lines(data []byte, o Origin) ([]Found, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB and %w", o.Name, maxBytes>>20, ErrLimit)
	}
	w := newWalker(o)
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		w.line(strings.TrimSpace(line), place{line: number})
		if w.err != nil {
			return w.found, w.err
		}
	}
	return w.found, nil
}

var (
	action = regexp.MustCompile(`\{\{.*?\}\}`)
	// imageEntry finds a key that ends in image, in block or flow style, and
	// its value. Actions were replaced by something without blanks.
	imageEntry = regexp.MustCompile(`(?:^|[\s{,"'-])([A-Za-z]*[iI]mage)["']?\s*:\s*["']?([^\s"',}]+)`)
)

func (w *walker) line(line string, p place) {
	if line == "" || strings.HasPrefix(line, "#") || !w.spend(1+len(line)/64, p) {
		return
	}
	var actions []string
	flat := action.ReplaceAllStringFunc(line, func(a string) string {
		actions = append(actions, a)
		return "\x00"
	})
	restore := func(s string) string {
		for strings.Contains(s, "\x00") && len(actions) > 0 {
			s = strings.Replace(s, "\x00", actions[0], 1)
			actions = actions[1:]
		}
		return s
	}
	rest := 0
	for _, m := range imageEntry.FindAllStringSubmatchIndex(flat, -1) {
		// Actions before the value are used up in order.
		restore(flat[rest:m[4]])
		key, value := flat[m[2]:m[3]], restore(flat[m[4]:m[5]])
		rest = m[5]
		if key == "image" {
			ref, err := manifest.ParseReference(expand(value))
			if err != nil {
				ref = manifest.Reference{}
			}
			w.add(Found{Ref: ref, Raw: value, Class: Required}, nil, p.key(key))
			continue
		}
		w.candidate(expand(value), inField, nil, p.key(key))
	}
	w.text(strings.ReplaceAll(flat[rest:], "\x00", " "), nil, p)
}

var quoted = regexp.MustCompile("\"([^\"]*)\"|`([^`]*)`")

// expand replaces the template actions of an image's name that [Lines]
// understands; others stay.
func expand(s string) string {
	if !strings.Contains(s, "{{") {
		return s
	}
	at := 0
	return action.ReplaceAllStringFunc(s, func(a string) string {
		start := strings.Index(s[at:], a) + at
		at = start + len(a)
		if start == 0 && strings.HasPrefix(s[at:], "/") && strings.Contains(a, "Registry") {
			return manifest.LocalRegistry
		}
		if m := quoted.FindAllStringSubmatch(a, -1); len(m) == 1 {
			return m[0][1] + m[0][2]
		}
		return a
	})
}
