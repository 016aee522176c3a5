package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"bundle/install/check"
	"bundle/verify/receipt"
)

// A receipt of an install must hold each step and what runs, and must never
// call something well that was not.
func TestReceiptOfInstall(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	c := &receipt.Cluster{Steps: []receipt.Step{}}
	fillCluster(c, &check.Course{Started: at, Finished: at.Add(time.Hour), Runs: 2, Steps: []check.CourseStep{
		{ID: "kubeadm.init", Status: "done", Hosts: []string{"10.0.0.1"}, Changed: true, Started: at, Finished: at.Add(time.Minute)},
		{ID: "check", Status: "failed", Hosts: []string{"10.0.0.1"}},
	}}, &check.Report{
		Items:  []check.Item{{ID: "images", Status: check.Fail, Summary: "one is not the bundle's"}},
		Images: []check.ImageLine{{Name: "registry.k8s.io/pause:3.9", Digest: "sha256:x", Pods: 3, OK: true}, {Name: "evil", Digest: "sha256:y", Pods: 1}},
	})
	want := "{ 2026-03-04 05:06:07 +0000 UTC 2026-03-04 06:06:07 +0000 UTC 2 " +
		"[{kubeadm.init done [10.0.0.1] true 2026-03-04 05:06:07 +0000 UTC 2026-03-04 05:07:07 +0000 UTC} {check failed [10.0.0.1] false 0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC}] " +
		"[{images fail one is not the bundle's}] [{registry.k8s.io/pause:3.9 sha256:x 3 true} {evil sha256:y 1 false}]}"
	if got := fmt.Sprint(*c); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), nil, receipt.OK},
		{t.Context(), errors.New("x"), receipt.Failed},
		{canceled, fmt.Errorf("x: %w", context.Canceled), receipt.Interrupted},
		{t.Context(), fmt.Errorf("x: %w", context.Canceled), receipt.Failed},
	} {
		if got, _ := outcome(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
