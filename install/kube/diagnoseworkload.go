package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// when is the time of an event, of which there are three kinds.
func when(e *corev1.Event) time.Time {
	t := e.LastTimestamp.Time
	if e.EventTime.After(t) {
		t = e.EventTime.Time
	}
	if e.Series != nil && e.Series.LastObservedTime.After(t) {
		t = e.Series.LastObservedTime.Time
	}
	if t.IsZero() {
		t = e.CreationTimestamp.Time
	}
	return t
}

// refusals says why the controllers of a workload make no pods. owners are the
// workload and the replica sets of its own.
func (s scene) refusals(w ref, owners []*unstructured.Unstructured) []Finding {
	for _, o := range owners {
		for _, c := range conditions(o) {
			if c["type"] == "ReplicaFailure" && c["status"] == "True" {
				return []Finding{refusal(w, text(c["message"]))}
			}
		}
	}
	for _, o := range owners {
		if e := s.event(o.GetUID(), o.GetName(), "FailedCreate", nil); e != nil {
			return []Finding{refusal(w, e.Message)}
		}
	}
	return nil
}

func refusal(w ref, why string) Finding {
	f := Finding{Cause: CauseRefused, Object: w.String(),
		Text: fmt.Sprintf("%s may not make pods: %s", w, clip(cleanMessage(cmp.Or(why, "nothing says why")), 400))}
	if strings.Contains(why, "exceeded quota") {
		f.Hint = "raise the quota of the namespace, or ask for less"
	}
	return f
}

func conditions(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var out []map[string]any
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// jobFinding says how a job failed; nothing for one that did not.
func (s scene) jobFinding(j *batchv1.Job) (Finding, bool) {
	what := object("job", j.Namespace, j.Name)
	for _, c := range j.Status.Conditions {
		if c.Type != batchv1.JobFailed || c.Status != corev1.ConditionTrue {
			continue
		}
		f := Finding{Cause: CauseJob, Object: what, Text: fmt.Sprintf("%s failed: %s", what, clip(cleanMessage(cmp.Or(c.Message, c.Reason)), 300))}
		// What its pods died of tells more.
		if pods := ranked(s.podFindings()); len(pods) > 0 && rank(pods[0]) < rank(f) {
			f.Text = fmt.Sprintf("%s failed (%s): %s", what, c.Reason, pods[0].Text)
			f.log, f.Image, f.Hint = pods[0].log, pods[0].Image, pods[0].Hint
		}
		return f, true
	}
	return Finding{}, false
}

// serviceFinding tells of a service that waits for a load balancer.
func serviceFinding(r ref, o *unstructured.Unstructured) []Finding {
	kind, _, _ := unstructured.NestedString(o.Object, "spec", "type")
	given, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
	if kind != "LoadBalancer" || len(given) > 0 {
		return nil
	}
	return []Finding{{Cause: CauseService, Object: r.String(),
		Text: r.String() + " waits for a load balancer, and nothing in the cluster gives it one",
		Hint: "use a service of type NodePort, or install what hands out load balancers first"}}
}

// other says what an object of a kind that we know nothing of tells about
// itself: a condition that is not as it should be.
func other(r ref, o *unstructured.Unstructured) []Finding {
	var out []Finding
	for _, c := range conditions(o) {
		kind := text(c["type"])
		good := slices.Contains([]string{"Ready", "Available", "Established", "Complete", "Bound"}, kind)
		bad := slices.Contains([]string{"Failed", "Stalled", "Degraded"}, kind)
		if good && c["status"] != "False" || bad && c["status"] != "True" || !good && !bad {
			continue
		}
		why := cmp.Or(text(c["message"]), text(c["reason"]))
		if why == "" {
			continue
		}
		out = append(out, Finding{Cause: CauseProgress, Object: r.String(), Text: fmt.Sprintf("%s: %s", r, clip(cleanMessage(why), 300))})
	}
	return out
}

// tail gives the last lines of a log in one line.
func tail(log []byte, lines, limit int) string {
	var keep []string
	for line := range strings.Lines(string(log)) {
		if line = strings.Join(strings.Fields(printable(line)), " "); line != "" {
			keep = append(keep, clip(line, 200))
		}
	}
	if len(keep) > lines {
		keep = keep[len(keep)-lines:]
	}
	s := strings.Join(keep, " | ")
	if r := []rune(s); len(r) > limit {
		s = "…" + string(r[len(r)-limit:])
	}
	return s
}

// printable drops what could move the cursor of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}
