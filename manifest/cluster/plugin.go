package cluster

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// dialect is a generation of sealer before 0.9 by what it read plugins from.
type dialect int

const (
	dialect05 dialect = iota + 1 // 0.5 and 0.6
	dialect07                    // 0.7 and 0.8
)

// named is what the sealers before 0.9 call a phase.
type named struct {
	phase Phase
	// since is the first dialect that runs it, 0 where none does.
	since dialect
}

// oldPhases are those before 0.9, newPhases those since.
var (
	oldPhases = map[string]named{
		"Originally":  {PhaseOriginally, dialect05},
		"PreInit":     {PhasePreInit, dialect05},
		"PreInstall":  {PhasePreInstall, 0}, // declared by every sealer, run by none
		"PreGuest":    {PhasePreGuest, dialect05},
		"PostInstall": {PhasePostInstall, dialect05},
		"PreJoin":     {PhasePreJoin, dialect07},
		"PostJoin":    {PhasePostJoin, dialect07},
		"PreClean":    {PhasePreClean, dialect07},
		"PostClean":   {PhasePostClean, dialect07},
	}
	newPhases = map[string]Phase{
		"pre-install":     PhasePreInstall,
		"post-install":    PhasePostInstall,
		"pre-init-host":   PhasePreInit,
		"post-init-host":  PhasePostInit,
		"pre-scaleup":     PhasePreScaleUp,
		"post-scaleup":    PhasePostScaleUp,
		"pre-clean-host":  PhasePreClean,
		"post-clean-host": PhasePostClean,
		"pre-uninstall":   PhasePreUninstall,
		"post-uninstall":  PhasePostUninstall,
		"upgrade":         PhaseUpgrade,
		"upgrade-host":    PhaseUpgradeHost,
		"rollback":        PhaseRollback,
	}
	// types of plugins and the phase that is fixed for some.
	types = map[string]Phase{
		TypeShell:        "",
		TypeETCD:         "",
		TypeHostname:     PhasePreInit,
		TypeTaint:        PhasePreGuest,
		TypeLabel:        PhasePreGuest,
		TypeClusterCheck: PhasePreGuest,
	}
)

// ParsePlugins reads a plugin file of an image. name is its path in the root
// file system: sealer 0.5 and 0.6 read the folder plugin, later ones plugins.
// The plugins keep the order of the file. A placeholder that nobody filled in
// is an error, as in a Clusterfile.
func ParsePlugins(name string, data []byte) ([]Plugin, []Warning, error) {
	return ParsePluginsSet(name, data, nil)
}

// ParsePluginsSet is [ParsePlugins] with the values of placeholders.
func ParsePluginsSet(name string, data []byte, set map[string]string) ([]Plugin, []Warning, error) {
	p := newParser(Options{Set: set})
	p.checkSet(set)
	old := dialect07
	if strings.HasPrefix(clean(name), "plugin/") {
		old = dialect05
	}
	for _, d := range p.documents(name, p.tidy(name, data)) {
		r := p.reader(d)
		if d.kind != kindPlugin {
			p.warn(r.at(d.root), "the document is of kind %.60q, not Plugin; it is ignored", d.kind)
			continue
		}
		p.bind(d)
		if plugin, ok := r.plugin(old); ok {
			p.c.Plugins = append(p.c.Plugins, plugin)
		}
	}
	p.refuse(nil, false)
	if err := p.err(); err != nil {
		return nil, nil, err
	}
	return p.c.Plugins, p.warnings, nil
}

// pluginType looks up the type before anything else is read.
func pluginType(d *document) string {
	spec := child(d.root, "spec")
	if spec == nil {
		return ""
	}
	if t := child(spec, "type"); t != nil {
		return strings.ToUpper(strings.TrimSpace(t.Value))
	}
	return ""
}

// child gives a field of a mapping, nil where there is none.
func child(n *yaml.Node, name string) *yaml.Node {
	for range maxMerges {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// plugin reads a document of kind Plugin. d is whose phases with old names
// are.
func (r reader) plugin(d dialect) (Plugin, bool) {
	p := Plugin{Source: r.at(r.root)}
	var action []item
	scope := false
	before := len(r.problems) + r.more
	r.object(&p.Name, func(n *yaml.Node) {
		on := func(n *yaml.Node) {
			p.On = nil
			for _, it := range r.items(n, "the selector of the Plugin") {
				p.On = append(p.On, strings.TrimSpace(it.text))
			}
		}
		for _, f := range r.pairs(n, "spec of the Plugin") {
			plain := f.key.Style == 0
			switch {
			case f.name == "type":
				p.Type = strings.ToUpper(r.word(f.value, "spec.type"))
			case f.name == "action":
				action = r.items(f.value, "spec.action")
			case f.name == "data":
				p.Data = r.text(f.value, "spec.data")
				p.Line = f.value.Line
				if f.value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
					p.Line++
				}
			case f.name == "scope":
				scope = true
				on(f.value)
			case f.name == "on" && plain, f.name == "true" && f.key.ShortTag() == "!!bool":
				r.warn(r.at(f.key), "an %s without quotes is the word true to YAML 1.1, and sealer ran the plugin on all hosts; here it selects hosts as it is meant to; write 'on'", f.name)
				on(f.value)
			case f.name == "on":
				on(f.value)
			default:
				r.warn(r.at(f.key), "spec of the Plugin has no field %.60q; it is ignored", f.name)
			}
		}
	})
	r.checkType(&p)
	r.phases(&p, d, action, scope)
	if p.Type == TypeShell && strings.TrimSpace(p.Data) == "" {
		r.warn(p.Source, "the Plugin %s has no data and does nothing", quoted(p.Name))
	}
	return p, len(r.problems)+r.more == before
}

func (r reader) checkType(p *Plugin) {
	_, known := types[p.Type]
	switch {
	case p.Type == "":
		r.bad(p.Source, "say type: SHELL", "the Plugin %s has no type", quoted(p.Name))
	case strings.HasSuffix(p.Type, ".SO"):
		r.bad(p.Source, "", "the Plugin %s is a Go library, which cannot be run", quoted(p.Name))
	case !known:
		r.bad(p.Source, "it may be SHELL, HOSTNAME, LABEL, TAINT, ETCD or CLUSTERCHECK", "the Plugin %s has the unknown type %.40q", quoted(p.Name), p.Type)
	}
}

// phases reads the action, whose phases are separated by |.
func (r reader) phases(p *Plugin, d dialect, action []item, scope bool) {
	what := "the Plugin " + quoted(p.Name)
	var old, new bool
	for _, it := range action {
		for s := range strings.FieldsFuncSeq(it.text, func(c rune) bool { return c == '|' || c == ',' }) {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			n, isOld := oldPhases[s]
			phase, isNew := newPhases[s]
			switch {
			case isNew:
				new = true
			case !isOld:
				r.bad(it.at, nearestPhase(s), "%s has the unknown phase %.40q", what, s)
				continue
			case n.since == 0:
				old = true
				r.warn(it.at, "%s asks for the phase %s, which no sealer ever ran; it is not run here either", what, s)
				continue
			default:
				old = true
				phase = n.phase
				if n.since > d {
					r.warn(it.at, "%s asks for the phase %s, which sealer ran from 0.6 on only; it is run here", what, s)
				}
			}
			if !slices.Contains(p.Phases, phase) {
				p.Phases = append(p.Phases, phase)
			}
		}
	}
	switch {
	case old && new:
		r.bad(p.Source, "", "%s mixes the phases of sealer before 0.9 with those of 0.9", what)
	case new || scope && !old:
		p.Hook = true
	}
	if p.Hook && p.Type != TypeShell && types[p.Type] != "" {
		r.warn(p.Source, "%s is of the type %s, which sealer 0.9 refused; it is run as before 0.9", what, p.Type)
	}
	r.fixedPhase(p, d, what, len(action) > 0)
}

// fixedPhase sets the phase that a type has, whatever the action says.
func (r reader) fixedPhase(p *Plugin, d dialect, what string, asked bool) {
	fixed := types[p.Type]
	if p.Type == TypeLabel && d == dialect05 {
		fixed = PhasePostInstall
	}
	switch {
	case fixed == "" && !asked:
		r.bad(p.Source, "say action: PreInit or another phase", "%s has no action", what)
	case fixed == "":
	case !asked || slices.Equal(p.Phases, []Phase{fixed}):
		p.Phases = []Phase{fixed}
	default:
		p.Phases = []Phase{fixed}
		r.warn(p.Source, "%s is of the type %s, which runs in the phase %s whatever its action says", what, p.Type, fixed)
	}
}

// nearestPhase suggests a phase of the same letters.
func nearestPhase(s string) string {
	fold := strings.NewReplacer("-", "", "_", "", " ", "")
	for _, list := range [][]string{phaseNames(oldPhases), phaseNames(newPhases)} {
		for _, name := range list {
			if strings.EqualFold(fold.Replace(s), fold.Replace(name)) {
				return "did you mean " + name + "?"
			}
		}
	}
	return "it may be " + strings.Join(phaseNames(oldPhases), ", ") + ", or for sealer 0.9 " + strings.Join(phaseNames(newPhases), ", ")
}

func phaseNames[V any](m map[string]V) []string {
	var list []string
	for name := range m {
		if name != "PreInstall" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
