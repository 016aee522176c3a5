package check

import (
	"time"

	"github.com/opencontainers/go-digest"
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

// State is what was seen in a cluster.
type State struct {
	// Version of the API server.
	Version   string
	Nodes     []Node
	Releases  []Release
	Workloads []Workload
	Pods      []Pod
	Services  []Service
	// Ports and Registries are the answers of [DialNodePorts] and
	// [PullSample]; nil where nobody asked.
	Ports      []PortAnswer
	Registries []RegistryAnswer
}

// Node is one node of the cluster.
type Node struct {
	Name string
	// Addresses are its internal ones.
	Addresses []string
	Ready     bool
	// Reason says why it is not ready.
	Reason string
	// Kubelet, OS and Runtime are the versions that the node tells.
	Kubelet, OS, Runtime string
}

// Release is a Helm release.
type Release struct {
	Namespace, Name string
	// Chart and Status ("deployed", "failed", "pending-install") are empty for
	// expected releases.
	Chart, Status string
}

// Workload is what keeps pods running.
type Workload struct {
	// Kind is "Deployment", "StatefulSet", "DaemonSet" or another.
	Kind, Namespace, Name string
	// Desired pods, those of the newest template, and those that are ready.
	Desired, Updated, Ready int
	// Observed tells that the controller has seen the newest template.
	Observed bool
	// Reason says more, if something is wrong.
	Reason string
}

// Pod is one pod.
type Pod struct {
	Namespace, Name, Node string
	// Phase is "Running", "Pending", "Succeeded" or "Failed".
	Phase string
	// Reason says why it is pending or failed, if that is known.
	Reason string
	// Owned pods were made by a controller, which replaces those that fail.
	Owned      bool
	Containers []Container
}

// Container is one container of a pod; init containers too.
type Container struct {
	Name  string
	Image string
	// ImageID is what the runtime says that it runs; empty until then.
	ImageID string
	Init    bool
	Ready   bool
	// Waiting is the reason that it does not run: "ImagePullBackOff".
	Waiting string
	// Message says more about Waiting.
	Message  string
	Restarts int
}

// Service is a service with its node ports.
type Service struct {
	Namespace, Name string
	// Local services answer only on nodes that run one of their pods.
	Local bool
	Ports []NodePort
}

// NodePort is a port that every node answers on.
type NodePort struct {
	Name string
	// Protocol is "TCP" or another, which nobody can dial.
	Protocol string
	Port     int
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
