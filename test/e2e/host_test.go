package e2e

import (
	"testing"
)

// The ground that all other tests of this folder stand on.
func TestHostsSeeEachOtherAndNothingElse(t *testing.T) {
	lan := newLAN(t, 2)
	for _, h := range lan.Hosts {
		for _, other := range lan.Hosts {
			if _, err := h.Run(t.Context(), "ping -c1 -W2 "+other.IP); err != nil {
				t.Error(err)
			}
		}
		out, err := h.Run(t.Context(), "hostname; systemctl --failed --plain --no-legend; ! command -v containerd && ! command -v kubelet")
		if err != nil {
			t.Error(err)
		}
		if want := h.Name + "\n"; out != want {
			t.Errorf("%s says %q, want %q: its name and no unit that failed", h.Name, out, want)
		}
	}
	links, err := lan.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for ns, names := range links {
		for _, name := range names {
			if name != "br0" && name != "eth0" && name != "h1" && name != "h2" {
				t.Errorf("%s has the link %s: does it lead out?", ns, name)
			}
		}
	}
	if out, err := lan.Operator(t.Context(), "ip", "route"); err != nil || out != "10.77.0.0/24 dev br0 proto kernel scope link src 10.77.0.1 \n" {
		t.Errorf("the operator has the routes %q (%v)", out, err)
	}
}
