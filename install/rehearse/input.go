package rehearse

import (
	"errors"
	"io/fs"

	"bundle/archive"
	"bundle/install/plan"
	"bundle/manifest"
)

// Errors of [Report.Err], for errors.Is.
var (
	// ErrIncomplete: something that the install will ask for is not there.
	ErrIncomplete = errors.New("the bundle is incomplete for this cluster")
	// ErrDamaged: the registry does not give out what it lists.
	ErrDamaged = errors.New("the bundle is damaged")
	// ErrUnusable: a chart or manifest cannot be installed as it is.
	ErrUnusable = errors.New("the bundle cannot be installed so")
)

// Bundle is one opened bundle: loaded, its signature checked.
type Bundle struct {
	// Name for messages, usually the file's.
	Name   string
	Reader *archive.Reader
}

// Input is what is rehearsed. Only Bundles and Contents must be set.
type Input struct {
	Bundles  []Bundle
	Contents *manifest.Contents
	// Files is the root file system as this cluster's hosts get it: with its
	// Configs and templates rendered. Nil is an empty one.
	Files fs.FS
	// Rootfs is where Files lie on a host.
	Rootfs string
	Steps  []plan.Step
	// Platforms of the hosts; empty means those of the bundle.
	Platforms []string
	// KubeVersion to render charts for; empty means what Metadata of the root
	// file system says, and else the Helm SDK's.
	KubeVersion string
	// Kubeadm is the configuration of kubeadm init; empty where the bundle
	// has none.
	Kubeadm []byte
	// Local are registries of the cluster besides sea.hub:5000, which know
	// images without the registry they came from.
	Local []string
	// Full reads and hashes every byte of every layer, instead of its first
	// ones.
	Full bool
	// Jobs bounds how many images are pulled at once; 0 means 4.
	Jobs int
	// Progress, if set, is told of each image that was pulled; one call at a
	// time.
	Progress func(done, total int, item string)
}
