package cluster

import (
	"encoding/base64"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// Strategies of a [Config].
const (
	Overwrite = "overwrite"
	Merge     = "merge"
)

// config reads a document of kind Config.
func (p *parser) config(r reader) {
	c := Config{Source: r.at(r.root)}
	var process string
	var raw string
	r.object(&c.Name, func(n *yaml.Node) {
		r.fields(n, "spec of the Config", map[string]func(*yaml.Node){
			"path":     func(n *yaml.Node) { raw = r.word(n, "spec.path") },
			"data":     func(n *yaml.Node) { c.Data = r.text(n, "spec.data") },
			"strategy": r.into(&c.Strategy, "spec.strategy"),
			"process":  r.into(&process, "spec.process"),
			"appName":  r.into(&c.App, "spec.appName"),
		})
	})
	for s := range strings.SplitSeq(process, "|") {
		if s = strings.TrimSpace(s); s != "" {
			c.Process = append(c.Process, s)
		}
	}
	p.addConfig(c, raw, "Config "+quoted(c.Name))
}

// addConfig checks a Config and takes it.
func (p *parser) addConfig(c Config, raw, what string) {
	if c.Strategy == "" {
		c.Strategy = Overwrite
	}
	before := len(p.problems) + p.more
	if strings.ContainsAny(raw, "\x00\n\\") {
		p.bad(c.Source, "", "%s: the path is %.80q, which is no path", what, raw)
	}
	c.Path = clean(raw)
	switch {
	case c.Path == "":
		p.bad(c.Source, "", "%s: the path is empty", what)
	case c.Data == "":
		p.bad(c.Source, "", "%s: the data is empty", what)
	case c.Strategy != Overwrite && c.Strategy != Merge:
		p.bad(c.Source, "", "%s: the strategy %.40q is neither overwrite nor merge", what, c.Strategy)
	}
	if c.App != "" {
		if !fileName.MatchString(c.App) {
			p.bad(c.Source, "", "%s: %.60q cannot be the name of an application", what, c.App)
		}
		c.Path = AppDir(c.App) + "/" + c.Path
	}
	if len(p.problems)+p.more > before {
		return
	}
	if s := secretIn(c.Data); s != "" && !p.lenient {
		p.warn(c.Source, "%s holds %s; keep the Clusterfile as you keep a password", what, s)
	}
	p.c.Configs = append(p.c.Configs, c)
}

// clean makes a path relative to the root file system, whatever is in it.
func clean(s string) string { return strings.TrimPrefix(path.Clean("/"+s), "/") }

// quoted is for messages: names are free text.
func quoted(name string) string {
	if name == "" {
		return "without a name"
	}
	if len(name) > 80 {
		name = strings.ToValidUTF8(name[:80], "") + "…"
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name) + `"`
}

var (
	base64Word  = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)
	clearSecret = regexp.MustCompile(`(?m)^kind:[ \t]*["']?Secret["']?[ \t]*$`)
)

// secretIn says what kind of secret a text holds, also in base64, and nothing
// where none is seen.
func secretIn(text string) string {
	const key = "PRIVATE KEY-----"
	if strings.Contains(text, key) {
		return "a private key"
	}
	for _, word := range base64Word.FindAllString(text, -1) {
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(word, "="))
		if err == nil && strings.Contains(string(data), key) {
			return "a private key in base64"
		}
	}
	if clearSecret.MatchString(text) && strings.Contains(text, "stringData:") {
		return "a Secret in clear text"
	}
	return ""
}

// application reads a document of kind Application: what is launched, and
// files and variables of single applications.
func (p *parser) application(r reader) {
	at := r.at(r.root)
	var name string
	var cmds, apps []string
	var sources []manifest.Source
	var appsAt manifest.Source
	r.object(&name, func(n *yaml.Node) {
		r.fields(n, "spec of the Application", map[string]func(*yaml.Node){
			"cmds": func(n *yaml.Node) {
				r.texts(&cmds, "spec.cmds")(n)
				sources = r.sources(n)
			},
			"launchApps": func(n *yaml.Node) {
				r.texts(&apps, "spec.launchApps")(n)
				appsAt = r.at(n)
			},
			"configs": func(n *yaml.Node) {
				r.elements(n, "spec.configs", func(n *yaml.Node, at manifest.Source) { p.appConfig(r, n, at) })
			},
		})
	})
	if p.lenient {
		return
	}
	if p.app {
		p.bad(at, "keep one", "the file has a second document of kind Application")
		return
	}
	p.app = true
	// The Cluster's own lists go first, as in sealer.
	if p.c.Cmd == nil {
		p.c.Cmd, p.c.CmdSources = cmds, sources
	}
	if p.c.Apps == nil {
		p.c.Apps, p.c.AppsSource = apps, appsAt
	}
}

// appConfig reads what an Application says about one application.
func (p *parser) appConfig(r reader, n *yaml.Node, at manifest.Source) {
	var app string
	if name := child(n, "name"); name != nil {
		app = r.word(name, "name")
	}
	if !fileName.MatchString(app) {
		r.bad(at, "", "an entry of spec.configs has %.60q for the name of its application", app)
		return
	}
	r.fields(n, "an entry of spec.configs", map[string]func(*yaml.Node){
		"name": nil,
		"env": func(n *yaml.Node) {
			first := len(p.c.Env)
			p.envs(r, &p.c.Env, n, "env")
			for i := first; i < len(p.c.Env); i++ {
				p.c.Env[i].App = app
			}
		},
		"files": func(n *yaml.Node) {
			r.elements(n, "files", func(n *yaml.Node, at manifest.Source) {
				c := Config{App: app, Source: at}
				var raw string
				r.fields(n, "an entry of files", map[string]func(*yaml.Node){
					"path":     func(n *yaml.Node) { raw = r.word(n, "path") },
					"data":     func(n *yaml.Node) { c.Data = r.text(n, "data") },
					"strategy": r.into(&c.Strategy, "strategy"),
				})
				p.addConfig(c, raw, "a file of the application "+app)
			})
		},
		"launch": func(n *yaml.Node) {
			r.fields(n, "launch", map[string]func(*yaml.Node){"cmds": func(n *yaml.Node) {
				l := Launch{App: app, Source: r.at(n)}
				r.texts(&l.Cmds, "launch.cmds")(n)
				p.c.Launches = append(p.c.Launches, l)
			}})
		},
	})
}

// kubeadm keeps a document of kubeadm's kinds as it is.
func (p *parser) kubeadm(r reader) {
	doc := Document{APIVersion: r.apiVersion, Kind: r.kind, Source: r.at(r.root), Text: strings.Join(r.lines, "\n")}
	if r.filled {
		text, err := yaml.Marshal(r.root)
		if err != nil {
			r.bad(doc.Source, "", "the document cannot be written again: %v", err)
			return
		}
		doc.Text = string(text)
	}
	for _, d := range p.c.Kubeadm {
		if d.Kind == doc.Kind {
			r.bad(doc.Source, "keep one", "the file has a second document of kind %s, after %s", doc.Kind, d.Source)
			return
		}
	}
	p.c.Kubeadm = append(p.c.Kubeadm, doc)
	if r.kind != "ClusterConfiguration" {
		return
	}
	for _, f := range r.pairs(r.root, r.kind) {
		if f.name != "networking" {
			continue
		}
		for _, f := range r.pairs(f.value, f.name) {
			switch {
			case f.name == "podSubnet" && p.c.PodCIDR == "":
				p.c.PodCIDR = p.cidrs(item{r.word(f.value, f.name), r.at(f.value)}, f.name)
			case f.name == "serviceSubnet" && p.c.ServiceCIDR == "":
				p.c.ServiceCIDR = p.cidrs(item{r.word(f.value, f.name), r.at(f.value)}, f.name)
			}
		}
	}
}
