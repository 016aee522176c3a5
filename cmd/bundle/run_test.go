package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"bundle/install/engine"
	"bundle/install/plan"
	"bundle/manifest"
)

// TestTellerSaysWhatRunsNow, on a terminal in a line that is renewed and wiped,
// in a log after a while, and when it is asked.
func TestTellerSaysWhatRunsNow(t *testing.T) {
	step := plan.Step{Step: manifest.Step{ID: "kubeadm.join", Phase: "kubeadm", Summary: "Join the nodes"}, Hosts: []string{"10.0.0.2", "10.0.0.3", "10.0.0.4"}}
	for _, mode := range []string{"tty", "plain", "json"} {
		var out bytes.Buffer
		tell := &teller{a: &app{stderr: &out}, redact: func(s string) string { return strings.ReplaceAll(s, "secret", "***") }, mode: mode, running: map[string]*work{}}
		h := tell.hooks()
		h.StepStarted(step, 7, 40)
		for _, host := range step.Hosts {
			h.HostStarted(engine.Task{Step: step, Host: host})
		}
		h.HostDone(engine.Task{Step: step, Host: "10.0.0.3"}, engine.Outcome{Changed: true}, nil, time.Second)
		h.Waiting(engine.Task{Step: step, Host: "10.0.0.2"}, "kubelet is not healthy\x1b[2J, secret")
		out.Reset()
		tell.look(time.Now().Add(time.Minute))
		got := out.String()
		switch mode {
		case "json":
			var doc progressLine
			if err := json.Unmarshal([]byte(got), &doc); err != nil || doc.Phase != "kubeadm" || doc.Done != 6 || doc.Total != 40 || !strings.Contains(doc.Item, "still at it") {
				t.Errorf("%q: %v", got, err)
			}
		default:
			for _, want := range []string{"[7/40] kubeadm.join, 1 of 3 hosts done, 1 min 00 s: 10.0.0.2 waits: kubelet"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s: %q does not say %q", mode, got, want)
				}
			}
		}
		if strings.Contains(got, "\x1b") || strings.Contains(got, "secret") {
			t.Errorf("%s: %q", mode, got)
		}
		if mode == "tty" {
			if n := len([]rune(got)); strings.Contains(got, "\n") || n > 79 {
				t.Errorf("the line below has %d columns: %q", n, got)
			}
			out.Reset()
			h.Notice("something")
			if wiped := "\r" + strings.Repeat(" ", len([]rune(got))) + "\r"; out.String() != wiped+"note: something\n" {
				t.Errorf("a line is printed into the one below: %q", out.String())
			}
		}
		if mode == "plain" {
			out.Reset()
			tell.look(time.Now())
			if out.Len() > 0 {
				t.Errorf("a log is told the same again at once: %q", out.String())
			}
			tell.status()
			for _, want := range []string{"10.0.0.2 for 0.0 s, waits: kubelet", "10.0.0.4 for"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("asked for a status it says %q", out.String())
				}
			}
		}
		out.Reset()
		h.HostDone(engine.Task{Step: step, Host: "10.0.0.2"}, engine.Outcome{}, errors.New("refused, secret"), time.Second)
		if !strings.Contains(out.String(), "10.0.0.2 FAILED after 1s: refused, ***") {
			t.Errorf("%s: %q", mode, out.String())
		}
	}
}
