package plan

import (
	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

// Kinds of the steps that the installer itself brings, besides the kinds of
// package manifest.
const (
	KindPreflight     = "preflight"      // look at every host, touch nothing
	KindBundlePlace   = "bundle.place"   // put the bundle and our binary on a host, once
	KindRegistryStart = "registry.start" // run bundle serve as a service
	KindRegistryTrust = "registry.trust" // hosts block, CA, hosts.toml, daemon.json
	KindRootfsPull    = "rootfs.pull"    // root file system from the registry, digests checked
	KindFilesWrite    = "files.write"    // what Configs and templates changed
	KindHostScript    = "host.script"    // a plugin or a script of the image, on its hosts
	KindHostName      = "host.name"      // set the host name
	KindKubeadmInit   = "kubeadm.init"
	KindKubeadmJoin   = "kubeadm.join"
	KindNodeLabels    = "node.labels" // roles, labels and taints that the Clusterfile asks for
	KindCheck         = "check"       // acceptance

	// Only in a [CleanPlan].
	KindKubeadmReset = "kubeadm.reset"
	KindSiteClean    = "site.clean"    // everything that registry.* and bundle.place did
	KindRootfsRemove = "rootfs.remove" // the root file system and what we wrote into it
)

// Step is one step of an install, with the hosts that it runs on.
type Step struct {
	manifest.Step
	// Hosts by address, in order. Steps that talk to the API server name
	// master0.
	Hosts []string `json:"hosts"`
	// Serial steps take one host after the other, the rest all at once.
	Serial bool `json:"serial,omitempty"`
	// Together steps look at all hosts in one go, as the task of the first.
	Together bool `json:"together,omitempty"`
	// Script is what a host.script or exec step hands to bash, as it stands.
	Script string `json:"-"`
	// Dir is where it runs; absolute, or empty for root's home.
	Dir string `json:"-"`
	// After are the plugins of the same phase that have to run before,
	// because a dialect orders them by a name.
	After []string `json:"after,omitempty"`
	// Undoes are earlier steps that this one takes back. Where one of them
	// runs again, so has this one, whatever it removes.
	Undoes []string `json:"undoes,omitempty"`
	// Dangers are the lines that remove data.
	Dangers []Line `json:"dangers,omitempty"`
	// Content is a digest of what the step reads: files of the bundle,
	// Configs, variables. It is empty where that is unknown.
	Content string `json:"content,omitempty"`
}

// Tasks gives the hosts that the step is run for: all of its hosts, or the
// first one where it deals with all of them in one go.
func (s Step) Tasks() []string {
	if s.Together && len(s.Hosts) > 1 {
		return s.Hosts[:1]
	}
	return s.Hosts
}

// Opaque tells whether the step is shell text that nobody here understands.
func (s Step) Opaque() bool { return s.Kind == manifest.StepExec || s.Kind == KindHostScript }

// Line is one line of a script.
type Line struct {
	Source manifest.Source `json:"source"`
	Text   string          `json:"text"`
}

// Operations.
const (
	Install = "install"
	Clean   = "clean"
)

// Plan is everything an install, or a cleaning, does, in order.
type Plan struct {
	Operation string `json:"operation"`
	Cluster   string `json:"cluster"`
	// Bundle and Version name the bundle, IndexDigest pins its content.
	Bundle      string        `json:"bundle"`
	Version     string        `json:"version"`
	IndexDigest digest.Digest `json:"indexDigest,omitempty"`
	// PluginOrder says in words how the plugins of one phase are ordered.
	PluginOrder string    `json:"pluginOrder,omitempty"`
	Steps       []Step    `json:"steps"`
	Warnings    []Warning `json:"warnings,omitempty"`
}

// Step gives a step by its ID.
func (p *Plan) Step(id string) (Step, bool) {
	for _, s := range p.Steps {
		if s.ID == id {
			return s, true
		}
	}
	return Step{}, false
}

// Destructive gives the steps that remove data, in order.
func (p *Plan) Destructive() []Step {
	var out []Step
	for _, s := range p.Steps {
		if s.Destructive {
			out = append(out, s)
		}
	}
	return out
}

// Warning is something a person should know before the plan is run.
type Warning struct {
	Source manifest.Source `json:"source,omitempty"`
	Text   string          `json:"text"`
}
