package preflight

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

// Needs is what an install asks of the hosts.
type Needs struct {
	Hosts []HostNeeds
	// Rootfs is where the root file system will lie.
	Rootfs string
	// Platforms that the bundle has images for; empty asks for none.
	Platforms []string
	// KubeVersion is the version of Kubernetes in the bundle, "v1.20.4" for
	// instance, or empty where it is not known.
	KubeVersion string
	// Resuming says that the journal has this very install: what an earlier
	// run made is no leftover, and our own processes may hold their ports.
	Resuming bool
	// Ignore are checks whose errors shall not stop the install.
	Ignore []string
}

// HostNeeds is what is asked of one host.
type HostNeeds struct {
	Address string
	Master  bool
	// Name is the host name that the install will set; empty keeps the one
	// that is there.
	Name     string
	Space    []Space
	Machines []Machine
	Ports    []Port
	Commands []Command
	Modules  []string
	Devices  []DeviceNeed
}

// Space is room that something takes.
type Space struct {
	// Path is the folder that it is put into.
	Path string
	// What it is, for a person: "the bundle".
	What string
	// Bytes at the most. Firm is the part of them without which the install
	// cannot end well; the rest depends on where pods will run.
	Bytes, Firm int64
}

// Machine is the least size of a machine.
type Machine struct {
	CPUs   int
	Memory int64
	// Disk is what must be free of the root file system.
	Disk int64
	// By says who asks: "kubeadm".
	By string
	// Firm requirements are errors, the others warnings.
	Firm bool
	// Slack is the part of Memory, in percent, that may be missing: firmware
	// and kernel keep some of what was bought.
	Slack int
}

// Port must be free.
type Port struct {
	Number int
	For    string
}

// Command must be installed.
type Command struct {
	Name string
	// For says who calls it.
	For  string
	Firm bool
}

// DeviceNeed is a block device that the install takes over.
type DeviceNeed struct {
	Path, For string
}

// Inputs are what [NeedsOf] computes from.
type Inputs struct {
	Contents *manifest.Contents
	// BundleSize is the sum of the bundle's files, in bytes.
	BundleSize int64
	Cluster    *cluster.Cluster
	// Steps of the plan say on which hosts what happens. Without them it is
	// assumed to be what a first install of the cluster does.
	Steps []plan.Step
	// InPlace says that the first master is this machine, and serves the
	// bundle from where it lies.
	InPlace bool
	// NodePorts that services of the bundle will take on every host.
	NodePorts []int
	// KubeVersion, if it is known.
	KubeVersion string
	// ImageBytes is the sum of the blobs of all images for one platform, each
	// once. 0 estimates it from the contents.
	ImageBytes int64
}

// NeedsOf says what installing a bundle asks of the hosts of a cluster.
func NeedsOf(in Inputs) Needs {
	n := Needs{Rootfs: in.Cluster.Rootfs(), Platforms: in.Contents.Platforms, KubeVersion: in.KubeVersion}
	u := usesOf(in)
	names := hostNames(in.Cluster)
	ack, machines := recommended(in.Contents, u)
	for i, h := range in.Cluster.Hosts {
		hn := HostNeeds{
			Address: h.Address, Master: h.Master(), Name: names[h.Address],
			Space:   spaceOf(in, u, i),
			Ports:   portsOf(in, u, h),
			Modules: []string{"overlay", "br_netfilter"},
			Devices: u.devices[h.Address],
		}
		hn.Machines = append(hn.Machines, kubeadmMachine(h.Master()))
		for _, m := range machines {
			hn.Machines = append(hn.Machines, m(h.Master()))
		}
		hn.Machines = append(hn.Machines, labelled(in.Contents.Labels, h.Master())...)
		hn.Commands = commandsOf(in.Contents, u.lvm[h.Address])
		if ack || len(u.masters) > 1 {
			hn.Modules = append(hn.Modules, "ip_vs")
		}
		n.Hosts = append(n.Hosts, hn)
	}
	return n
}

// uses says what the plan does where.
type uses struct {
	masters  []string
	registry map[string]bool
	place    map[string]bool
	// lvm is the script on a host that makes volume groups, if any.
	lvm     map[string]string
	devices map[string][]DeviceNeed
}

func usesOf(in Inputs) uses {
	u := uses{
		registry: map[string]bool{}, place: map[string]bool{},
		lvm: map[string]string{}, devices: map[string][]DeviceNeed{},
	}
	for _, h := range in.Cluster.Hosts {
		if h.Master() {
			u.masters = append(u.masters, h.Address)
		}
	}
	if len(in.Steps) == 0 {
		for _, m := range u.masters {
			u.registry[m], u.place[m] = true, true
		}
	}
	for _, s := range in.Steps {
		for _, h := range s.Hosts {
			switch s.Kind {
			case plan.KindRegistryStart:
				u.registry[h] = true
			case plan.KindBundlePlace:
				u.place[h] = true
			case plan.KindHostScript, manifest.StepExec:
				u.script(h, s)
			}
		}
	}
	u.disks(in.Cluster)
	return u
}

// takesDisk finds lines that set a variable or make something on a disk.
var takesDisk = regexp.MustCompile(`^\s*(?:export\s+)?[A-Za-z_]+=|\b(?:vgcreate|pvcreate|wipefs|parted|sgdisk|fdisk|mkfs)\b`)

// script looks for what a script takes over or calls for.
func (u uses) script(host string, s plan.Step) {
	text := withoutComments(s.Script)
	if strings.Contains(text, "vgcreate") && u.lvm[host] == "" {
		u.lvm[host] = string(s.Source)
	}
	for _, line := range strings.Split(text, "\n") {
		if !takesDisk.MatchString(line) {
			continue
		}
		for _, d := range blockDevices(line) {
			u.device(host, d, string(s.Source))
		}
	}
}

func (u uses) device(host, path, by string) {
	if !slices.ContainsFunc(u.devices[host], func(d DeviceNeed) bool { return d.Path == path }) {
		u.devices[host] = append(u.devices[host], DeviceNeed{Path: path, For: by})
	}
}

// disks takes up the variables by which an image is told its disks.
func (u uses) disks(c *cluster.Cluster) {
	for _, h := range c.Hosts {
		for _, v := range slices.Concat(c.Env, h.Env) {
			if !strings.HasSuffix(v.Name, "Device") || v.Name == "EtcdDevice" && !h.Master() {
				continue
			}
			for d := range strings.SplitSeq(v.Value, ",") {
				for _, path := range blockDevices(d) {
					u.device(h.Address, path, "the variable "+v.Name)
				}
			}
		}
	}
}

// hostNames gives the names that plugins of type HOSTNAME set.
func hostNames(c *cluster.Cluster) map[string]string {
	names := map[string]string{}
	for _, p := range c.Plugins {
		if p.Type != "HOSTNAME" {
			continue
		}
		for line := range strings.Lines(p.Data) {
			if f := strings.Fields(line); len(f) == 2 {
				names[f[0]] = f[1]
			}
		}
	}
	return names
}

// portsOf are the ports that the install listens on, as kubeadm lists them.
func portsOf(in Inputs, u uses, h cluster.Host) []Port {
	list := []Port{{10250, "the kubelet"}}
	if h.Master() {
		list = append(list,
			Port{6443, "the API server"}, Port{2379, "etcd"}, Port{2380, "etcd"},
			Port{10257, "the controller manager"}, Port{10259, "the scheduler"})
	}
	if u.registry[h.Address] {
		list = append(list, Port{cmp.Or(in.Cluster.Registry.Port, 5000), "the registry"})
	}
	for _, p := range in.NodePorts {
		list = append(list, Port{p, "a service"})
	}
	slices.SortFunc(list, func(a, b Port) int { return cmp.Compare(a.Number, b.Number) })
	return slices.CompactFunc(list, func(a, b Port) bool { return a.Number == b.Number })
}

// commandsOf are the commands that kubeadm and the kubelet call for; what the
// bundle brings along need not be there. Where it brings packages nobody can
// tell what is in them, so nothing is firm. lvm is who makes volume groups.
func commandsOf(c *manifest.Contents, lvm string) []Command {
	const kubeadm = "kubeadm"
	list := []Command{
		{"tar", "unpacking", true},
		{"mount", kubeadm, true}, {"ip", kubeadm, true}, {"iptables", kubeadm, true},
		{"nsenter", kubeadm, true}, {"conntrack", kubeadm, true},
		{"socat", kubeadm, false}, {"ethtool", kubeadm, false}, {"tc", kubeadm, false},
	}
	list = slices.DeleteFunc(list, func(cmd Command) bool { return brings(c, cmd.Name) })
	if lvm != "" && !brings(c, "lvm2") && !brings(c, "vgcreate") {
		list = append(list, Command{"vgcreate", lvm, true})
	}
	if packages(c) {
		for i := range list {
			list[i].Firm = false
		}
	}
	return list
}

// packages tells whether the root file system brings packages of an operating
// system, or archives that its scripts unpack on the host.
func packages(c *manifest.Contents) bool {
	return slices.ContainsFunc(c.Files, func(f manifest.File) bool {
		top, _, below := strings.Cut(f.Path, "/")
		return f.Type == "file" && below && slices.Contains([]string{"rpm", "deb", "tgz"}, top)
	})
}

// brings tells whether the root file system holds a program or its package.
func brings(c *manifest.Contents, name string) bool {
	return slices.ContainsFunc(c.Files, func(f manifest.File) bool {
		base := f.Path[strings.LastIndexByte(f.Path, '/')+1:]
		return f.Type != "dir" && (base == name ||
			strings.HasPrefix(base, name+"-") && strings.HasSuffix(base, ".rpm") ||
			strings.HasPrefix(base, name+"_") && strings.HasSuffix(base, ".deb"))
	})
}

// Query gives what a host must be asked for the needs to be judged.
func (n Needs) Query(address string) Query {
	q := Query{Rootfs: n.Rootfs, Paths: []string{"/"}}
	for _, h := range n.Hosts {
		if h.Address != address {
			continue
		}
		for _, s := range h.Space {
			if !slices.Contains(q.Paths, s.Path) {
				q.Paths = append(q.Paths, s.Path)
			}
		}
		for _, c := range h.Commands {
			q.Commands = append(q.Commands, c.Name)
		}
		for _, d := range h.Devices {
			q.Devices = append(q.Devices, d.Path)
		}
		q.Modules = h.Modules
	}
	return q
}
