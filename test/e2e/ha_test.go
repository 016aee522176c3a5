package e2e

import (
	"context"
	"testing"
	"time"
)

// Three control planes: what one of them had is still there when it is gone.
func TestHighlyAvailable(t *testing.T) {
	s := newSite(t, 3, 0)
	install(t, s)
	works(t, s)
	uiAnswers(t, s)
	nothingToDo(t, s)

	h2, h3 := s.LAN.Hosts[1], s.LAN.Hosts[2]
	if err := s.LAN.Hosts[0].PowerOff(); err != nil {
		t.Fatal(err)
	}
	// etcd elects a new leader.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		_, err := Cluster{On: h2}.Kubectl(ctx, "get nodes --request-timeout=5s")
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("without the first control plane the API server does not answer: %v", err)
		}
		time.Sleep(time.Second)
	}
	// An image that h3 has, pulled once more from another registry than h1's.
	if _, err := h3.Run(ctx, `set -e
image=sea.hub:5000/ecp_builder/caas-ui:v1.5.3.0
ctr -n e2e images pull --hosts-dir /etc/containerd/certs.d $image >/dev/null
ctr -n e2e images rm $image`); err != nil {
		t.Errorf("without the first control plane no image can be pulled: %v", err)
	}
	if _, err := (Cluster{On: h2}).Kubectl(ctx, "-n default rollout restart deployment/caas-ui"); err != nil {
		t.Error(err)
	}
}
