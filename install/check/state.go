package check

import (
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/install/kube"
)

// Expected is what the bundle and the inventory promise.
type Expected struct {
	// Time of the check.
	Time   time.Time
	Bundle Bundle
	// Cluster is its name.
	Cluster string
	Hosts   []Host
	// Releases that must be deployed, see [ReleasesOf].
	Releases []Release
	// Images are all digests that the bundle's images go by, see [ImagesOf].
	Images map[digest.Digest]string
	// AllowForeign makes images that are not the bundle's a warning.
	AllowForeign bool
}

// Bundle says what was installed.
type Bundle struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	IndexDigest string `json:"indexDigest"`
	// Signers are who signed it, as far as that was verified.
	Signers []string `json:"signers,omitempty"`
}

// Host is one machine of the inventory.
type Host struct {
	Address string   `json:"address"`
	Roles   []string `json:"roles"`
}

// Release names a Helm release.
type Release struct{ Namespace, Name string }

// State is what was seen in a cluster.
type State struct {
	kube.State
	// Ports and Registries are the answers of [DialNodePorts] and
	// [PullSample]; nil where nobody asked.
	Ports      []PortAnswer
	Registries []RegistryAnswer
}

// PortAnswer tells whether a node port answers on a node.
type PortAnswer struct {
	Namespace, Service string
	Local              bool
	Port               int
	// Host is the node's address.
	Host string
	// Err is empty where the connection was made.
	Err string
}

// RegistryAnswer tells whether the registry of a master gives out an image.
type RegistryAnswer struct {
	// Host is the master's address, Name how nodes call the registry.
	Host, Name string
	// Image is what was pulled.
	Image string
	// Err is empty where all was well.
	Err string
}
