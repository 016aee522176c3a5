package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// scene is what was seen around some pods. All judging below works on it
// alone.
type scene struct {
	pods   []corev1.Pod
	events []corev1.Event
	claims []corev1.PersistentVolumeClaim
	nodes  []corev1.Node
}

// podFindings says why pods are not ready; none for those that are.
func (s scene) podFindings() []Finding {
	var out []Finding
	for i := range s.pods {
		if f, ok := s.podFinding(&s.pods[i]); ok {
			out = append(out, f)
		}
	}
	return out
}

// podFinding gives the most telling reason why one pod is not ready.
func (s scene) podFinding(p *corev1.Pod) (Finding, bool) {
	what := object("pod", p.Namespace, p.Name)
	if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || podReady(p) {
		return Finding{}, false
	}
	var found []Finding
	for _, c := range containers(p) {
		if f, ok := s.containerFinding(p, c); ok {
			found = append(found, f)
		}
	}
	if len(found) > 0 {
		return ranked(found)[0], true
	}
	if p.Status.Phase == corev1.PodFailed {
		why := cmp.Or(cleanMessage(p.Status.Message), p.Status.Reason, "its containers ended with an error")
		return Finding{Cause: CauseCrash, Object: what, Text: fmt.Sprintf("%s failed: %s", what, clip(why, 300))}, true
	}
	if f, ok := s.placing(p); ok {
		return f, true
	}
	if f, ok := s.starting(p); ok {
		return f, true
	}
	if p.Status.Phase == corev1.PodPending {
		return Finding{Cause: CauseProgress, Object: what, Text: what + " is still starting"}, true
	}
	return Finding{Cause: CauseProbe, Object: what, Text: what + " runs but is not ready"}, true
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// containers lists the containers of a pod in the order that they start.
func containers(p *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses)
}

// containerFinding says what is wrong with one container of a pod.
func (s scene) containerFinding(p *corev1.Pod, c corev1.ContainerStatus) (Finding, bool) {
	what := object("pod", p.Namespace, p.Name)
	if w := c.State.Waiting; w != nil {
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
			return s.imageFinding(p, c, what, w), true
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError", "PostStartHookError":
			return Finding{Cause: CauseConfig, Object: what,
				Text: fmt.Sprintf("%s cannot start its container %s: %s", what, c.Name, clip(cleanMessage(cmp.Or(w.Message, w.Reason)), 300))}, true
		case "CrashLoopBackOff":
			return crashFinding(what, p, c, c.LastTerminationState.Terminated, true), true
		}
	}
	if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
		return crashFinding(what, p, c, t, false), true
	}
	if t := c.LastTerminationState.Terminated; t != nil && t.ExitCode != 0 && !c.Ready && c.RestartCount > 0 {
		return crashFinding(what, p, c, t, true), true
	}
	return Finding{}, false
}

// imageFinding tells which image cannot be pulled and what the registry said.
func (s scene) imageFinding(p *corev1.Pod, c corev1.ContainerStatus, what string, w *corev1.ContainerStateWaiting) Finding {
	image := imageOf(p, c)
	why := cleanMessage(w.Message)
	if e := s.event(p.UID, p.Name, "Failed", func(e corev1.Event) bool {
		return strings.Contains(e.Message, "pull image") && strings.Contains(e.Message, image)
	}); e != nil {
		why = cleanMessage(e.Message)
	}
	for _, lead := range []string{`Failed to pull image "` + image + `":`, `Back-off pulling image "` + image + `":`, `Back-off pulling image "` + image + `"`, "ErrImagePull:"} {
		why = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(why), lead))
	}
	why = cmp.Or(why, w.Reason)
	return Finding{
		Cause: CauseImage, Object: what, Image: image,
		Text: fmt.Sprintf("%s cannot pull the image %s of its container %s: %s", what, image, c.Name, clip(why, 300)),
		Hint: fmt.Sprintf("bundle images lists what the bundle holds; if %s is not in it, build the bundle with it", image),
	}
}

// imageOf gives the image that a container asks for.
func imageOf(p *corev1.Pod, c corev1.ContainerStatus) string {
	for _, spec := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if spec.Name == c.Name {
			return spec.Image
		}
	}
	return c.Image
}

// crashFinding tells how a container ended. again says that the container was
// started anew since, so that its last lines are those of the one before.
func crashFinding(what string, p *corev1.Pod, c corev1.ContainerStatus, t *corev1.ContainerStateTerminated, again bool) Finding {
	how := "ended"
	if t != nil {
		switch {
		case t.Reason == "OOMKilled":
			how = "was killed because it ran out of its memory limit"
		case t.Signal != 0:
			how = fmt.Sprintf("was ended by signal %d", t.Signal)
		default:
			how = fmt.Sprintf("ended with exit code %d", t.ExitCode)
		}
		if t.Message != "" {
			how += ": " + clip(cleanMessage(t.Message), 200)
		}
	}
	text := fmt.Sprintf("container %s of %s %s", c.Name, what, how)
	if c.RestartCount > 0 {
		text = fmt.Sprintf("container %s of %s crashes: it %s (restarted %d times)", c.Name, what, how, c.RestartCount)
	}
	return Finding{Cause: CauseCrash, Object: what, Text: text,
		log: &logOf{namespace: p.Namespace, pod: p.Name, container: c.Name, previous: again && c.State.Running != nil || again && c.State.Waiting != nil}}
}

// placing says why a pod has no node yet.
func (s scene) placing(p *corev1.Pod) (Finding, bool) {
	what := object("pod", p.Namespace, p.Name)
	if p.Spec.NodeName != "" {
		return Finding{}, false
	}
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		if f, ok := s.claimFinding(p.Namespace, v.PersistentVolumeClaim.ClaimName, what); ok {
			return f, true
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return Finding{Cause: CauseUnscheduled, Object: what,
				Text: fmt.Sprintf("no node takes %s: %s", what, clip(cleanMessage(cmp.Or(c.Message, c.Reason)), 400))}, true
		}
	}
	if e := s.event(p.UID, p.Name, "FailedScheduling", nil); e != nil {
		return Finding{Cause: CauseUnscheduled, Object: what,
			Text: fmt.Sprintf("no node takes %s: %s", what, clip(cleanMessage(e.Message), 400))}, true
	}
	return Finding{Cause: CauseProgress, Object: what, Text: what + " waits for the scheduler"}, true
}

// claimFinding says why a claim is not bound; nothing for one that is.
func (s scene) claimFinding(namespace, name, user string) (Finding, bool) {
	claim := object("claim", namespace, name)
	for _, c := range s.claims {
		if c.Namespace != namespace || c.Name != name {
			continue
		}
		if c.Status.Phase == corev1.ClaimBound {
			return Finding{}, false
		}
		why := "no volume fits, and no storage class makes one"
		if c.Spec.StorageClassName != nil && *c.Spec.StorageClassName != "" {
			why = "storage class " + *c.Spec.StorageClassName + " has not made a volume"
		}
		if c.Status.Phase == corev1.ClaimLost {
			why = "its volume is lost"
		}
		if e := s.event(c.UID, c.Name, "", func(e corev1.Event) bool {
			return e.InvolvedObject.Kind == "PersistentVolumeClaim" &&
				(e.Type == corev1.EventTypeWarning || e.Reason == "FailedBinding" || e.Reason == "WaitForFirstConsumer" || e.Reason == "ExternalProvisioning")
		}); e != nil {
			if e.Reason == "WaitForFirstConsumer" {
				return Finding{}, false // it waits for the pod, not the pod for it
			}
			why = clip(cleanMessage(e.Message), 300)
		}
		text := claim + " is not bound: " + why
		if user != "" {
			text = user + " waits: " + text
		}
		return Finding{Cause: CauseVolume, Object: claim, Text: text}, true
	}
	return Finding{}, false
}

// starting says why a pod that has a node does not run there.
func (s scene) starting(p *corev1.Pod) (Finding, bool) {
	what := object("pod", p.Namespace, p.Name)
	for i := range s.nodes {
		if n := &s.nodes[i]; n.Name == p.Spec.NodeName {
			if ok, why := nodeReady(n); !ok {
				return Finding{Cause: CauseNode, Object: "node " + n.Name,
					Text: fmt.Sprintf("%s is on node %s, which is not ready: %s", what, n.Name, clip(why, 300))}, true
			}
		}
	}
	for _, c := range []struct{ reason, cause, text string }{
		{"FailedMount", CauseConfig, "%s cannot mount a volume: %s"},
		{"FailedAttachVolume", CauseConfig, "%s cannot attach a volume: %s"},
		{"FailedCreatePodSandBox", CauseSandbox, "%s gets no network on its node: %s"},
		{"Unhealthy", CauseProbe, "%s does not pass its probe: %s"},
	} {
		if e := s.event(p.UID, p.Name, c.reason, nil); e != nil {
			return Finding{Cause: c.cause, Object: what, Text: fmt.Sprintf(c.text, what, clip(cleanMessage(e.Message), 300))}, true
		}
	}
	return Finding{}, false
}

// event finds the latest event of an object with a reason ("" is any) that
// also passes match.
func (s scene) event(uid any, name, reason string, match func(corev1.Event) bool) *corev1.Event {
	var last *corev1.Event
	for i := range s.events {
		e := &s.events[i]
		o := e.InvolvedObject
		if o.Name != name || o.UID != "" && fmt.Sprint(o.UID) != fmt.Sprint(uid) || reason != "" && e.Reason != reason {
			continue
		}
		if match != nil && !match(*e) {
			continue
		}
		if last == nil || when(e).After(when(last)) {
			last = e
		}
	}
	return last
}
