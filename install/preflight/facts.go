package preflight

import (
	"net/netip"
	"time"

	"bundle/manifest"
)

// Facts are what a host says about itself. Texts are short and printable.
// What a host did not tell is the zero value.
type Facts struct {
	OS OS `json:"os"`
	// Kernel is the release, as uname -r prints it.
	Kernel   string            `json:"kernel"`
	Platform manifest.Platform `json:"-"`
	CPUs     int               `json:"cpus"`
	// Memory is the total, in bytes.
	Memory   int64  `json:"memory"`
	Root     bool   `json:"root"`
	HostName string `json:"hostName"`
	// Init is the name of process 1, "systemd" where that runs the host.
	Init string `json:"init"`
	// Cgroup is the version of the hierarchy: 1, 2, or 0 where unknown.
	Cgroup int `json:"cgroup"`
	// Enforcing tells that SELinux refuses what its policy does not allow.
	Enforcing bool `json:"enforcing"`

	// Disks are one for each path of the query, in its order.
	Disks     []Disk     `json:"disks"`
	Listeners []Listener `json:"-"`
	Swaps     []string   `json:"swaps,omitempty"`
	// Nameservers are those of /etc/resolv.conf, Resolved those that
	// systemd-resolved asks.
	Nameservers []string   `json:"nameservers,omitempty"`
	Resolved    []string   `json:"resolved,omitempty"`
	Leftovers   []Leftover `json:"leftovers,omitempty"`
	Units       []Unit     `json:"-"`
	// Modules and Commands that were asked for.
	Modules   map[string]string `json:"-"`
	Commands  map[string]bool   `json:"-"`
	Devices   []Device          `json:"devices,omitempty"`
	Links     []Link            `json:"-"`
	Routes    []string          `json:"-"`
	Addresses []netip.Addr      `json:"addresses,omitempty"`
	MachineID string            `json:"machineID,omitempty"`
	ProductID string            `json:"productID,omitempty"`

	// Time is what the host's clock said at a moment between Before and
	// After on ours.
	Time          time.Time `json:"time"`
	Before, After time.Time `json:"-"`
}

// OS names an operating system, by the fields of os-release.
type OS struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Name    string `json:"name"`
}

// Disk is the file system that holds a path, or will.
type Disk struct {
	Path   string `json:"path"`
	Device string `json:"device"`
	Mount  string `json:"mount"`
	// Size and Free are bytes, Free what is left to anybody but root.
	Size int64 `json:"size"`
	Free int64 `json:"free"`
	// Inodes is 0 for file systems that make them as they go.
	Inodes     int64 `json:"inodes,omitempty"`
	InodesFree int64 `json:"inodesFree,omitempty"`
}

// Listener is a TCP port that a process listens on.
type Listener struct {
	Addr netip.AddrPort
	// PID and Process are 0 and empty where the owner cannot be seen.
	PID     int
	Process string
}

// Leftover is a trace of an earlier cluster. Kind is "file", "dir" or "link".
type Leftover struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Unit is a systemd service that is installed.
type Unit struct {
	Name   string
	Active bool
}

// Device is a block device that was asked for.
type Device struct {
	Path  string `json:"path"`
	There bool   `json:"there"`
	// Size in bytes.
	Size int64 `json:"size,omitempty"`
	// Users are what uses it: where it is mounted, its partitions, the
	// volumes on it.
	Users []string `json:"users,omitempty"`
	// Content is the type of file system or volume that it holds.
	Content string `json:"content,omitempty"`
}

// Link is a network interface.
type Link struct {
	Name, MAC string
	// Real tells that a device is behind it.
	Real bool
}

// unit finds an installed service.
func (f *Facts) unit(name string) (Unit, bool) {
	for _, u := range f.Units {
		if u.Name == name {
			return u, true
		}
	}
	return Unit{}, false
}

// anyActive tells which of the services runs first.
func (f *Facts) anyActive(names ...string) string {
	for _, n := range names {
		if u, ok := f.unit(n); ok && u.Active {
			return n
		}
	}
	return ""
}
