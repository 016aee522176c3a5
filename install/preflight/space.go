package preflight

import (
	"cmp"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// Folders of a host that an install fills.
const (
	bundleDir  = "/var/lib/bundle"
	etcdDir    = "/var/lib/etcd"
	kubeletDir = "/var/lib/kubelet"
	binDir     = "/usr/bin"
)

// How much of a disk an image takes, in tenths of the size of its layers as
// they are in the bundle. Layers come compressed, and code and text shrink to
// about two fifths, so unpacked they are 2.5 times that. containerd keeps the
// compressed layers beside what it unpacked; docker does not, but has room
// for the largest ones twice while it unpacks them.
const (
	containerdTenths = 35
	dockerTenths     = 30
)

const (
	binaryBytes = 128 << 20 // our own program, which hosts pull with
	etcdBytes   = 2 << 30   // etcd's default quota
	etcdFirm    = 256 << 20 // its write-ahead logs from the first minute on
	podBytes    = 1 << 30   // logs and scratch volumes of pods
)

// spaceOf sums up what is put onto the host at index i.
func spaceOf(in Inputs, u uses, i int) []Space {
	h := in.Cluster.Hosts[i]
	var list []Space
	add := func(path, what string, bytes, firm int64) {
		if bytes > 0 {
			list = append(list, Space{Path: path, What: what, Bytes: bytes, Firm: firm})
		}
	}
	if u.place[h.Address] && (i > 0 || !in.InPlace) {
		add(bundleDir, "the bundle", in.BundleSize, in.BundleSize)
	}
	add(bundleDir, "our program", binaryBytes, binaryBytes)
	files, bins := rootfsBytes(in.Contents)
	add(in.Cluster.Rootfs(), "the root file system", files, files)
	// Scripts of images copy the programs to where the host finds them.
	add(binDir, "programs", bins, bins)

	images := imageBytes(in)
	path, tenths := containerRoot(in.Cluster, h)
	unpacked := images / 10 * tenths
	// Every image runs on one host at least; on which one nobody knows yet.
	add(path, "images", unpacked, unpacked/int64(len(in.Cluster.Hosts)))
	if h.Master() {
		add(etcdDir, "etcd", etcdBytes, etcdFirm)
	}
	add(kubeletDir, "pods", podBytes, 0)
	return list
}

// rootfsBytes sums up the files of the root file system, and those of them
// that are programs.
func rootfsBytes(c *manifest.Contents) (files, bins int64) {
	const block = 4096 // what the smallest file takes
	for _, f := range c.Files {
		size := (max(f.Size, 0) + block - 1) / block * block
		files += max(size, block)
		if strings.HasPrefix(f.Path, "bin/") && f.Type == "file" {
			bins += size
		}
	}
	return files, bins
}

// imageBytes is the size of all images of one platform. Images that share
// layers make the sum too large, but never larger than the bundle, which has
// each blob once.
func imageBytes(in Inputs) int64 {
	if in.ImageBytes > 0 {
		return in.ImageBytes
	}
	var sum int64
	seen := map[string]bool{}
	for _, img := range in.Contents.Images {
		if d := string(img.Digest); !seen[d] {
			seen[d] = true
			sum += max(img.Size, 0) / int64(max(len(img.Platforms), 1))
		}
	}
	if in.BundleSize > 0 {
		sum = min(sum, in.BundleSize)
	}
	return sum
}

// containerRoot says where images are unpacked, and how large they get there.
func containerRoot(c *cluster.Cluster, h cluster.Host) (path string, tenths int64) {
	path, tenths = "/var/lib/containerd", containerdTenths
	if c.Runtime == "docker" {
		path, tenths = "/var/lib/docker", dockerTenths
	}
	for _, v := range slices.Concat(c.Env, h.Env) {
		if v.Name == "ContainerDataRoot" && strings.HasPrefix(v.Value, "/") {
			path = v.Value
		}
	}
	return path, tenths
}

// Usage is what an install takes of one file system of a host.
type Usage struct {
	Host   string `json:"host"`
	Mount  string `json:"mount"`
	Device string `json:"device"`
	Size   int64  `json:"size"`
	Free   int64  `json:"free"`
	// Need is the peak, Firm the part of it that is certain.
	Need  int64  `json:"need"`
	Firm  int64  `json:"firm"`
	Parts []Part `json:"parts"`
}

// Part is one thing of a [Usage].
type Part struct {
	Path  string `json:"path"`
	What  string `json:"what"`
	Bytes int64  `json:"bytes"`
}

// usagesOf sums up what folders need that share a file system. Folders on
// one device share its room, wherever it is mounted.
func usagesOf(host string, space []Space, disks []Disk) []Usage {
	var list []Usage
	for _, s := range space {
		i := slices.IndexFunc(disks, func(d Disk) bool { return d.Path == s.Path })
		if i < 0 || disks[i].Size == 0 {
			continue
		}
		d := disks[i]
		j := slices.IndexFunc(list, func(u Usage) bool {
			return u.Mount == d.Mount || u.Device == d.Device && strings.HasPrefix(d.Device, "/dev/")
		})
		if j < 0 {
			j = len(list)
			list = append(list, Usage{Host: host, Mount: d.Mount, Device: d.Device, Size: d.Size, Free: d.Free})
		}
		u := &list[j]
		u.Need += s.Bytes
		u.Firm += s.Firm
		u.Parts = append(u.Parts, Part{s.Path, s.What, s.Bytes})
		if len(d.Mount) < len(u.Mount) {
			u.Mount = d.Mount
		}
	}
	slices.SortStableFunc(list, func(a, b Usage) int { return cmp.Compare(a.Mount, b.Mount) })
	return list
}
