package kubefile

import "bundle/manifest"

// Scratch is the base of a Kubefile that builds on nothing.
const Scratch = "scratch"

// File is a Kubefile that was read.
type File struct {
	// Name of the file as the user knows it.
	Name string
	// Dialect the file was read in: [D05] or [D09], never [Auto].
	Dialect Dialect
	// Detection says how the dialect was found; it is the zero value where
	// the caller gave the dialect.
	Detection Detection
	// Base is what FROM names: an image reference, or [Scratch]. In D09 it
	// may hold variables until [File.Resolve].
	Base       string
	BaseSource manifest.Source
	// BasePlatform is the --platform flag of FROM, if there is one.
	BasePlatform string
	// Instructions in file order, FROM among them.
	Instructions []Instruction
	// Warnings in file order.
	Warnings []Warning
}

// Instruction is one instruction: a [From], [Copy], [Add], [Run], [Cmd],
// [Env], [Arg], [Label], [Maintainer], [App], [AppCmds], [AppEnv], [Launch],
// [Cmds] or [KubeVersion].
type Instruction interface {
	// Where is the line the instruction begins on.
	Where() manifest.Source
	// Text is the whole instruction on one line.
	Text() string
}

// Pos is the part every instruction has.
type Pos struct {
	Source manifest.Source
	Raw    string
}

// Where implements [Instruction].
func (p Pos) Where() manifest.Source { return p.Source }

// Text implements [Instruction].
func (p Pos) Text() string { return p.Raw }

// Var is one NAME=value.
type Var struct {
	Name  string
	Value string
}

// From names the base.
type From struct {
	Pos
	Image    string
	Platform string
}

// Copy puts one file or folder of the context into the root file system. What
// becomes of a folder is the dialect's: see [CopyRule].
type Copy struct {
	Pos
	Src, Dst string
}

// Add is D09's ADD: like COPY, but a URL is fetched and an archive unpacked.
type Add struct {
	Pos
	Src, Dst string
}

// Run is a command for the machine that builds.
type Run struct {
	Pos
	Command string
}

// Cmd holds shell lines for the install. It has more than one only where it
// was written as a JSON list.
type Cmd struct {
	Pos
	Commands []string
}

// Cmds is D09's list of shell lines for the install.
type Cmds struct {
	Pos
	Commands []string
}

// Env sets variables for every application.
type Env struct {
	Pos
	Vars []Var
}

// Arg declares a build argument.
type Arg struct {
	Pos
	Name       string
	Default    string
	HasDefault bool
}

// Label sets labels of the image.
type Label struct {
	Pos
	Labels []Var
}

// Maintainer names the author.
type Maintainer struct {
	Pos
	Name string
}

// Role tells APP, CNI and CSI apart.
type Role string

// Roles of an [App].
const (
	RoleApp Role = "app"
	RoleCNI Role = "cni"
	RoleCSI Role = "csi"
)

// App declares an application and its files.
type App struct {
	Pos
	Role  Role
	Name  string
	Files []AppFile
}

// AppFile is one scheme:path of an [App].
type AppFile struct {
	// Scheme is "local", "http" or "https".
	Scheme string
	// Path is relative to the context for "local", else the whole URL.
	Path string
}

// AppCmds replaces the command that launches an application.
type AppCmds struct {
	Pos
	App string
	// Elements as written; Command is what sealer makes of them: all joined
	// by blanks into one shell line.
	Elements []string
	Command  string
}

// AppEnv sets variables of one application.
type AppEnv struct {
	Pos
	App  string
	Vars []Var
}

// Launch names the applications that the install launches, in order.
type Launch struct {
	Pos
	Apps []string
}

// KubeVersion limits the Kubernetes versions that the image fits.
type KubeVersion struct {
	Pos
	Constraint string
}

// InheritsCommands tells whether the install runs the commands of the base
// before the file's own. Sealer gave that up with 0.9.
func (f *File) InheritsCommands() bool { return f.Dialect == D05 }

// Env gives the variables that ENV and APPENV set, in order; a later one of
// the same name and application replaces an earlier one.
func (f *File) Env() []manifest.EnvVar {
	var out []manifest.EnvVar
	index := map[[2]string]int{}
	set := func(app string, v Var, src manifest.Source) {
		e := manifest.EnvVar{Name: v.Name, Value: v.Value, App: app, Source: src}
		key := [2]string{app, v.Name}
		if i, ok := index[key]; ok {
			out[i] = e
			return
		}
		index[key] = len(out)
		out = append(out, e)
	}
	for _, in := range f.Instructions {
		switch in := in.(type) {
		case Env:
			for _, v := range in.Vars {
				set("", v, in.Source)
			}
		case AppEnv:
			for _, v := range in.Vars {
				set(in.App, v, in.Source)
			}
		}
	}
	return out
}

// Labels sealer gives an image for what CNI, CSI and KUBEVERSION declare.
const (
	labelCNI         = "cluster.alpha.sealer.io/kube-cni-"
	labelCSI         = "cluster.alpha.sealer.io/kube-csi-"
	labelKubeVersion = "app.alpha.sealer.io/supported-kube-version"
	labelMaintainer  = "maintainer"
)

// Labels gives all labels of the file, those of CNI, CSI, KUBEVERSION and
// MAINTAINER among them. It is nil where there are none.
func (f *File) Labels() map[string]string {
	var out map[string]string
	set := func(k, v string) {
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	for _, in := range f.Instructions {
		switch in := in.(type) {
		case Label:
			for _, v := range in.Labels {
				set(v.Name, v.Value)
			}
		case Maintainer:
			set(labelMaintainer, in.Name)
		case KubeVersion:
			set(labelKubeVersion, in.Constraint)
		case App:
			switch in.Role {
			case RoleCNI:
				set(labelCNI+in.Name, "true")
			case RoleCSI:
				set(labelCSI+in.Name, "true")
			}
		}
	}
	return out
}

// Apps gives the applications the file declares, in order.
func (f *File) Apps() []App {
	var out []App
	for _, in := range f.Instructions {
		if a, ok := in.(App); ok {
			out = append(out, a)
		}
	}
	return out
}
