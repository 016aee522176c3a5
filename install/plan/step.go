package plan

import (
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
)

// Step is one step of an install, with the hosts that it runs on.
type Step struct {
	manifest.Step
	// Hosts by address, in order. Steps that talk to the API server name
	// master0.
	Hosts []string `json:"hosts"`
	// Serial steps take one host after the other, the rest all at once.
	Serial bool `json:"serial,omitempty"`
	// Script is what a host.script or exec step hands to bash, as it stands.
	Script string `json:"-"`
	// Dir is where it runs; absolute.
	Dir string `json:"-"`
}

// Plan is everything an install does, in order.
type Plan struct {
	Steps    []Step    `json:"steps"`
	Warnings []Warning `json:"warnings,omitempty"`
}

// Warning is something a person should know before the plan is run.
type Warning struct {
	Source manifest.Source `json:"source,omitempty"`
	Text   string          `json:"text"`
}
