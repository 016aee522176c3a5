package kubefile

import (
	"fmt"
	"path"
	"strings"

	"bundle/manifest"
)

// Mode says what COPY makes of its source.
type Mode int

const (
	// Basename keeps the last component of the source, for a file and for a
	// folder: the result is Dst/base(Src). Sealer 0.5.
	Basename Mode = iota
	// Contents is Dockerfile's rule: what is in a folder goes into Dst, and a
	// file becomes Dst, or Dst/base(Src) where Dst is a folder.
	Contents
)

// Discovery says what sealer 0.5 looks for images in, because of the place
// that COPY puts it in. Sealer 0.9 looks through the finished root file
// system instead, so D09 never sets it.
type Discovery string

// Discoveries of a [CopyRule].
const (
	// DiscoverNothing: only a copy.
	DiscoverNothing Discovery = ""
	// DiscoverList: the source is an imageList.
	DiscoverList Discovery = "imageList"
	// DiscoverManifest: the source is a Kubernetes manifest.
	DiscoverManifest Discovery = "manifest"
	// DiscoverChart: the source is a chart to render.
	DiscoverChart Discovery = "chart"
)

// CopyRule is one source that goes into the root file system.
type CopyRule struct {
	Source manifest.Source
	// Src is cleaned and relative to the context. In D05 it may begin with
	// "../". "." is the context itself.
	Src string
	// Dst is cleaned and relative to the root of the file system, which is
	// ".".
	Dst  string
	Mode Mode
	// Into is set where Dst names a folder whatever is there already: it was
	// written with a slash at its end, or is the root. Only for Contents.
	Into bool
	// Glob is set where Src may hold the wildcards * ? and [ of
	// [path.Match]; every match is copied. Only for Contents.
	Glob     bool
	Discover Discovery
	// App is set for files of APP, CNI and CSI.
	App string
	// Add is set for ADD: a source that turns out to be a tar archive would
	// be unpacked and must be refused.
	Add bool

	base string // last component of Src before it was cleaned
}

// Target gives the place of the result. For a folder it is the folder whose
// contents are those of the source, for a file it is the file. src is the
// source, or the match of the glob; isDir tells whether it is a folder, and
// dstIsDir whether there is a folder at Dst already.
func (c CopyRule) Target(src string, isDir, dstIsDir bool) string {
	switch {
	case c.Mode == Basename:
		return path.Join(c.Dst, c.base)
	case isDir:
		return c.Dst
	case c.Into || dstIsDir:
		return path.Join(c.Dst, path.Base(src))
	}
	return c.Dst
}

// Copies gives what goes into the root file system, in the order in which
// later files replace earlier ones. In D09 call it on the result of
// [File.Resolve]. What [File.Unsupported] lists is left out.
func (f *File) Copies() []CopyRule {
	var out []CopyRule
	for _, in := range f.Instructions {
		switch in := in.(type) {
		case Copy:
			if f.Dialect == D05 {
				out = append(out, rule05(in))
			} else {
				out = append(out, rule09(in.Source, in.Src, in.Dst))
			}
		case Add:
			if unsupportedAdd(in) == "" {
				c := rule09(in.Source, in.Src, in.Dst)
				c.Add = true
				out = append(out, c)
			}
		case App:
			for _, file := range in.Files {
				if file.Scheme != "local" {
					continue
				}
				c := rule09(in.Source, file.Path, AppDir(in.Name)+"/")
				c.App = in.Name
				out = append(out, c)
			}
		}
	}
	return out
}

func rule05(in Copy) CopyRule {
	c := CopyRule{Source: in.Source, Src: cleanRel(in.Src), Dst: cleanRel(in.Dst), Mode: Basename, base: baseOf(in.Src)}
	switch {
	case c.Dst == "manifests" && c.base == "imageList":
		c.Discover = DiscoverList
	case c.Dst == "manifests" && (strings.HasSuffix(c.base, ".yaml") || strings.HasSuffix(c.base, ".yml")):
		c.Discover = DiscoverManifest
	case c.Dst == "charts":
		c.Discover = DiscoverChart
	}
	return c
}

func rule09(src manifest.Source, from, to string) CopyRule {
	c := CopyRule{Source: src, Src: cleanRel(from), Dst: cleanRel(to), Mode: Contents, base: path.Base(from)}
	c.Into = strings.HasSuffix(to, "/") || c.Dst == "."
	c.Glob = strings.ContainsAny(c.Src, "*?[")
	return c
}

// Unsupported lists the instructions that a packager cannot carry out, each as
// a [*Problem] that wraps [ErrUnsupported]: RUN, because it would run on the
// building machine inside a mounted image; what is fetched from a URL, because
// nothing pins its content; and ADD of an archive, because it unpacks it. A
// caller decides whether to stop.
func (f *File) Unsupported() []*Problem {
	var out []*Problem
	add := func(src manifest.Source, hint, format string, args ...any) {
		out = append(out, &Problem{Source: src, Reason: fmt.Sprintf(format, args...), Hint: hint, class: ErrUnsupported})
	}
	for _, in := range f.Instructions {
		switch in := in.(type) {
		case Run:
			add(in.Source, "run it before the build and COPY the files it makes", "RUN %.60q cannot be run while packaging: there is no mounted image and nothing of the base is executed", in.Command)
		case Add:
			if why := unsupportedAdd(in); why != "" {
				add(in.Source, "fetch or unpack it before the build and use COPY", "ADD %.80q %s", in.Src, why)
			}
		case App:
			for _, file := range in.Files {
				if file.Scheme != "local" {
					add(in.Source, "fetch it before the build and write local://…", "the application %s fetches %.120q, and nothing pins what comes", in.Name, file.Path)
				}
			}
		}
	}
	return out
}

// unsupportedAdd says why an ADD cannot be done, or "".
func unsupportedAdd(in Add) string {
	lower := strings.ToLower(in.Src)
	if strings.Contains(lower, "://") || strings.HasPrefix(lower, "git@") {
		return "fetches from the network, and nothing pins what comes"
	}
	for _, ext := range []string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"} {
		if strings.HasSuffix(lower, ext) {
			return "would unpack an archive"
		}
	}
	return ""
}
