package step

import (
	"encoding/json"
	"fmt"
	"time"

	"bundle/manifest"
)

// Command is one shell line of an install, before it is understood.
type Command struct {
	Text   string
	Source manifest.Source
	// App is the application that the line launches, if it does.
	App string
	// Dir is the folder below the root file system that the line runs in;
	// empty is the root file system itself.
	Dir string
}

// Action is the typed part of a step: [HelmRelease], [Apply] and so on.
type Action interface {
	// Kind is one of the manifest.Step… constants.
	Kind() string
	// Summary is one line for a person.
	Summary() string
	// idempotent tells whether the step may run again after it succeeded.
	idempotent() bool
	// destructive tells whether the step removes data.
	destructive() bool
}

// Build fills the typed fields of s from a: kind, summary, arguments and what
// they imply. Fields that only the caller knows (ID, Phase, Run, Source,
// TimeoutSeconds) stay as they are; a Destructive that is already set stays
// set.
func Build(a Action, s manifest.Step) manifest.Step {
	s.Kind = a.Kind()
	s.Summary = a.Summary()
	s.Idempotent = a.idempotent()
	s.Destructive = s.Destructive || a.destructive()
	s.Args = args(a)
	return s
}

// args gives the JSON form of a, so that a fresh step and one that was read
// back from a bundle hold the same types.
func args(a Action) map[string]any {
	data, err := json.Marshal(a)
	if err != nil {
		return nil // actions hold nothing that JSON has no form for
	}
	var m map[string]any
	if json.Unmarshal(data, &m) != nil || len(m) == 0 {
		return nil
	}
	return m
}

// Decode reads the arguments of s into the action type of its kind. Arguments
// that the type does not know are ignored, so that an older tool can read what
// a newer one wrote.
func Decode(s manifest.Step) (Action, error) {
	a, ok := newAction(s.Kind)
	if !ok {
		return nil, fmt.Errorf("step %s is of the unknown kind %q; a newer tool may know it", s.ID, s.Kind)
	}
	data, err := json.Marshal(s.Args)
	if err == nil {
		err = json.Unmarshal(data, a)
	}
	if err != nil {
		return nil, fmt.Errorf("step %s (%s) has bad arguments: %w", s.ID, s.Kind, err)
	}
	return a, nil
}

// newAction gives a pointer to the zero action of a kind.
func newAction(kind string) (Action, bool) {
	switch kind {
	case manifest.StepHelmRelease:
		return &HelmRelease{}, true
	case manifest.StepHelmUninstall:
		return &HelmUninstall{}, true
	case manifest.StepKubectlApply:
		return &Apply{}, true
	case manifest.StepKubectlCreate:
		return &Create{}, true
	case manifest.StepKubectlDelete:
		return &Delete{}, true
	case manifest.StepNamespace:
		return &Namespace{}, true
	case manifest.StepScale:
		return &Scale{}, true
	case manifest.StepTaint:
		return &Taint{}, true
	case manifest.StepLabel:
		return &Label{}, true
	case manifest.StepAnnotate:
		return &Annotate{}, true
	case manifest.StepPatch:
		return &Patch{}, true
	case manifest.StepWaitCRD:
		return &WaitCRD{}, true
	case manifest.StepWaitDeployment:
		return &WaitRollout{}, true
	case manifest.StepExec:
		return &Exec{}, true
	}
	return nil, false
}

// From turns shell lines into steps, in order. Steps get the IDs
// "<prefix>-01", "<prefix>-02" and so on by line; a line that makes several
// steps gives them "<prefix>-01.1", "<prefix>-01.2". A Command without text
// makes no step but keeps its number.
func From(cmds []Command, phase, prefix string) []manifest.Step {
	var out []manifest.Step
	for i, c := range cmds {
		if c.Text == "" {
			continue
		}
		id := fmt.Sprintf("%s-%02d", prefix, i+1)
		steps := convert(c)
		for j, p := range steps {
			s := manifest.Step{ID: id, Phase: phase, Run: p.run, Source: c.Source, TimeoutSeconds: p.timeout, Destructive: p.danger}
			if len(steps) > 1 {
				s.ID = fmt.Sprintf("%s.%d", id, j+1)
			}
			out = append(out, Build(p.action, s))
		}
	}
	return out
}

// part is one step before it has an ID.
type part struct {
	action  Action
	run     string
	timeout int // seconds
	danger  bool
}

// maxTimeout bounds what a line may ask for.
const maxTimeout = 7 * 24 * time.Hour

// seconds gives whole seconds, rounded up, of a positive duration in bounds.
func seconds(d time.Duration) (int, bool) {
	if d <= 0 || d > maxTimeout {
		return 0, false
	}
	return int((d + time.Second - 1) / time.Second), true
}
