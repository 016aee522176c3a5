package step

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bundle/manifest"
)

// HelmRelease installs or upgrades a release.
type HelmRelease struct {
	Release   string `json:"release"`
	Chart     string `json:"chart"`
	Namespace string `json:"namespace"`
	Version   string `json:"version,omitempty"`
	// Values are values files, the last one wins.
	Values []string `json:"values,omitempty"`
	// Set and SetString are the words of --set and --set-string.
	Set             []string `json:"set,omitempty"`
	SetString       []string `json:"setString,omitempty"`
	CreateNamespace bool     `json:"createNamespace,omitempty"`
	Wait            bool     `json:"wait,omitempty"`
	Atomic          bool     `json:"atomic,omitempty"`
	// Mode is "upgrade" where the release must be there already, else empty.
	Mode string `json:"mode,omitempty"`
	Dir  string `json:"dir,omitempty"`
}

// ModeUpgrade is the Mode of a [HelmRelease] that is never installed anew.
const ModeUpgrade = "upgrade"

// Kind implements [Action].
func (HelmRelease) Kind() string { return manifest.StepHelmRelease }

// Summary implements [Action].
func (a HelmRelease) Summary() string {
	verb := "Install or upgrade"
	if a.Mode == ModeUpgrade {
		verb = "Upgrade"
	}
	s := fmt.Sprintf("%s the Helm release %s from %s in namespace %s", verb, a.Release, a.Chart, a.Namespace)
	if a.Version != "" {
		s += ", version " + a.Version
	}
	return s
}
func (HelmRelease) idempotent() bool  { return true }
func (HelmRelease) destructive() bool { return false }

// HelmUninstall removes a release, if it is there.
type HelmUninstall struct {
	Release   string `json:"release"`
	Namespace string `json:"namespace"`
}

// Kind implements [Action].
func (HelmUninstall) Kind() string { return manifest.StepHelmUninstall }

// Summary implements [Action].
func (a HelmUninstall) Summary() string {
	return fmt.Sprintf("Uninstall the Helm release %s from namespace %s", a.Release, a.Namespace)
}
func (HelmUninstall) idempotent() bool  { return true }
func (HelmUninstall) destructive() bool { return true }

// Apply applies manifests.
type Apply struct {
	Files []string `json:"files"`
	// Namespace for objects that name none; empty is "default".
	Namespace  string `json:"namespace,omitempty"`
	Recursive  bool   `json:"recursive,omitempty"`
	ServerSide bool   `json:"serverSide,omitempty"`
	Dir        string `json:"dir,omitempty"`
}

// Kind implements [Action].
func (Apply) Kind() string { return manifest.StepKubectlApply }

// Summary implements [Action].
func (a Apply) Summary() string {
	return "Apply " + strings.Join(a.Files, ", ") + inNamespace(a.Namespace)
}
func (Apply) idempotent() bool  { return true }
func (Apply) destructive() bool { return false }

// Create makes the objects of manifests that are not there yet, and leaves
// the others alone.
type Create struct {
	Files     []string `json:"files"`
	Namespace string   `json:"namespace,omitempty"`
	Recursive bool     `json:"recursive,omitempty"`
	Dir       string   `json:"dir,omitempty"`
}

// Kind implements [Action].
func (Create) Kind() string { return manifest.StepKubectlCreate }

// Summary implements [Action].
func (a Create) Summary() string {
	return "Create what " + strings.Join(a.Files, ", ") + " describes and is not there yet" + inNamespace(a.Namespace)
}
func (Create) idempotent() bool  { return true }
func (Create) destructive() bool { return false }

// Delete removes objects, if they are there: those of Files, or those of
// Resource called Names.
type Delete struct {
	Files     []string `json:"files,omitempty"`
	Resource  string   `json:"resource,omitempty"`
	Names     []string `json:"names,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	Dir       string   `json:"dir,omitempty"`
}

// Kind implements [Action].
func (Delete) Kind() string { return manifest.StepKubectlDelete }

// Summary implements [Action].
func (a Delete) Summary() string {
	if len(a.Files) > 0 {
		return "Delete what " + strings.Join(a.Files, ", ") + " describes" + inNamespace(a.Namespace)
	}
	return fmt.Sprintf("Delete %s %s%s", a.Resource, strings.Join(a.Names, ", "), inNamespace(a.Namespace))
}
func (Delete) idempotent() bool  { return true }
func (Delete) destructive() bool { return true }

// Namespace makes a namespace, if it is not there.
type Namespace struct {
	Name string `json:"name"`
}

// Kind implements [Action].
func (Namespace) Kind() string { return manifest.StepNamespace }

// Summary implements [Action].
func (a Namespace) Summary() string { return fmt.Sprintf("Make sure namespace %s exists", a.Name) }
func (Namespace) idempotent() bool  { return true }
func (Namespace) destructive() bool { return false }

// Scale sets a number of replicas.
type Scale struct {
	// Resource is "deployment", "statefulset", "replicaset" or
	// "replicationcontroller".
	Resource  string `json:"resource"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Replicas  int    `json:"replicas"`
}

// Kind implements [Action].
func (Scale) Kind() string { return manifest.StepScale }

// Summary implements [Action].
func (a Scale) Summary() string {
	return fmt.Sprintf("Scale %s %s to %d%s", a.Resource, a.Name, a.Replicas, inNamespace(a.Namespace))
}
func (Scale) idempotent() bool  { return true }
func (Scale) destructive() bool { return false }

// Which nodes or objects a step is for.
const (
	// TargetMaster0 is the first master, found by its address rather than by
	// its host name.
	TargetMaster0 = "master0"
	// TargetAll is every node, or every object of the resource.
	TargetAll = "all"
	// TargetNames are the objects in names.
	TargetNames = "names"
	// TargetSelector are the objects that match the label selector.
	TargetSelector = "selector"
)

// Target says which nodes or objects a step is for.
type Target struct {
	// Target is one of the Target… constants.
	Target   string   `json:"target"`
	Names    []string `json:"names,omitempty"`
	Selector string   `json:"selector,omitempty"`
}

func (t Target) phrase(resource string) string {
	switch t.Target {
	case TargetMaster0:
		return "the first master"
	case TargetAll:
		return "every " + resource
	case TargetSelector:
		return fmt.Sprintf("every %s with %s", resource, t.Selector)
	}
	return resource + " " + strings.Join(t.Names, ", ")
}

// Taint adds or removes one taint.
type Taint struct {
	Target
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
	// Effect is empty where every taint of the key is removed.
	Effect    string `json:"effect,omitempty"`
	Remove    bool   `json:"remove,omitempty"`
	Overwrite bool   `json:"overwrite,omitempty"`
}

// Kind implements [Action].
func (Taint) Kind() string { return manifest.StepTaint }

// Summary implements [Action].
func (a Taint) Summary() string {
	taint := a.Key
	if a.Value != "" {
		taint += "=" + a.Value
	}
	if a.Effect != "" {
		taint += ":" + a.Effect
	}
	if a.Remove {
		return fmt.Sprintf("Remove the taint %s from %s", taint, a.phrase("node"))
	}
	return fmt.Sprintf("Taint %s with %s", a.phrase("node"), taint)
}
func (Taint) idempotent() bool  { return true }
func (Taint) destructive() bool { return false }

// Meta is what [Label] and [Annotate] share.
type Meta struct {
	Target
	// Resource is singular: "node", "namespace", …
	Resource  string            `json:"resource"`
	Namespace string            `json:"namespace,omitempty"`
	Set       map[string]string `json:"set,omitempty"`
	Remove    []string          `json:"remove,omitempty"`
	// Overwrite allows another value to be there already.
	Overwrite bool `json:"overwrite,omitempty"`
}

func (m Meta) summary(verb, what string) string {
	var s []string
	if len(m.Set) > 0 {
		var kv []string
		for _, k := range slices.Sorted(maps.Keys(m.Set)) {
			kv = append(kv, k+"="+m.Set[k])
		}
		s = append(s, fmt.Sprintf("%s %s with %s", verb, m.phrase(m.Resource), strings.Join(kv, ", ")))
	}
	if len(m.Remove) > 0 {
		s = append(s, fmt.Sprintf("remove the %s %s from %s", what, strings.Join(m.Remove, ", "), m.phrase(m.Resource)))
	}
	out := strings.Join(s, " and ") + inNamespace(m.Namespace)
	if len(s) == 0 {
		return verb + " nothing"
	}
	return strings.ToUpper(out[:1]) + out[1:]
}

// Label sets or removes labels.
type Label struct{ Meta }

// Kind implements [Action].
func (Label) Kind() string { return manifest.StepLabel }

// Summary implements [Action].
func (a Label) Summary() string { return a.summary("label", "label") }
func (Label) idempotent() bool  { return true }
func (Label) destructive() bool { return false }

// Annotate sets or removes annotations.
type Annotate struct{ Meta }

// Kind implements [Action].
func (Annotate) Kind() string { return manifest.StepAnnotate }

// Summary implements [Action].
func (a Annotate) Summary() string { return a.summary("annotate", "annotation") }
func (Annotate) idempotent() bool  { return true }
func (Annotate) destructive() bool { return false }

// Patch changes one object.
type Patch struct {
	Resource  string `json:"resource"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	// Type is "strategic", "merge" or "json".
	Type string `json:"type"`
	// Patch is the text of the patch, JSON or YAML.
	Patch string `json:"patch"`
}

// Kind implements [Action].
func (Patch) Kind() string { return manifest.StepPatch }

// Summary implements [Action].
func (a Patch) Summary() string {
	return fmt.Sprintf("Patch %s %s%s", a.Resource, a.Name, inNamespace(a.Namespace))
}

// A JSON patch may append to a list each time it runs.
func (a Patch) idempotent() bool { return a.Type != "json" }
func (Patch) destructive() bool  { return false }

// WaitCRD waits until a custom resource definition is established.
type WaitCRD struct {
	// CRD is the whole name of the definition (addons.example.com), or its
	// plural, singular, kind or short name, in any case.
	CRD string `json:"crd"`
	// IntervalSeconds between two looks; 0 is the installer's default.
	IntervalSeconds int `json:"intervalSeconds,omitempty"`
}

// Kind implements [Action].
func (WaitCRD) Kind() string { return manifest.StepWaitCRD }

// Summary implements [Action].
func (a WaitCRD) Summary() string {
	return fmt.Sprintf("Wait for the custom resource definition %s", a.CRD)
}
func (WaitCRD) idempotent() bool  { return true }
func (WaitCRD) destructive() bool { return false }

// WaitRollout waits until a workload is rolled out.
type WaitRollout struct {
	// Resource is "deployment", "statefulset" or "daemonset".
	Resource  string `json:"resource"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// Kind implements [Action].
func (WaitRollout) Kind() string { return manifest.StepWaitDeployment }

// Summary implements [Action].
func (a WaitRollout) Summary() string {
	return fmt.Sprintf("Wait until %s %s is rolled out%s", a.Resource, a.Name, inNamespace(a.Namespace))
}
func (WaitRollout) idempotent() bool  { return true }
func (WaitRollout) destructive() bool { return false }

// Exec runs the step's line with bash.
type Exec struct {
	Dir string `json:"dir,omitempty"`

	line string // for the summary
}

// Kind implements [Action].
func (Exec) Kind() string { return manifest.StepExec }

// Summary implements [Action].
func (a Exec) Summary() string {
	line := strings.Join(strings.Fields(a.line), " ")
	const limit = 100
	if r := []rune(line); len(r) > limit {
		line = string(r[:limit]) + "…"
	}
	if line == "" {
		return "Run a shell line"
	}
	return "Run: " + line
}
func (Exec) idempotent() bool  { return false }
func (Exec) destructive() bool { return false }

// NewExec gives the action of a shell line and whether it removes data.
func NewExec(line, dir string) (a Exec, destructive bool) {
	return Exec{Dir: dir, line: line}, Dangerous(line)
}

func inNamespace(ns string) string {
	if ns == "" {
		return ""
	}
	return " in namespace " + ns
}
