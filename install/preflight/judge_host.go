package preflight

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bundle/manifest"
)

// machine judges what kind of machine the host is, and its size.
func (j *judge) machine() {
	f := j.facts
	if f.Root {
		j.ok("root", "scripts run as root")
	} else {
		j.fail("root", "log in as root, or let the user run sudo without a terminal", "scripts do not run as root")
	}

	platforms := j.needs.Platforms
	fits := len(platforms) == 0 || slices.ContainsFunc(platforms, func(s string) bool {
		p, err := manifest.ParsePlatform(s)
		return err == nil && p.OS == f.Platform.OS && p.Arch == f.Platform.Arch
	})
	switch {
	case f.Platform.Arch == "":
		j.warn("arch", "", "the host does not tell its architecture")
	case !fits:
		j.fail("arch", "build the bundle with --platform "+f.Platform.String(), "the host is %s, and the bundle has images for %s only", f.Platform, join(platforms))
	default:
		j.ok("arch", "%s", f.Platform)
	}

	switch major, minor, ok := versionOf(f.Kernel); {
	case !ok:
		j.warn("kernel", "", "the host does not tell the version of its kernel")
	case major < 3 || major == 3 && minor < 10:
		j.fail("kernel", "containers need Linux 3.10 or later", "the kernel is %s and too old", f.Kernel)
	default:
		j.ok("kernel", "Linux %s", f.Kernel)
	}
	if f.OS.ID == "" {
		j.warn("os", "", "the host does not tell what operating system it has")
	} else {
		j.ok("os", "%s", cmp.Or(f.OS.Name, f.OS.ID))
	}

	j.size("cpu", f.CPUs > 0, fmt.Sprintf("%d CPUs", f.CPUs), func(m Machine) (short bool, wants string) {
		return f.CPUs < m.CPUs, fmt.Sprint(m.CPUs)
	})
	j.size("memory", f.Memory > 0, human(f.Memory)+" of memory", func(m Machine) (short bool, wants string) {
		return f.Memory < m.Memory/100*int64(100-m.Slack), human(m.Memory)
	})
}

// size gives one finding on what all the requirements say of one quantity: the
// firm ones first, then the largest.
func (j *judge) size(check string, known bool, has string, short func(Machine) (bool, string)) {
	if !known {
		j.warn(check, "", "the host does not tell its size")
		return
	}
	for _, firm := range []bool{true, false} {
		for _, m := range slices.Backward(j.host.Machines) {
			if is, wants := short(m); m.Firm == firm && is {
				level := Warning
				if firm {
					level = Error
				}
				j.add(level, check, "", "the host has %s, and %s wants %s", has, m.By, wants)
				return
			}
		}
	}
	j.ok(check, "%s", has)
}

var kernelVersion = regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})`)

func versionOf(s string) (major, minor int, ok bool) {
	m := kernelVersion.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	major, _ = strconv.Atoi(m[1])
	minor, _ = strconv.Atoi(m[2])
	return major, minor, true
}

// disks judges room, what will be left of it, and the disks to be taken over.
func (j *judge) disks() {
	j.usages = usagesOf(j.host.Address, j.host.Space, j.facts.Disks)
	if j.needs.Resuming {
		// What an earlier run put there is not free any more, and is not
		// needed again.
		j.ok("disk", "an earlier run of this install has begun to fill the disks")
	} else {
		j.room()
	}
	var full []string
	for _, d := range j.facts.Disks {
		if d.Inodes > 0 && d.InodesFree < d.Inodes/50 && !slices.Contains(full, d.Mount) {
			full = append(full, d.Mount)
		}
	}
	if full != nil {
		j.fail("inodes", "remove what made so many small files", "%s has nearly no inodes left", join(full))
	} else {
		j.ok("inodes", "there are enough inodes")
	}

	var bad, odd []string
	for _, need := range j.host.Devices {
		i := slices.IndexFunc(j.facts.Devices, func(d Device) bool { return d.Path == need.Path })
		switch {
		case i < 0 || !j.facts.Devices[i].There:
			bad = append(bad, fmt.Sprintf("there is no disk %s, which %s wants", need.Path, need.For))
		case j.needs.Resuming:
		case len(j.facts.Devices[i].Users) > 0:
			bad = append(bad, fmt.Sprintf("disk %s, which %s wants, is in use (%s)", need.Path, need.For, strings.Join(j.facts.Devices[i].Users, ", ")))
		case j.facts.Devices[i].Content != "" && j.facts.Devices[i].Content != "LVM2_member":
			odd = append(odd, fmt.Sprintf("disk %s, which %s wants, holds %s", need.Path, need.For, j.facts.Devices[i].Content))
		}
	}
	const hint = "lsblk -p on the host shows what there is; name a disk that is free"
	switch {
	case bad != nil:
		j.fail("device", hint, "%s", strings.Join(bad, "; "))
	case odd != nil:
		j.warn("device", hint, "%s", strings.Join(odd, "; "))
	default:
		j.ok("device", "%d disks to be taken over are free", len(j.host.Devices))
	}
}

// room compares what is free with what is needed.
func (j *judge) room() {
	var bad, tight, pressed []string
	hint := "free room there, or mount a larger disk"
	for _, u := range j.usages {
		switch {
		case u.Free < u.Firm:
			bad = append(bad, fmt.Sprintf("%s has %s free and needs %s (%s)", u.Mount, human(u.Free), human(u.Need), u.parts()))
		case u.Free < u.Need:
			tight = append(tight, fmt.Sprintf("%s has %s free and may need %s (%s)", u.Mount, human(u.Free), human(u.Need), u.parts()))
		case (u.Free-u.Need)/15*100 < u.Size && slices.ContainsFunc(u.Parts, func(p Part) bool { return p.What == "images" }):
			pressed = append(pressed, u.Mount)
		}
	}
	for _, m := range slices.Backward(j.host.Machines) {
		i := slices.IndexFunc(j.facts.Disks, func(d Disk) bool { return d.Path == "/" })
		if i < 0 || m.Disk <= j.facts.Disks[i].Free {
			continue
		}
		text := fmt.Sprintf("/ has %s free, and %s wants %s", human(j.facts.Disks[i].Free), m.By, human(m.Disk))
		switch {
		case m.Firm && bad == nil:
			bad = append(bad, text)
		case tight == nil:
			tight = append(tight, text)
		}
	}
	switch {
	case bad != nil:
		j.fail("disk", hint, "%s", strings.Join(bad, "; "))
	case tight != nil:
		j.warn("disk", hint, "%s", strings.Join(tight, "; "))
	default:
		j.ok("disk", "there is room for everything")
	}
	if pressed != nil && bad == nil && tight == nil {
		j.warn("disk-pressure", hint, "%s will have less than 15%% free after the install, where the kubelet begins to evict pods", join(pressed))
	} else {
		j.ok("disk-pressure", "enough stays free")
	}
}

// parts writes what a file system must take.
func (u Usage) parts() string {
	var list []string
	for _, p := range u.Parts {
		list = append(list, fmt.Sprintf("%s %s", p.What, human(p.Bytes)))
	}
	return strings.Join(list, ", ")
}

// ourProcesses are those of a cluster and of our registry, as the kernel cuts
// their names.
var ourProcesses = []string{"kubelet", "kube-apiserver", "kube-controller", "kube-scheduler", "etcd", "bundle", "kube-proxy"}

// network judges ports, addresses, routes and names.
func (j *judge) network() {
	f := j.facts
	var taken []string
	for _, p := range j.host.Ports {
		for _, l := range f.Listeners {
			if int(l.Addr.Port()) != p.Number {
				continue
			}
			if slices.Contains(ourProcesses, l.Process) && (j.needs.Resuming || len(f.Leftovers) > 0) {
				break // ours, or said as a leftover already
			}
			by := "by an unknown process"
			if l.PID > 0 {
				by = fmt.Sprintf("by %s (process %d)", cmp.Or(l.Process, "?"), l.PID)
			}
			taken = append(taken, fmt.Sprintf("port %d, which %s needs, is taken %s", p.Number, p.For, by))
			break
		}
	}
	if taken != nil {
		j.fail("port", "stop what listens there: ss -ltnp on the host shows it", "%s", strings.Join(taken, "; "))
	} else {
		j.ok("port", "%d ports are free", len(j.host.Ports))
	}

	want, err := netip.ParseAddr(j.host.Address)
	switch {
	case err != nil, len(f.Addresses) == 0, slices.Contains(f.Addresses, want.Unmap().WithZone("")):
		j.ok("address", "the host has the address")
	default:
		j.fail("address", "name hosts by an address of their own, not by one that is translated", "the host does not have the address %s itself", j.host.Address)
	}
	if len(f.Routes) == 0 {
		j.warn("route", "add one, even to nowhere: ip route add default via GATEWAY", "there is no default route, without which the kubelet may not find its address")
	} else {
		j.ok("route", "the default route goes through %s", f.Routes[0])
	}
	j.hostName()
	j.resolver()
}

var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func (j *judge) hostName() {
	const hint = "set another: hostnamectl set-hostname NAME"
	name := j.needs.nameOf(j.host.Address, j.facts)
	// The kubelet makes it small letters.
	switch lower := strings.ToLower(name); {
	case name == "":
		j.warn("hostname", hint, "the host does not tell its name")
	case lower == "localhost" || strings.HasPrefix(lower, "localhost."):
		j.fail("hostname", hint, "the host name is %s, which cannot be the name of a node", name)
	case len(lower) > 63 || !dnsName.MatchString(lower):
		j.fail("hostname", hint, "the host name %s cannot be the name of a node: only letters, digits, - and dots, at most 63", name)
	default:
		j.ok("hostname", "%s", name)
	}
}

func (j *judge) resolver() {
	f := j.facts
	local := func(list []string) bool {
		return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool {
			a, err := netip.ParseAddr(s)
			return err != nil || !a.IsLoopback()
		})
	}
	const hint = "write one line, such as nameserver GATEWAY, into it; nobody needs to answer there"
	switch {
	case len(f.Nameservers) == 0:
		j.fail("resolv", hint, "/etc/resolv.conf names no server, so CoreDNS will not start")
	case local(f.Nameservers) && len(f.Resolved) == 0:
		j.fail("resolv", hint, "/etc/resolv.conf names only the host itself, so CoreDNS would ask itself in a circle")
	default:
		j.ok("resolv", "/etc/resolv.conf names a server")
	}
}

// system judges what runs on the host and what it can.
func (j *judge) system() {
	f := j.facts
	if len(f.Swaps) > 0 {
		j.warn("swap", "swapoff -a, and take it out of /etc/fstab", "swap is on (%s), which the kubelet refuses unless told otherwise", join(f.Swaps))
	} else {
		j.ok("swap", "swap is off")
	}
	j.leftovers()

	if rt := f.anyActive("docker", "containerd", "crio"); rt != "" && !j.needs.Resuming {
		j.warn("runtime", "remove it, if the bundle brings its own", "%s runs already, and the scripts of the image may not want it as it is", rt)
	} else {
		j.ok("runtime", "no container runtime is in the way")
	}
	if f.Init == "systemd" {
		j.ok("systemd", "systemd runs the host")
	} else {
		j.warn("systemd", "", "the host is not run by systemd but by %s, and images usually bring the kubelet as a systemd unit", cmp.Or(f.Init, "an unknown program"))
	}
	j.cgroup()
	if f.Enforcing {
		j.warn("selinux", "setenforce 0, and SELINUX=permissive in /etc/selinux/config", "SELinux is enforcing, which images are usually not made for")
	} else {
		j.ok("selinux", "SELinux does not interfere")
	}
	if fw := f.anyActive("firewalld", "ufw"); fw != "" {
		j.warn("firewall", "stop it, or open the ports of the cluster and of its network", "the firewall %s runs and may cut hosts and pods off from each other", fw)
	} else {
		j.ok("firewall", "no firewall service runs")
	}

	var absent []string
	for _, m := range j.host.Modules {
		if f.Modules[m] == "missing" {
			absent = append(absent, m)
		}
	}
	if absent != nil {
		j.warn("module", "install the modules that belong to kernel "+f.Kernel, "the kernel has no module %s", join(absent))
	} else {
		j.ok("module", "the kernel has the modules that it needs")
	}
	j.commands()
}

func (j *judge) commands() {
	var bad, odd []string
	for _, c := range j.host.Commands {
		if there, asked := j.facts.Commands[c.Name]; there || !asked {
			continue
		}
		text := fmt.Sprintf("%s (for %s)", c.Name, c.For)
		if c.Firm {
			bad = append(bad, text)
		} else {
			odd = append(odd, text)
		}
	}
	const hint = "install the packages that hold them, from the medium of the operating system"
	switch {
	case bad != nil:
		j.fail("command", hint, "the host lacks %s", join(append(bad, odd...)))
	case odd != nil:
		j.warn("command", hint, "the host lacks %s", join(odd))
	default:
		j.ok("command", "the host has the commands that it needs")
	}
}

func (j *judge) cgroup() {
	f := j.facts
	major, minor, known := versionOf(j.needs.KubeVersion)
	switch {
	case known && f.Cgroup == 2 && (major < 1 || major == 1 && minor < 22):
		j.warn("cgroup", "boot with systemd.unified_cgroup_hierarchy=0", "the host has cgroups v2, which Kubernetes %s does not know well", j.needs.KubeVersion)
	case known && f.Cgroup == 1 && major == 1 && minor >= 35:
		j.warn("cgroup", "boot with systemd.unified_cgroup_hierarchy=1", "the host has cgroups v1, which the kubelet of Kubernetes %s refuses unless told otherwise", j.needs.KubeVersion)
	case f.Cgroup == 0:
		j.warn("cgroup", "mount the cgroup hierarchies on /sys/fs/cgroup", "the host shows no cgroups, without which no container can run")
	default:
		j.ok("cgroup", "cgroups v%d", f.Cgroup)
	}
}

// leftovers judges what an earlier cluster left.
func (j *judge) leftovers() {
	f := j.facts
	if j.needs.Resuming {
		j.ok("leftover", "an earlier run of this install is gone on with")
		return
	}
	var bad, odd []string
	for _, l := range f.Leftovers {
		switch {
		case l.Kind == "dir" && l.Name == "/etc/cni/net.d":
			odd = append(odd, l.Name)
		case l.Kind == "dir" && l.Name == etcdDir && !j.host.Master:
		case l.Kind == "link":
			bad = append(bad, "the interface "+l.Name)
		default:
			bad = append(bad, l.Name)
		}
	}
	if u, ok := f.unit("kubelet"); ok && u.Active {
		bad = append(bad, "a running kubelet")
	}
	const hint = "bundle clean -f CLUSTERFILE takes them away"
	switch {
	case bad != nil:
		j.fail("leftover", hint, "an earlier cluster left %s", join(bad))
	case odd != nil:
		j.warn("leftover", "remove it, unless it is meant for this cluster", "%s holds a network configuration already, which the container runtime will take", join(odd))
	default:
		j.ok("leftover", "nothing of an earlier cluster is left")
	}
}
