package kube

import (
	"cmp"
	"slices"
	"strings"
)

// ref names an object.
type ref struct {
	APIVersion, Kind, Namespace, Name string
}

// String is what people call the object.
func (r ref) String() string { return object(r.Kind, r.Namespace, r.Name) }

// Kinds of findings, the most telling first: one of them explains those below
// it.
const (
	CauseImage       = "image"       // an image cannot be pulled
	CauseConfig      = "config"      // a ConfigMap, Secret or volume is missing
	CauseCrash       = "crash"       // a container ends again and again
	CauseJob         = "job"         // a job failed
	CauseRefused     = "refused"     // a quota or an admission plugin refuses pods
	CauseVolume      = "volume"      // a claim is not bound
	CauseUnscheduled = "unscheduled" // no node takes the pod
	CauseService     = "service"     // a service has no load balancer
	CauseNode        = "node"        // the node of the pod is not ready
	CauseSandbox     = "sandbox"     // the pod gets no network or no sandbox
	CauseProbe       = "probe"       // a container runs and does not pass its probe
	CauseProgress    = "progress"    // only that it is not done is known
)

var causes = []string{
	CauseImage, CauseConfig, CauseCrash, CauseJob, CauseRefused, CauseVolume, CauseUnscheduled,
	CauseService, CauseNode, CauseSandbox, CauseProbe, CauseProgress,
}

// Finding is one reason why an object is not ready.
type Finding struct {
	// Cause is one of the Cause… constants.
	Cause string `json:"cause"`
	// Object is what it is about: "pod web-0 in namespace prod".
	Object string `json:"object"`
	// Text is one sentence without a full stop that names Object.
	Text string `json:"text"`
	// Image is set where one cannot be pulled.
	Image string `json:"image,omitempty"`
	Hint  string `json:"hint,omitempty"`

	// log is the container whose last lines tell more.
	log *logOf
}

// logOf is a container of a pod.
type logOf struct {
	namespace, pod, container string
	previous                  bool
}

// rank orders findings by how telling they are.
func rank(f Finding) int {
	if i := slices.Index(causes, f.Cause); i >= 0 {
		return i
	}
	return len(causes)
}

// ranked sorts findings, the most telling first, and drops those that repeat
// another.
func ranked(list []Finding) []Finding {
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Object, b.Object))
	})
	return slices.CompactFunc(list, func(a, b Finding) bool { return a.Text == b.Text })
}

// cleanMessage takes what adds nothing out of the messages of a kubelet.
func cleanMessage(s string) string {
	for {
		i := strings.Index(s, "rpc error: code = ")
		if i < 0 {
			break
		}
		_, after, ok := strings.Cut(s[i:], " desc = ")
		if !ok {
			break
		}
		s = s[:i] + after
	}
	return strings.Join(strings.Fields(s), " ")
}
