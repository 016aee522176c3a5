package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// Three control planes and a worker: when the first control plane is gone,
// the others and the worker go on.
func TestHighlyAvailable(t *testing.T) {
	s := newSite(t, 3, 1)
	install(t, s)
	works(t, s)
	uiAnswers(t, s)
	nothingToDo(t, s)

	if err := s.LAN.Hosts[0].PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c := Cluster{On: s.LAN.Hosts[1]}
	// The cluster notices that h1 is gone, and only h1.
	eventually(t, 4*time.Minute, func(ctx context.Context) error {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return err
		}
		if nodes["h1"] || !nodes["h2"] || !nodes["h3"] || !nodes["h4"] {
			return fmt.Errorf("nodes are Ready: %v; want all but h1", nodes)
		}
		return nil
	})
	t.Logf("the cluster went on without its first control plane after %s", time.Since(began).Round(time.Second))
	// New work is done without it: on the worker, with an image from another
	// registry than h1's.
	const image = "sea.hub:5000/ecp_builder/grafana:v0.1.1-ce"
	if _, err := c.Kubectl(t.Context(), `run late --image=`+image+` --overrides='{"spec":{"nodeName":"h4"}}' -- serve`); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, "wait --for=condition=Ready pod/late --timeout=20s")
		return err
	})
}

// eventually tries until it succeeds.
func eventually(t *testing.T, patience time.Duration, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, 30*time.Second)
		err := try(once)
		stop()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("for %s: %v", patience, err)
		case <-time.After(time.Second):
		}
	}
}
