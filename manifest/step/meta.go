package step

import (
	"strings"
)

// targets reads which objects a command is for. rest are the words after the
// resource; it gives those that are no names.
func targets(p parsed, rest []arg, isName func(string) bool) (Target, []string, bool) {
	var t Target
	var words []string
	host := false
	for _, a := range rest {
		switch {
		case a.host:
			host = true
		case a.glob || a.text == "":
			return t, nil, false
		case len(words) == 0 && isName(a.text):
			t.Names = append(t.Names, a.text)
		default:
			words = append(words, a.text)
		}
	}
	selector, ok := p.last("l", "selector")
	if !ok {
		return t, nil, false
	}
	ways := 0
	if host {
		t.Target = TargetMaster0
		ways++
	}
	if p.on("all") {
		t.Target = TargetAll
		ways++
	}
	if selector != "" {
		t.Target, t.Selector = TargetSelector, selector
		ways++
	}
	if len(t.Names) > 0 {
		t.Target = TargetNames
		ways++
	}
	return t, words, ways == 1
}

// taintEffects are the effects that Kubernetes knows.
var taintEffects = map[string]bool{"NoSchedule": true, "PreferNoSchedule": true, "NoExecute": true}

// ParseTaint reads key[=value][:Effect][-] as kubectl does. It fails where an
// effect is unknown, or missing on a taint that is added.
func ParseTaint(s string) (t Taint, ok bool) {
	s, t.Remove = strings.CutSuffix(s, "-")
	s, t.Effect, _ = strings.Cut(s, ":")
	t.Key, t.Value, _ = strings.Cut(s, "=")
	if t.Key == "" || strings.ContainsAny(t.Key+t.Value, ",: \t") {
		return t, false
	}
	if t.Effect == "" {
		return t, t.Remove && t.Value == ""
	}
	return t, taintEffects[t.Effect]
}

func kubectlTaint(args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, flagSet{
		"all": flagBool, "overwrite": flagBool, "l": flagString, "selector": flagString,
	}, nil)
	if !ok || len(p.rest) < 2 || p.rest[0].special() || resourceName(p.rest[0].text) != "node" {
		return nil, 0, false
	}
	target, words, ok := targets(p, p.rest[1:], func(s string) bool {
		return !strings.ContainsAny(s, "=:/") && !strings.HasSuffix(s, "-")
	})
	if !ok || len(words) == 0 {
		return nil, 0, false
	}
	var out []Action
	for _, w := range words {
		t, ok := ParseTaint(w)
		if !ok {
			return nil, 0, false
		}
		t.Target, t.Overwrite = target, p.on("overwrite")
		out = append(out, t)
	}
	return out, 0, true
}

func kubectlMeta(verb string, args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, with(flagSet{
		"all": flagBool, "overwrite": flagBool, "l": flagString, "selector": flagString,
	}), nil)
	if !ok || len(p.rest) < 1 || p.rest[0].special() {
		return nil, 0, false
	}
	m := Meta{Overwrite: p.on("overwrite"), Set: map[string]string{}}
	rest := p.rest[1:]
	resource, name, slash := strings.Cut(p.rest[0].text, "/")
	if slash {
		rest = append([]arg{{text: name}}, rest...)
	}
	m.Resource = resourceName(resource)
	if m.Resource == "" || strings.ContainsAny(m.Resource+name, ",/") {
		return nil, 0, false
	}
	if m.Namespace, ok = p.last("n", "namespace"); !ok {
		return nil, 0, false
	}
	var words []string
	m.Target, words, ok = targets(p, rest, func(s string) bool {
		return !strings.ContainsAny(s, "=/") && !strings.HasSuffix(s, "-")
	})
	if !ok || len(words) == 0 || (m.Target.Target == TargetMaster0 && m.Resource != "node") {
		return nil, 0, false
	}
	for _, w := range words {
		key, value, isSet := strings.Cut(w, "=")
		if isSet {
			if _, twice := m.Set[key]; key == "" || twice {
				return nil, 0, false
			}
			m.Set[key] = value
			continue
		}
		key, remove := strings.CutSuffix(w, "-")
		if !remove || key == "" {
			return nil, 0, false
		}
		m.Remove = append(m.Remove, key)
	}
	if verb == "annotate" {
		return []Action{Annotate{m}}, 0, true
	}
	return []Action{Label{m}}, 0, true
}
