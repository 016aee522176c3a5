package cluster

import (
	"log/slog"
	"net"
	"strconv"

	"bundle/manifest"
)

// Roles that every dialect knows.
const (
	RoleMaster = "master"
	RoleNode   = "node"
)

// Defaults of fields that a Clusterfile leaves out.
const (
	DefaultName     = "my-cluster"
	DefaultDataRoot = "/var/lib/sealer/data"
	DefaultSSHPort  = 22
	DefaultUser     = "root"

	DefaultRegistryDomain = "sea.hub"
	DefaultRegistryPort   = 5000
)

// Secret is a text that must never be printed: every way of formatting it
// gives a placeholder. Reveal gives the text.
type Secret string

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String implements [fmt.Stringer].
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return s.String() }

// MarshalText keeps secrets out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Cluster is what a Clusterfile, or sealer's short form, asks for.
type Cluster struct {
	Name string
	// Image is the cluster image that the Clusterfile names; a bundle answers
	// for it, whatever it says.
	Image string
	// Hosts in order: masters first. Hosts[0] is master0.
	Hosts []Host
	// Env are the variables of all hosts; a later one of the same name wins.
	Env []manifest.EnvVar
	// PodCIDR and ServiceCIDR are empty where the Clusterfile leaves them to
	// the image; several, one for each IP family, are separated by commas.
	PodCIDR, ServiceCIDR string
	CertSANs             []string
	// Runtime is "docker", "containerd" or empty.
	Runtime  string
	Registry Registry
	Aliases  []Alias
	// Cmd replaces the bundle's own launch commands, Apps its LAUNCH list;
	// nil leaves them. CmdArgs are values for the ARGs of a Kubefile.
	Cmd, Apps, CmdArgs []string
	// CmdSources and AppsSource are the lines of Cmd, one each, and of Apps;
	// they may be missing.
	CmdSources []manifest.Source
	AppsSource manifest.Source
	// DataRoot is the folder on a host that holds NAME/rootfs.
	DataRoot string
	// Kubeadm are the documents of kubeadm's and the kubelet's kinds.
	Kubeadm []Document
	Configs []Config
	Plugins []Plugin
	// Launches replace what starts single applications.
	Launches []Launch
	// Warnings are oddities that do not stop an install.
	Warnings []Warning
}

// Rootfs is where the root file system lies on every host.
func (c *Cluster) Rootfs() string { return c.DataRoot + "/" + c.Name + "/rootfs" }

// Host is one machine of the cluster.
type Host struct {
	// Address is the IP address; it is also the host's name in messages,
	// plans and the journal.
	Address string
	// Roles are RoleMaster or RoleNode, and free ones, which become
	// node-role labels.
	Roles  []string
	Env    []manifest.EnvVar
	SSH    SSH
	Labels map[string]string
	// Taints are "k=v:Effect", or with a trailing "-" those to remove.
	Taints []string
	Source manifest.Source
}

// Master tells whether the host is a control plane.
func (h Host) Master() bool { return h.Has(RoleMaster) }

// Has tells whether the host has the role.
func (h Host) Has(role string) bool {
	for _, r := range h.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// SSH says how to reach a host. All fields are filled in: a host's own values,
// then the cluster's, then the defaults. Without password and key the agent
// and the user's default keys are tried.
type SSH struct {
	User        string
	Port        int
	Password    Secret
	KeyFile     string
	KeyPassword Secret
}

// Registry says under which names the registry on site answers.
type Registry struct {
	// Domain and Port are where nodes find it; sea.hub and 5000 by default.
	Domain   string
	Port     int
	Username string
	Password Secret
	// HA asks for one on every master; sealer's default.
	HA bool
	// Insecure asks for no TLS.
	Insecure bool
	// CertNames are further names and addresses of its certificate.
	CertNames []string
	// External is the domain of a registry that the site runs itself, with
	// port if it has one; empty where there is none.
	External         string
	ExternalUsername string
	ExternalPassword Secret
}

// URL is the registry's domain and port.
func (r Registry) URL() string { return net.JoinHostPort(r.Domain, strconv.Itoa(r.Port)) }

// Launch is the commands that start one application, in place of its own.
// They run in the application's folder, see [AppDir].
type Launch struct {
	App    string
	Cmds   []string
	Source manifest.Source
}

// AppDir is the folder of an application in the root file system.
func AppDir(app string) string { return "application/apps/" + app }

// Alias is one line of every host's /etc/hosts.
type Alias struct {
	IP    string
	Names []string
}

// Document is one YAML document that is handed on as it is.
type Document struct {
	APIVersion, Kind string
	Text             string
	Source           manifest.Source
}

// Config is one file of the root file system that is replaced or merged into.
type Config struct {
	Name string
	// Path is clean and relative to the root file system.
	Path string
	Data string
	// Strategy is "overwrite" or "merge"; Process are the processors, in
	// order: value, toJson, toBase64, toSecret.
	Strategy string
	Process  []string
	// App is set where Path is relative to application/apps/APP; Path already
	// has that prefix.
	App    string
	Source manifest.Source
}

// Plugin is one script, or one list of host names, labels or taints, that
// runs in a phase.
type Plugin struct {
	Name string
	// Type is "SHELL", "HOSTNAME", "LABEL", "TAINT", "ETCD" or "CLUSTERCHECK".
	Type string
	// Phases are normalised, see the Phase constants.
	Phases []Phase
	// Hook is set where the phases are spelled as sealer 0.9 and later do
	// (pre-init-host): then post-install comes before the commands, and a
	// phase of hosts without a selector means no host.
	Hook bool
	// On are the selectors as written; see [Cluster.Select].
	On   []string
	Data string
	// Line is the line of the file that the first line of Data is on, 0 where
	// it is not known.
	Line   int
	Source manifest.Source
}

// Types of plugins. Only TypeShell is a script; the data of the others is a
// table, see [Cluster.Table].
const (
	TypeShell        = "SHELL"
	TypeHostname     = "HOSTNAME"
	TypeLabel        = "LABEL"
	TypeTaint        = "TAINT"
	TypeETCD         = "ETCD"
	TypeClusterCheck = "CLUSTERCHECK"
)

// Phase is a moment of an install, an uninstall or a change of hosts.
type Phase string

// The phases of all dialects, under one name each. In brackets what the
// dialects call them.
const (
	PhaseOriginally    Phase = "originally"     // [Originally] before anything, all hosts
	PhasePreInstall    Phase = "pre-install"    // [pre-install] once, on master0; [PreInstall] sealer never ran
	PhasePreInit       Phase = "pre-init"       // [PreInit, pre-init-host] each host, before the runtime
	PhasePostInit      Phase = "post-init"      // [post-init-host] each host, after kubeadm
	PhasePreGuest      Phase = "pre-guest"      // [PreGuest] after kubeadm, before the commands
	PhasePostInstall   Phase = "post-install"   // [PostInstall, post-install] after the commands
	PhasePreJoin       Phase = "pre-join"       // [PreJoin]
	PhasePostJoin      Phase = "post-join"      // [PostJoin]
	PhasePreScaleUp    Phase = "pre-scaleup"    // [pre-scaleup]
	PhasePostScaleUp   Phase = "post-scaleup"   // [post-scaleup]
	PhasePreClean      Phase = "pre-clean"      // [PreClean, pre-clean-host]
	PhasePostClean     Phase = "post-clean"     // [PostClean, post-clean-host]
	PhasePreUninstall  Phase = "pre-uninstall"  // [pre-uninstall]
	PhasePostUninstall Phase = "post-uninstall" // [post-uninstall]
	PhaseUpgrade       Phase = "upgrade"        // [upgrade]
	PhaseUpgradeHost   Phase = "upgrade-host"   // [upgrade-host]
	PhaseRollback      Phase = "rollback"       // [rollback]
)

// Warning is an oddity of an input that does not stop an install.
type Warning struct {
	Source manifest.Source
	Text   string
}

// Secrets gives every secret of the cluster, for those who blot out logs.
func (c *Cluster) Secrets() []Secret {
	var list []Secret
	seen := map[Secret]bool{"": true}
	add := func(secrets ...Secret) {
		for _, s := range secrets {
			if !seen[s] {
				seen[s] = true
				list = append(list, s)
			}
		}
	}
	for _, h := range c.Hosts {
		add(h.SSH.Password, h.SSH.KeyPassword)
	}
	add(c.Registry.Password, c.Registry.ExternalPassword)
	return list
}
