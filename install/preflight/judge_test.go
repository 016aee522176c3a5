package preflight

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bundle/install/host"
	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

// TestGoodHostsPass wants nothing but ok of four good hosts, one finding for
// each check on each.
func TestGoodHostsPass(t *testing.T) {
	r := Judge(needs(t), four(t))
	for _, f := range r.Findings {
		if f.Level != OK {
			t.Errorf("%+v", f)
		}
	}
	if !r.OK || r.Err() != nil || len(r.Findings) != 4*len(Checks) {
		t.Errorf("ok %v, error %v, %d findings", r.OK, r.Err(), len(r.Findings))
	}
	for _, h := range r.Hosts {
		for _, c := range Checks {
			n := 0
			for _, f := range r.Findings {
				if f.Host == h.Host && f.Check == c {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d findings of check %s on %s", n, c, h.Host)
			}
		}
	}
	var text bytes.Buffer
	if err := r.Text(&text, false); err != nil {
		t.Fatal(err)
	}
	golden(t, "good.golden", text.Bytes())
}

// TestEachBadThingIsOneSentence breaks one thing at a time on a good cluster
// and wants exactly one finding for it.
func TestEachBadThingIsOneSentence(t *testing.T) {
	type world struct {
		n     *Needs
		hosts []HostFacts
	}
	first := func(change func(*Facts)) func(world) {
		return func(w world) { change(w.hosts[0].Facts) }
	}
	tests := []struct {
		name   string
		breaks func(world)
		want   string // "HOST LEVEL CHECK: MESSAGE"
	}{
		{"host down", func(w world) {
			w.hosts[1] = HostFacts{Host: "10.0.0.2", Err: &host.Error{Host: "10.0.0.2", Class: host.ErrConnection, Reason: "cannot be reached: dial tcp 10.0.0.2:22: i/o\n timeout"}}
		}, "10.0.0.2 error reach: the host cannot be reached: dial tcp 10.0.0.2:22: i/o timeout"},
		{"wrong password", func(w world) {
			w.hosts[1] = HostFacts{Host: "10.0.0.2", Err: fmt.Errorf("preflight: %w", &host.Error{Host: "10.0.0.2", Class: host.ErrAuth, Reason: "refuses the login of root", Next: "check the password"})}
		}, "10.0.0.2 error reach: the host refuses the login of root"},
		{"odd answer", func(w world) { w.hosts[1] = HostFacts{Host: "10.0.0.2", Err: ErrFacts} }, "10.0.0.2 error reach: the host's answer cannot be read"},
		{"nobody asked", func(w world) { w.hosts[1] = HostFacts{Host: "other"} }, "10.0.0.2 error reach: nobody asked the host for its facts"},
		{"no root", first(func(f *Facts) { f.Root = false }), "10.0.0.1 error root: scripts do not run as root"},
		{"wrong architecture", func(w world) { w.n.Platforms = []string{"linux/amd64"} },
			"10.0.0.4 error arch: the host is linux/arm64, and the bundle has images for linux/amd64 only"},
		{"unknown architecture", first(func(f *Facts) { f.Platform = manifest.Platform{} }), "10.0.0.1 warning arch: the host does not tell its architecture"},
		{"old kernel", first(func(f *Facts) { f.Kernel = "2.6.32-754.el6" }), "10.0.0.1 error kernel: the kernel is 2.6.32-754.el6 and too old"},
		{"no kernel", first(func(f *Facts) { f.Kernel = "" }), "10.0.0.1 warning kernel: the host does not tell the version of its kernel"},
		{"no system", first(func(f *Facts) { f.OS = OS{} }), "10.0.0.1 warning os: the host does not tell what operating system it has"},
		{"one CPU", first(func(f *Facts) { f.CPUs = 1 }), "10.0.0.1 error cpu: the host has 1 CPUs, and kubeadm wants 2"},
		{"no CPU", first(func(f *Facts) { f.CPUs = 0 }), "10.0.0.1 warning cpu: the host does not tell its size"},
		{"little memory", first(func(f *Facts) { f.Memory = 1 << 30 }), "10.0.0.1 error memory: the host has 1.0 GiB of memory, and kubeadm wants 1.7 GiB"},
		{"a product wants more", func(w world) {
			w.n.Hosts[0].Machines = append(w.n.Hosts[0].Machines, Machine{CPUs: 16, Memory: 12 * gib, By: "CNStack with all functions", Slack: 10})
		}, "10.0.0.1 warning cpu: the host has 8 CPUs, and CNStack with all functions wants 16"},
		{"full disk", first(func(f *Facts) {
			for i := range f.Disks {
				f.Disks[i].Free = min(f.Disks[i].Free, 1<<30)
			}
		}), "10.0.0.1 error disk: /var/lib has 1.0 GiB free and needs 9.7 GiB (the bundle 3.0 GiB, our program 128.0 MiB, the root file system 100.0 MiB, images 3.5 GiB, etcd 2.0 GiB, pods 1.0 GiB)"},
		{"tight disk", first(func(f *Facts) {
			for i := range f.Disks {
				f.Disks[i].Free = min(f.Disks[i].Free, 5<<30)
			}
		}), "10.0.0.1 warning disk: /var/lib has 5.0 GiB free and may need 9.7 GiB (the bundle 3.0 GiB, our program 128.0 MiB, the root file system 100.0 MiB, images 3.5 GiB, etcd 2.0 GiB, pods 1.0 GiB)"},
		{"disk pressure", first(func(f *Facts) {
			for i := range f.Disks {
				f.Disks[i].Free = min(f.Disks[i].Free, 20<<30)
			}
		}), "10.0.0.1 warning disk-pressure: /var/lib will have less than 15% free after the install, where the kubelet begins to evict pods"},
		{"a product wants room", func(w world) {
			w.n.Hosts[0].Machines = append(w.n.Hosts[0].Machines, Machine{Disk: 200 * gib, By: "CNStack"})
		}, "10.0.0.1 warning disk: / has 97.3 GiB free, and CNStack wants 200.0 GiB"},
		{"the bundle wants room", func(w world) {
			w.n.Hosts[0].Machines = append(w.n.Hosts[0].Machines, Machine{Disk: 200 * gib, By: "the bundle", Firm: true})
		}, "10.0.0.1 error disk: / has 97.3 GiB free, and the bundle wants 200.0 GiB"},
		{"no inodes", first(func(f *Facts) {
			for i := range f.Disks {
				if f.Disks[i].Mount == "/var/lib" {
					f.Disks[i].InodesFree = 12
				}
			}
		}), "10.0.0.1 error inodes: /var/lib has nearly no inodes left"},
		{"taken port", first(func(f *Facts) {
			f.Listeners = append(f.Listeners, Listener{Addr: netip.MustParseAddrPort("0.0.0.0:5000"), PID: 812, Process: "docker-registry"})
		}), "10.0.0.1 error port: port 5000, which the registry needs, is taken by docker-registry (process 812)"},
		{"taken port of nobody", first(func(f *Facts) {
			f.Listeners = append(f.Listeners, Listener{Addr: netip.MustParseAddrPort("[::]:30088")})
		}), "10.0.0.1 error port: port 30088, which a service needs, is taken by an unknown process"},
		{"a port of ours without leftovers", first(func(f *Facts) {
			f.Listeners = append(f.Listeners, Listener{Addr: netip.MustParseAddrPort("[::]:2379"), PID: 9, Process: "etcd"})
		}), "10.0.0.1 error port: port 2379, which etcd needs, is taken by etcd (process 9)"},
		{"clock ten minutes off", first(func(f *Facts) { f.Time = f.Time.Add(10 * time.Minute) }), "10.0.0.1 error clock: the clock is 9m58s ahead of the other clocks"},
		{"clock seconds off", first(func(f *Facts) { f.Time = f.Time.Add(-20 * time.Second) }), "10.0.0.1 warning clock: the clock is 19s behind the other clocks"},
		{"our clock off", func(w world) {
			for _, h := range w.hosts {
				h.Facts.Time = h.Facts.Time.Add(time.Hour)
			}
		}, " error clock: the clock of this machine is 59m59s behind the other clocks"},
		{"no clock", first(func(f *Facts) { f.Time = time.Time{} }), "10.0.0.1 warning clock: the host does not tell what its clock says"},
		{"nothing keeps the clock", first(func(f *Facts) { f.Units = nil }), "10.0.0.1 warning time-sync: nothing keeps the clock in step with the other hosts"},
		{"localhost", first(func(f *Facts) { f.HostName = "localhost.localdomain" }), "10.0.0.1 error hostname: the host name is localhost.localdomain, which cannot be the name of a node"},
		{"underscore", first(func(f *Facts) { f.HostName = "node_1" }), "10.0.0.1 error hostname: the host name node_1 cannot be the name of a node: only letters, digits, - and dots, at most 63"},
		{"no name", first(func(f *Facts) { f.HostName = "" }), "10.0.0.1 warning hostname: the host does not tell its name"},
		{"name will be bad", func(w world) { w.n.Hosts[0].Name = "-" }, "10.0.0.1 error hostname: the host name - cannot be the name of a node: only letters, digits, - and dots, at most 63"},
		{"not its address", first(func(f *Facts) { f.Addresses = []netip.Addr{netip.MustParseAddr("192.168.0.9")} }), "10.0.0.1 error address: the host does not have the address 10.0.0.1 itself"},
		{"no default route", first(func(f *Facts) { f.Routes = nil }), "10.0.0.1 warning route: there is no default route, without which the kubelet may not find its address"},
		{"swap", first(func(f *Facts) { f.Swaps = []string{"/dev/dm-1"} }), "10.0.0.1 warning swap: swap is on (/dev/dm-1), which the kubelet refuses unless told otherwise"},
		{"empty resolv.conf", first(func(f *Facts) { f.Nameservers = nil }), "10.0.0.1 error resolv: /etc/resolv.conf names no server, so CoreDNS will not start"},
		{"resolv.conf in a circle", first(func(f *Facts) { f.Nameservers = []string{"127.0.0.1"} }), "10.0.0.1 error resolv: /etc/resolv.conf names only the host itself, so CoreDNS would ask itself in a circle"},
		{"leftovers", first(func(f *Facts) {
			f.Leftovers = []Leftover{{"file", "/etc/kubernetes/admin.conf"}, {"dir", "/var/lib/etcd"}, {"link", "cni0"}}
			f.Units = append(f.Units, Unit{"kubelet", true})
			f.Listeners = append(f.Listeners, Listener{Addr: netip.MustParseAddrPort("[::]:10250"), PID: 7, Process: "kubelet"})
		}), "10.0.0.1 error leftover: an earlier cluster left /etc/kubernetes/admin.conf, /var/lib/etcd, the interface cni0 and a running kubelet"},
		{"a network configuration", first(func(f *Facts) { f.Leftovers = []Leftover{{"dir", "/etc/cni/net.d"}} }),
			"10.0.0.1 warning leftover: /etc/cni/net.d holds a network configuration already, which the container runtime will take"},
		{"a runtime", first(func(f *Facts) { f.Units = append(f.Units, Unit{"docker", true}) }), "10.0.0.1 warning runtime: docker runs already, and the scripts of the image may not want it as it is"},
		{"no systemd", first(func(f *Facts) { f.Init = "" }), "10.0.0.1 warning systemd: the host is not run by systemd but by an unknown program, and images usually bring the kubelet as a systemd unit"},
		{"new cgroups", func(w world) { w.n.KubeVersion = "v1.20.4-aliyun.1" }, "10.0.0.3 warning cgroup: the host has cgroups v2, which Kubernetes v1.20.4-aliyun.1 does not know well"},
		{"old cgroups", func(w world) {
			w.n.KubeVersion = "v1.35.0"
			for _, h := range w.hosts[1:] {
				h.Facts.Cgroup = 2
			}
		}, "10.0.0.1 warning cgroup: the host has cgroups v1, which the kubelet of Kubernetes v1.35.0 refuses unless told otherwise"},
		{"no cgroups", first(func(f *Facts) { f.Cgroup = 0 }), "10.0.0.1 warning cgroup: the host shows no cgroups, without which no container can run"},
		{"SELinux", first(func(f *Facts) { f.Enforcing = true }), "10.0.0.1 warning selinux: SELinux is enforcing, which images are usually not made for"},
		{"firewall", first(func(f *Facts) {
			for i := range f.Units {
				f.Units[i].Active = true
			}
		}), "10.0.0.1 warning firewall: the firewall firewalld runs and may cut hosts and pods off from each other"},
		{"module", first(func(f *Facts) { f.Modules["overlay"] = "missing" }), "10.0.0.1 warning module: the kernel has no module overlay"},
		{"commands", first(func(f *Facts) { f.Commands["conntrack"], f.Commands["socat"] = false, false }),
			"10.0.0.1 error command: the host lacks conntrack (for kubeadm) and socat (for kubeadm)"},
		{"handy commands", first(func(f *Facts) { f.Commands["socat"] = false }), "10.0.0.1 warning command: the host lacks socat (for kubeadm)"},
		{"no lvm", first(func(f *Facts) { f.Commands["vgcreate"] = false }), "10.0.0.1 error command: the host lacks vgcreate (for Clusterfile:30)"},
		{"no disk", first(func(f *Facts) { f.Devices[0].There = false }), "10.0.0.1 error device: there is no disk /dev/vdc, which Clusterfile:30 wants"},
		{"used disk", first(func(f *Facts) { f.Devices[0].Users = []string{"mounted at /data"} }),
			"10.0.0.1 error device: disk /dev/vdc, which Clusterfile:30 wants, is in use (mounted at /data)"},
		{"disk with data", first(func(f *Facts) { f.Devices[0].Content = "ext4" }), "10.0.0.1 warning device: disk /dev/vdc, which Clusterfile:30 wants, holds ext4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := needs(t)
			w := world{&n, four(t)}
			tt.breaks(w)
			r := Judge(n, w.hosts)
			var got []string
			for _, f := range r.Findings {
				if f.Level != OK {
					got = append(got, f.Host+" "+string(f.Level)+" "+f.Check+": "+f.Message)
				}
			}
			if len(got) != 1 || got[0] != tt.want {
				t.Errorf("findings are\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
			if r.OK != strings.Contains(tt.want, " warning ") || (r.Err() == nil) != r.OK {
				t.Errorf("ok is %v, error is %v", r.OK, r.Err())
			}
			if err := r.Err(); err != nil {
				_, message, _ := strings.Cut(tt.want, ": ")
				if !strings.HasSuffix(err.Error(), message) || !errors.Is(err, ErrNotReady) || err.(interface{ Hint() string }).Hint() == "" {
					t.Errorf("error is %v", err)
				}
			}
		})
	}
}

// TestCopiesOfOneMachineAreFound: what differs between real machines.
func TestCopiesOfOneMachineAreFound(t *testing.T) {
	hosts := four(t)
	a, b := hosts[0].Facts, hosts[1].Facts
	b.HostName, b.MachineID, b.ProductID, b.Links[0].MAC = strings.ToUpper(a.HostName), a.MachineID, a.ProductID, a.Links[0].MAC
	r := Judge(needs(t), hosts)
	var got []string
	for _, f := range r.Findings {
		if f.Level != OK {
			got = append(got, f.Host+" "+string(f.Level)+" "+f.Message)
		}
	}
	want := []string{
		"10.0.0.2 error the host name master-1 is also that of 10.0.0.1",
		"10.0.0.2 warning the machine id 0d5f6e3a0b8b4f0f9f6e1a2b3c4d5e01 is also that of 10.0.0.1, as if one were a copy",
		"10.0.0.2 warning the product UUID 8a2c1f5e-0001-4d2b-9d43-5a3f1c2b0001 is also that of 10.0.0.1, as if one were a copy",
		"10.0.0.2 error the MAC address 52:54:00:aa:00:01 is also that of 10.0.0.1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("findings are\n%s", strings.Join(got, "\n"))
	}
	if err := r.Err(); err == nil || !strings.HasPrefix(err.Error(), "preflight found 2 errors\n  10.0.0.2: the host name") {
		t.Errorf("error is %v", err)
	}
	var text bytes.Buffer
	if err := r.Text(&text, true); err != nil {
		t.Fatal(err)
	}
	golden(t, "copies.golden", text.Bytes())
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "copies.json", raw)
}

// TestNamesToBeSetDecide: a plugin will name the hosts.
func TestNamesToBeSetDecide(t *testing.T) {
	c := theCluster()
	c.Plugins = []cluster.Plugin{{Type: "HOSTNAME", Data: "10.0.0.1 one\n10.0.0.2 two\nnonsense\n"}}
	n := NeedsOf(Inputs{Contents: contents(), Cluster: c, Steps: steps})
	hosts := four(t)
	hosts[0].Facts.HostName, hosts[1].Facts.HostName = "localhost", "localhost"
	if r := Judge(n, hosts); !r.OK {
		t.Error(r.Err())
	}
}

// TestResumedInstallIsNoLeftover: what an earlier run of the same install made
// does not stop the next.
func TestResumedInstallIsNoLeftover(t *testing.T) {
	n := needs(t)
	n.Resuming = true
	hosts := four(t)
	f := hosts[0].Facts
	f.Leftovers = []Leftover{{"file", "/etc/kubernetes/admin.conf"}, {"dir", "/var/lib/bundle"}, {"link", "cni0"}}
	f.Units = append(f.Units, Unit{"kubelet", true}, Unit{"containerd", true})
	f.Listeners = append(f.Listeners, Listener{Addr: netip.MustParseAddrPort("[::]:5000"), PID: 7, Process: "bundle"})
	f.Devices[0].Users = []string{"volume dm-3"}
	if r := Judge(n, hosts); r.Errors+r.Warnings != 0 {
		t.Errorf("%+v", append(r.Problems(Error), r.Problems(Warning)...))
	}
	f.Listeners = append(f.Listeners, Listener{Addr: netip.MustParseAddrPort("[::]:6443"), PID: 8, Process: "haproxy"})
	if r := Judge(n, hosts); r.Errors != 1 {
		t.Errorf("%+v", r.Problems(Error))
	}
}

// TestIgnoredChecksAreStillSaid and do not stop the install.
func TestIgnoredChecksAreStillSaid(t *testing.T) {
	n := needs(t)
	n.Ignore = []string{"root"}
	hosts := four(t)
	hosts[0].Facts.Root = false
	r := Judge(n, hosts)
	if !r.OK || r.Warnings != 1 || !r.Problems(Warning)[0].Ignored {
		t.Errorf("%+v", r.Problems(Warning))
	}
	var text bytes.Buffer
	if err := r.Text(&text, false); err != nil || !strings.Contains(text.String(), "  ignored  root ") {
		t.Errorf("%v %s", err, text.String())
	}
	if got := UnknownChecks([]string{"root", "rood"}); !slices.Equal(got, []string{"rood"}) {
		t.Errorf("unknown are %v", got)
	}
}

// TestOneHostAgainstOurClock: with two clocks nobody can say which is wrong.
func TestOneHostAgainstOurClock(t *testing.T) {
	n := needs(t)
	n.Hosts = n.Hosts[:1]
	hosts := four(t)[:1]
	hosts[0].Facts.Time = hosts[0].Facts.Time.Add(-10 * time.Minute)
	r := Judge(n, hosts)
	if got := r.Problems(Error); len(got) != 1 || got[0].Message != "the clock is 9m59s behind that of this machine" {
		t.Errorf("%+v", got)
	}
	// A slow connection is no wrong clock.
	hosts[0].Facts.Before = hosts[0].Facts.Before.Add(-11 * time.Minute)
	if r := Judge(n, hosts); !r.OK {
		t.Error(r.Err())
	}
}

// TestNeedsFollowThePlan: who gets the bundle, the registry and the disks.
func TestNeedsFollowThePlan(t *testing.T) {
	n := needs(t)
	has := func(h HostNeeds, port int) bool {
		return slices.ContainsFunc(h.Ports, func(p Port) bool { return p.Number == port })
	}
	if m, w := n.Hosts[0], n.Hosts[1]; !has(m, 5000) || has(w, 5000) || !has(m, 6443) || has(w, 6443) || !has(w, 30088) || !has(w, 10250) {
		t.Errorf("ports %+v and %+v", m.Ports, w.Ports)
	}
	if q := n.Query("10.0.0.2"); !slices.Equal(q.Devices, []string{"/dev/vdc"}) || !slices.Contains(q.Commands, "vgcreate") ||
		!slices.Equal(q.Paths, []string{"/", "/var/lib/bundle", "/var/lib/sealer/data/my-cluster/rootfs", "/usr/bin", "/var/lib/containerd", "/var/lib/kubelet"}) {
		t.Errorf("query %+v", q)
	}

	// Without a plan: every master has the bundle and its registry.
	c := theCluster()
	c.Hosts[1].Roles = []string{cluster.RoleMaster}
	c.Runtime, c.Registry.Port = "docker", 5443
	c.Env = []manifest.EnvVar{{Name: "EtcdDevice", Value: "/dev/vdb"}, {Name: "StorageDevice", Value: "/dev/vdc,/dev/vdd"}, {Name: "ContainerDataRoot", Value: "/data/docker"}}
	in := Inputs{Contents: contents(), BundleSize: 1 << 30, Cluster: c}
	n = NeedsOf(in)
	if !has(n.Hosts[1], 5443) || has(n.Hosts[2], 5443) {
		t.Errorf("ports %+v", n.Hosts[1].Ports)
	}
	if d := n.Query("10.0.0.1").Devices; !slices.Equal(d, []string{"/dev/vdb", "/dev/vdc", "/dev/vdd"}) {
		t.Errorf("devices of a master %v", d)
	}
	if d := n.Query("10.0.0.3").Devices; !slices.Equal(d, []string{"/dev/vdc", "/dev/vdd"}) {
		t.Errorf("devices of a node %v", d)
	}
	if !slices.Contains(n.Hosts[0].Modules, "ip_vs") {
		t.Errorf("modules %v", n.Hosts[0].Modules)
	}
	i := slices.IndexFunc(n.Hosts[0].Space, func(s Space) bool { return s.Path == "/data/docker" })
	// The images are 1 GiB for each platform, which is all the bundle can hold.
	if s := n.Hosts[0].Space[i]; s.Bytes != (1<<30)/10*dockerTenths || s.Firm != s.Bytes/4 {
		t.Errorf("images take %+v", s)
	}
	in.ImageBytes = 100
	if s := NeedsOf(in).Hosts[0].Space[i]; s.Bytes != 300 {
		t.Errorf("images take %+v", s)
	}
	in.InPlace = true
	for h, want := range []string{"our program", "the bundle"} {
		if s := NeedsOf(in).Hosts[h].Space[0]; s.What != want {
			t.Errorf("host %d has room for %+v first", h, s)
		}
	}
}

// TestProductsAskForMore: what the documentation of the seeds' products says.
func TestProductsAskForMore(t *testing.T) {
	of := func(c *manifest.Contents, steps []plan.Step) (cpus int, memory int64) {
		for _, m := range NeedsOf(Inputs{Contents: c, Cluster: theCluster(), Steps: steps}).Hosts[0].Machines {
			cpus, memory = max(cpus, m.CPUs), max(memory, m.Memory)
		}
		return cpus, memory / gib
	}
	c := contents()
	c.Charts = []manifest.Chart{{Name: "kube-core"}}
	if cpu, mem := of(c, steps); cpu != 2 || mem != 4 {
		t.Errorf("ACK Distro wants %d CPUs, %d GiB", cpu, mem)
	}
	c.Charts = append(c.Charts, manifest.Chart{Name: "aecp"})
	if cpu, mem := of(c, steps[:2]); cpu != 8 || mem != 12 {
		t.Errorf("the basic profile wants %d CPUs, %d GiB", cpu, mem)
	}
	if cpu, mem := of(c, steps); cpu != 16 || mem != 32 {
		t.Errorf("the full profile wants %d CPUs, %d GiB", cpu, mem)
	}
	c = contents()
	c.Files = append(c.Files, manifest.File{Path: "applications/cnstack-2.1.0-ce.yaml", Type: "file"})
	if cpu, mem := of(c, nil); cpu != 8 || mem != 16 {
		t.Errorf("CNStack 2 wants %d CPUs, %d GiB", cpu, mem)
	}
	c.Labels = map[string]string{"bundle.require.cpu": "24", "bundle.require.master.memory": "64GiB", "bundle.require.node.memory": "1GiB", "bundle.require.disk": "what"}
	n := NeedsOf(Inputs{Contents: c, Cluster: theCluster()})
	if m := n.Hosts[0].Machines; !m[len(m)-1].Firm || m[len(m)-1].CPUs != 24 || m[len(m)-1].Memory != 64*gib {
		t.Errorf("labels ask for %+v", m[len(m)-1])
	}
	if m := n.Hosts[1].Machines; m[len(m)-1].Memory != gib {
		t.Errorf("labels ask for %+v", m[len(m)-1])
	}
}

// TestWhatTheBundleBringsNeedNotBeThere: packages in the root file system.
func TestWhatTheBundleBringsNeedNotBeThere(t *testing.T) {
	c := contents()
	for _, p := range []string{"rpm/socat-1.7.3.2-2.el7.x86_64.rpm", "deb/ethtool_5.4_amd64.deb", "bin/conntrack", "tgz/lvm2-2.02.el7.rpm", "rpm/ip-notes.txt"} {
		c.Files = append(c.Files, manifest.File{Path: p, Type: "file"})
	}
	var got []string
	for _, cmd := range commandsOf(c, "Clusterfile:30") {
		got = append(got, cmd.Name)
		if cmd.Firm {
			t.Errorf("%s is firm, and may be in a package of the bundle", cmd.Name)
		}
	}
	if !slices.Equal(got, []string{"tar", "mount", "ip", "iptables", "nsenter", "tc"}) {
		t.Errorf("commands %v", got)
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"": 0, "x": 0, "12": 12, "12GiB": 12 << 30, "1.5 Gi": 3 << 29, "700MB": 700e6, "2k": 2000, "99999999T": 0, "1e9": 0} {
		if got := bytesOf(s); got != want {
			t.Errorf("bytesOf(%q) = %d, want %d", s, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1 << 10: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 3 << 29: "1.5 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := human(n); got != want {
			t.Errorf("human(%d) = %s, want %s", n, got, want)
		}
	}
}

// TestFullProfileOfTheSeed: the disks and commands that its plugins name are
// asked for on the hosts that they run on.
func TestFullProfileOfTheSeed(t *testing.T) {
	const file = "../../testdata/cnstack-ce/deploy/Clusterfile.full"
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := cluster.Parse("Clusterfile.full", f, cluster.Options{Set: map[string]string{
		"PASSWD": "x", "MASTER_IP_1": "10.0.0.1", "WORKER_IP_1": "10.0.0.2", "WORKER_IP_2": "10.0.0.3", "DataDiskDeviceName": "/dev/vdb",
	}})
	if err != nil {
		t.Fatal(err)
	}
	contents := contents()
	contents.Charts = []manifest.Chart{{Name: "kube-core"}, {Name: "aecp"}}
	p, err := plan.Make(plan.Input{Contents: contents, Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	n := NeedsOf(Inputs{Contents: contents, BundleSize: 1 << 30, Cluster: c, Steps: p.Steps})
	if len(n.Hosts) != 3 {
		t.Fatalf("%d hosts", len(n.Hosts))
	}
	for _, h := range n.Hosts {
		if len(h.Devices) != 1 || h.Devices[0].Path != "/dev/vdb" || !strings.HasPrefix(h.Devices[0].For, "Clusterfile.full:") {
			t.Errorf("%s: disks %+v", h.Address, h.Devices)
		}
		if !slices.ContainsFunc(h.Commands, func(c Command) bool { return c.Name == "vgcreate" && c.Firm }) {
			t.Errorf("%s: commands %+v", h.Address, h.Commands)
		}
		if !slices.ContainsFunc(h.Machines, func(m Machine) bool { return m.CPUs == 16 && m.Memory == 32*gib }) {
			t.Errorf("%s: machines %+v", h.Address, h.Machines)
		}
		placed := slices.ContainsFunc(h.Space, func(s Space) bool { return s.What == "the bundle" })
		registry := slices.ContainsFunc(h.Ports, func(p Port) bool { return p.Number == 5000 })
		if placed != h.Master || registry != h.Master {
			t.Errorf("%s: bundle %v, registry %v", h.Address, placed, registry)
		}
	}
}
