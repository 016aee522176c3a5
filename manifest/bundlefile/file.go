package bundlefile

import (
	"fmt"

	"bundle/manifest"
)

// The two constants that begin every bundle.yaml.
const (
	APIVersion = "bundle/v1"
	Kind       = "Bundle"
)

// Scratch is the base of a bundle that builds on nothing. It is the default.
const Scratch = "scratch"

// File is a bundle.yaml that was read.
type File struct {
	// Path of the file as the user knows it.
	Path string
	// Name and Version of the bundle; empty where the file gives none.
	Name    string
	Version string
	// From is the base: an image reference, or [Scratch].
	From       string
	FromSource manifest.Source
	// Platforms as "os/arch[/variant]"; empty where the file gives none.
	Platforms []string
	Images    []Image
	// ImageLists are files in imageList's form, relative to the context.
	ImageLists []Input
	Charts     []Chart
	Files      []Copy
	Env        []manifest.EnvVar
	// Labels is nil where the file gives none.
	Labels map[string]string

	steps []stepItem
}

// Input is a path in the context and the place that named it.
type Input struct {
	Path   string
	Source manifest.Source
}

// Image is one entry of images.
type Image struct {
	Ref manifest.Reference
	Raw string
	// Optional images are left out with a warning where they cannot be found.
	Optional bool
	Source   manifest.Source
}

// Chart is one entry of charts. Exactly one of Path, OCI and Name is set.
type Chart struct {
	// Path of a folder or .tgz, relative to the context.
	Path string
	// OCI is a reference that begins with oci://.
	OCI string
	// Name of a chart in the repository Repo, an http or https URL.
	Name string
	Repo string
	// Version may be empty with Path only.
	Version string
	// Values are files relative to the context; the last one wins. Each entry
	// of Profiles is such a list and renders the chart once more, so that the
	// images of every way to install it are found.
	Values   []string
	Profiles [][]string
	// Release and Namespace are what the chart is rendered with; empty means
	// the chart's name and "default".
	Release   string
	Namespace string
	Source    manifest.Source
}

// Copy is one entry of files: a file or folder of the context that goes into
// the root file system. What is in a folder goes into Dst. A file becomes
// Dst, or goes into Dst where that ends with a slash in the file (Into).
type Copy struct {
	Src, Dst string
	Into     bool
	// Mode of files, 0 where the file gives none: then 0755 for what its
	// owner may execute, else 0644.
	Mode   uint32
	Source manifest.Source
}

// stepItem is one entry of steps before it has an ID.
type stepItem struct {
	step manifest.Step
}

// Steps gives the steps of the file, in order. phase is for steps that name
// none; a step that names no id gets "<prefix>-01", "<prefix>-02" and so on by
// its place in the file, or one with a further number where that is taken.
func (f *File) Steps(phase, prefix string) []manifest.Step {
	taken := map[string]bool{}
	for _, item := range f.steps {
		taken[item.step.ID] = true
	}
	var out []manifest.Step
	for i, item := range f.steps {
		s := item.step
		if s.Phase == "" {
			s.Phase = phase
		}
		if s.ID == "" {
			counted := fmt.Sprintf("%s-%02d", prefix, i+1)
			s.ID = counted
			for n := 2; taken[s.ID]; n++ {
				s.ID = fmt.Sprintf("%s.%d", counted, n)
			}
			taken[s.ID] = true
		}
		out = append(out, s)
	}
	return out
}
