package cluster

import (
	"io"
	"maps"
	"slices"
	"strings"

	"bundle/manifest"
)

// Parse reads a Clusterfile of any sealer version: a stream of YAML documents,
// told apart by their kind and shape. There must be exactly one of kind
// Cluster. name is the file's name as the user knows it.
//
// All problems are reported together, each as a [*Problem]; what the user
// should know but need not mend is in Warnings.
func Parse(name string, in io.Reader, o Options) (*Cluster, error) {
	p := newParser(o)
	text, err := p.readText(name, in)
	if err != nil {
		return nil, err
	}
	p.checkSet(o.Set)
	docs := p.documents(name, text)
	clusters := 0
	for _, d := range docs {
		if d.kind != kindCluster {
			continue
		}
		if clusters++; clusters > 1 {
			p.bad(manifest.FileLine(name, d.root.Line), "keep one", "the file has a second document of kind Cluster")
			continue
		}
		p.bind(d)
		p.cluster(p.reader(d))
	}
	if clusters == 0 && len(p.problems) == 0 {
		p.bad(manifest.FileLine(name, 1), "", "the file has no document of kind Cluster")
	}
	for _, d := range docs {
		if d.kind != kindCluster {
			p.bind(d)
			p.other(d)
		}
	}
	return p.finish(manifest.FileLine(name, max(p.clusterLine, 1)))
}

// Short gives the Cluster that sealer's short form describes: -m, -n, -u, -p
// and -e without a Clusterfile. masters and nodes are written like
// [Options.Masters]; the hosts of o come behind them.
func Short(masters, nodes []string, o Options) (*Cluster, error) {
	o.Masters = slices.Concat(masters, o.Masters)
	o.Nodes = slices.Concat(nodes, o.Nodes)
	p := newParser(o)
	p.checkSet(o.Set)
	return p.finish(commandLine("-m"))
}

// ParseConfigs reads the Config documents of a Clusterfile, and the files of
// its Applications, and passes everything else over: placeholders may be left
// and hosts missing. It is for those who want to know what a profile changes
// before there is a site.
func ParseConfigs(name string, in io.Reader) ([]Config, []Warning, error) {
	p := newParser(Options{})
	p.lenient = true
	text, err := p.readText(name, in)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range p.documents(name, text) {
		switch d.kind {
		case kindConfig:
			p.config(p.reader(d))
		case kindApplication:
			p.application(p.reader(d))
		}
	}
	if err := p.err(); err != nil {
		return nil, nil, err
	}
	return p.c.Configs, p.warnings, nil
}

// Kinds of documents.
const (
	kindCluster     = "Cluster"
	kindConfig      = "Config"
	kindPlugin      = "Plugin"
	kindApplication = "Application"
)

// kubeadmGroups are the kinds that are handed on to kubeadm, and their groups.
var kubeadmGroups = map[string]string{
	"InitConfiguration":      "kubeadm.k8s.io/",
	"JoinConfiguration":      "kubeadm.k8s.io/",
	"ClusterConfiguration":   "kubeadm.k8s.io/",
	"KubeletConfiguration":   "kubelet.config.k8s.io/",
	"KubeProxyConfiguration": "kubeproxy.config.k8s.io/",
}

// parser turns documents into a Cluster.
type parser struct {
	binder
	c      *Cluster
	o      Options
	visits int
	// clusterLine is where the Cluster document begins.
	clusterLine int
	// old is a Clusterfile of the shape that had no list of hosts.
	old bool
	// app tells that an Application was read.
	app bool
	// ssh is spec.ssh, hosts are those read so far, with their own SSH alone.
	ssh   SSH
	hosts []Host
	// index finds a host by its address; full is set when there are too many.
	index map[string]int
	full  bool
}

func newParser(o Options) *parser {
	r := &report{}
	return &parser{
		binder: binder{report: r, set: o.Set, used: map[string]bool{}},
		c:      &Cluster{Registry: Registry{Domain: DefaultRegistryDomain, Port: DefaultRegistryPort, HA: true}},
		o:      o,
		index:  map[string]int{},
	}
}

func (p *parser) reader(d *document) reader { return reader{p.report, d, &p.visits} }

// bind puts the values of placeholders into a document of a kind that we read.
func (p *parser) bind(d *document) {
	switch d.kind {
	case kindCluster:
		p.binder.bind(d, func(path string) place {
			switch {
			case path == ".spec.cmd[]", path == ".spec.cmd":
				return inScript
			case strings.HasSuffix(path, ".passwd"), strings.HasSuffix(path, ".pkPasswd"), strings.HasSuffix(path, ".password"):
				return inSecret
			}
			return inField
		})
	case kindConfig:
		p.binder.bind(d, func(path string) place {
			if path == ".spec.data" {
				return inContent
			}
			return inField
		})
	case kindApplication:
		p.binder.bind(d, func(path string) place {
			switch {
			case strings.HasSuffix(path, ".data"):
				return inContent
			case strings.HasSuffix(path, ".cmds[]"), strings.HasSuffix(path, ".cmds"):
				return inScript
			}
			return inField
		})
	case kindPlugin:
		script := pluginType(d) == TypeShell
		p.binder.bind(d, func(path string) place {
			if path == ".spec.data" && script {
				return inScript
			}
			return inField
		})
	default:
		if isKubeadm(d) {
			p.binder.bind(d, func(string) place { return inField })
		}
	}
}

func isKubeadm(d *document) bool {
	group, ok := kubeadmGroups[d.kind]
	return ok && (d.apiVersion == "" || strings.HasPrefix(d.apiVersion, group))
}

// other reads a document of another kind than Cluster.
func (p *parser) other(d *document) {
	r := p.reader(d)
	switch {
	case d.kind == kindConfig:
		p.config(r)
	case d.kind == kindPlugin:
		if plugin, ok := r.plugin(p.dialect()); ok {
			p.c.Plugins = append(p.c.Plugins, plugin)
		}
	case d.kind == kindApplication:
		p.application(r)
	case isKubeadm(d):
		p.kubeadm(r)
	case d.kind == "":
		p.warn(r.at(d.root), "the document has no kind; it is ignored")
	default:
		p.warn(r.at(d.root), "documents of kind %.60q are not known here; it is ignored", d.kind)
	}
}

// dialect is that of plugins whose phases have old names.
func (p *parser) dialect() dialect {
	if p.old {
		return dialect05
	}
	return dialect07
}

// finish adds what the command line brings and fills in defaults. at is where
// the hosts belong.
func (p *parser) finish(at manifest.Source) (*Cluster, error) {
	c := p.c
	p.cliHosts(RoleMaster, "-m", p.o.Masters)
	p.cliHosts(RoleNode, "-n", p.o.Nodes)
	for _, e := range p.o.Env {
		p.env(&c.Env, item{e, commandLine("-e")})
	}
	p.ssh = fillSSH(p.o.SSH, p.ssh)
	p.settle(at)
	p.defaults(at)
	p.refuse(p.known(), p.o.SSH.Password != "")
	for _, name := range slices.Sorted(maps.Keys(p.set)) {
		if !p.used[name] {
			p.warn(commandLine("--set "+name), "the Clusterfile has no placeholder %s", name)
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, p.warnings...)
	return c, nil
}

// known are the names of the variables that plugins will see.
func (p *parser) known() map[string]bool {
	names := map[string]bool{}
	for _, e := range p.c.Env {
		names[e.Name] = true
	}
	for _, h := range p.hosts {
		for _, e := range h.Env {
			names[e.Name] = true
		}
	}
	return names
}
