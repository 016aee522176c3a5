package check

import (
	"slices"
	"strings"

	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/step"
)

// ReleasesOf gives the releases that a plan leaves behind: those that its
// steps install and no later step removes. Plain lines of scripts that call
// helm count too.
func ReleasesOf(steps []plan.Step) []Release {
	var list []Release
	for _, s := range steps {
		switch s.Kind {
		case plan.KindHostScript, manifest.StepExec:
			for line := range strings.Lines(s.Script) {
				line = strings.TrimSpace(line)
				if !strings.HasPrefix(line, "helm ") {
					continue
				}
				for _, inner := range step.From([]step.Command{{Text: line}}, "", "x") {
					list = apply(list, inner)
				}
			}
		default:
			list = apply(list, s.Step)
		}
	}
	return list
}

func apply(list []Release, s manifest.Step) []Release {
	if s.Kind != manifest.StepHelmRelease && s.Kind != manifest.StepHelmUninstall {
		return list
	}
	action, err := step.Decode(s)
	if err != nil {
		return list // the step itself will fail on it, and say why
	}
	var r Release
	installs := false
	switch a := action.(type) {
	case *step.HelmRelease:
		r, installs = Release{Namespace: a.Namespace, Name: a.Release}, true
	case *step.HelmUninstall:
		r = Release{Namespace: a.Namespace, Name: a.Release}
	}
	list = slices.DeleteFunc(list, func(o Release) bool { return o == r })
	if installs {
		list = append(list, r)
	}
	return list
}
