package manifest

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Source is a place in an input that asked for something, written so that a
// person can go there: "imageList:3", "Kubefile:14",
// "chart aecp templates/deploy.yaml".
type Source string

// FileLine gives the Source of one line of a file. Lines count from 1.
func FileLine(file string, line int) Source {
	return Source(fmt.Sprintf("%s:%d", file, line))
}

// Contents is the inventory of a bundle: what is inside, and who asked for
// it. It is stored as the config of the bundle's own manifest, so the
// signature covers it. Field names are part of the format (docs/format.md).
type Contents struct {
	// SchemaVersion is 1.
	SchemaVersion int    `json:"schemaVersion"`
	Name          string `json:"name"`
	Version       string `json:"version"`
	// Platforms that every image was asked for, as "os/arch[/variant]".
	Platforms []string `json:"platforms"`
	// Bases are the bundles this one was built on, nearest last.
	Bases  []Base            `json:"bases,omitempty"`
	Images []Image           `json:"images"`
	Charts []Chart           `json:"charts,omitempty"`
	Files  []File            `json:"files,omitempty"`
	Steps  []Step            `json:"steps,omitempty"`
	Env    []EnvVar          `json:"env,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Candidates are strings that look like images, found where only the
	// application knows whether they are (arguments, annotations, custom
	// resources), and are not in the bundle.
	Candidates []Candidate `json:"candidates,omitempty"`
}

// Base names a bundle that another was built on.
type Base struct {
	Name        string        `json:"name"`
	Version     string        `json:"version"`
	IndexDigest digest.Digest `json:"indexDigest"`
}

// Image is one reference the bundle answers.
type Image struct {
	// Name is the whole reference: registry/repository:tag.
	Name string `json:"name"`
	// Digest of the manifest or index that Name pointed at when it was pulled.
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	// Platforms that are wholly in the bundle; empty where the image has none.
	Platforms []string `json:"platforms"`
	// Size is the sum of all manifests and blobs of those platforms, in bytes.
	Size     int64    `json:"size"`
	NeededBy []Source `json:"neededBy"`
	// Attached are signatures, attestations and other referrers that came
	// along, by the digest of their manifest.
	Attached []Attached `json:"attached,omitempty"`
}

// Attached is one signature, attestation or other referrer of an image.
type Attached struct {
	Digest digest.Digest `json:"digest"`
	// Tag is set where the attachment is found by a tag
	// ("sha256-….sig"), empty where it is an OCI referrer.
	Tag          string `json:"tag,omitempty"`
	ArtifactType string `json:"artifactType,omitempty"`
}

// Chart is one Helm chart, stored with Helm's own OCI media types.
type Chart struct {
	Name       string        `json:"name"`
	Version    string        `json:"version"`
	AppVersion string        `json:"appVersion,omitempty"`
	Digest     digest.Digest `json:"digest"`
	Size       int64         `json:"size"`
	// Path is where the chart lies in the root file system, if it does.
	Path     string   `json:"path,omitempty"`
	NeededBy []Source `json:"neededBy"`
}

// File is one regular file, link or folder of the root file system that the
// install puts on every host.
type File struct {
	Path string `json:"path"`
	// Type is "file", "dir" or "symlink".
	Type   string        `json:"type"`
	Mode   uint32        `json:"mode"`
	Size   int64         `json:"size"`
	Digest digest.Digest `json:"digest,omitempty"`
	Link   string        `json:"link,omitempty"`
	Source Source        `json:"source,omitempty"`
}

// EnvVar is one variable that the bundle sets for its steps and templates.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// App limits the variable to one application; empty means all.
	App    string `json:"app,omitempty"`
	Source Source `json:"source,omitempty"`
}

// Candidate is a string that may be an image.
type Candidate struct {
	Ref     string   `json:"ref"`
	FoundIn []Source `json:"foundIn"`
}

// Step kinds. A step of a kind other than [StepExec] is understood: it can be
// run again without harm and can say why it failed.
const (
	StepHelmRelease    = "helm.release"
	StepHelmUninstall  = "helm.uninstall"
	StepKubectlApply   = "kubectl.apply"
	StepKubectlCreate  = "kubectl.create"
	StepKubectlDelete  = "kubectl.delete"
	StepNamespace      = "kubectl.namespace"
	StepScale          = "kubectl.scale"
	StepTaint          = "kubectl.taint"
	StepLabel          = "kubectl.label"
	StepAnnotate       = "kubectl.annotate"
	StepPatch          = "kubectl.patch"
	StepWaitCRD        = "wait.crd"
	StepWaitDeployment = "wait.rollout"
	// StepExec is a shell line that is run as it stands.
	StepExec = "exec"
)

// Step is one thing an install does, in order.
type Step struct {
	// ID is unique in the bundle and stable for the same input.
	ID string `json:"id"`
	// Phase the step belongs to: the name of the bundle that brought it, or
	// another that the input gave.
	Phase string `json:"phase"`
	Kind  string `json:"kind"`
	// Run is the line as the input had it; the typed fields say what we
	// understood of it.
	Run    string `json:"run,omitempty"`
	Source Source `json:"source"`
	// Summary is one line for a person.
	Summary string `json:"summary"`
	// Idempotent steps may be run again after they succeeded.
	Idempotent bool `json:"idempotent"`
	// Destructive steps remove data; they are run once and asked about.
	Destructive bool `json:"destructive"`
	// TimeoutSeconds bounds the step; 0 means the installer's default.
	TimeoutSeconds int `json:"timeoutSeconds"`
	// Args are the typed fields, named by kind (docs/format.md, "Steps").
	Args map[string]any `json:"args,omitempty"`
}
