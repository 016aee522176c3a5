package node

import (
	"context"
	"fmt"
	"strings"

	"bundle/install/host"
	"bundle/manifest/kubeadm"
)

// Paths on a host.
const (
	stateDir   = "/var/lib/bundle/state"
	statePath  = stateDir + "/kubeadm"             // what kubeadm began and finished
	lockPath   = stateDir + "/kubeadm.lock"        // held while kubeadm runs
	configPath = stateDir + "/kubeadm-config.yaml" // there only while kubeadm runs
	adminConf  = "/etc/kubernetes/admin.conf"
	caCert     = "/etc/kubernetes/pki/ca.crt"
)

// factsScript looks and changes nothing.
const factsScript = `
say() { printf '%s %s\n' "$1" "$(printf %s "$2" | tr '\n' ' ')"; }
say hostname "$(uname -n)"
if [ -r "$ROOT/etc/sealerio/cri/socket-path" ]; then say socketpath "$(head -c 300 "$ROOT/etc/sealerio/cri/socket-path")"; fi
for s in $SOCKETS; do if [ -S "$ROOT$s" ]; then say socket "$s"; fi; done
if [ -S "$ROOT/var/run/docker.sock" ] && command -v docker >/dev/null; then
	say cgroup-docker "$(timeout 10 docker info -f '{{.CgroupDriver}}' 2>/dev/null || true)"
fi
if [ -S "$ROOT/run/containerd/containerd.sock" ]; then
	if { timeout 10 containerd config dump 2>/dev/null || cat "$ROOT/etc/containerd/config.toml" 2>/dev/null; } | grep -Eq '^[[:space:]]*SystemdCgroup[[:space:]]*=[[:space:]]*true'; then
		say cgroup-containerd systemd
	else
		say cgroup-containerd cgroupfs
	fi
fi
if command -v kubeadm >/dev/null; then say kubeadm "$(timeout 20 kubeadm version -o short 2>/dev/null | tail -n 1 || true)"; else say nokubeadm yes; fi
if [ -e /proc/net/ip_vs ] || modprobe -n -q ip_vs 2>/dev/null; then say ipvs yes; fi
if [ -e "$STATE" ]; then while IFS= read -r l; do say state "$l"; done < <(head -n 20 "$STATE"); fi
for f in admin kubelet; do if [ -e "$ROOT/etc/kubernetes/$f.conf" ]; then say conf "$f"; fi; done
if [ -e "$LOCK" ] && ! flock -n "$LOCK" true; then say running yes; fi
`

// facts are what a host says of itself.
type facts struct {
	kubeadm.Host
	noKubeadm        bool
	running          bool // kubeadm runs at this moment
	admin, kubelet   bool // the kubeconfigs are there
	state, of, began string
}

// States in the file of a host.
const (
	stateStarted = "started"
	stateDone    = "done"
)

// facts asks a host.
func (n *Nodes) facts(ctx context.Context, h host.Host) (*facts, error) {
	out, err := n.run(ctx, h, "look at the host", factsScript, n.env("SOCKETS", strings.Join(kubeadm.Sockets, " ")), nil)
	if err != nil {
		return nil, err
	}
	f := &facts{Host: kubeadm.Host{Address: h.Name(), Cgroups: map[string]string{}}}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		value = strings.TrimSpace(value)
		switch key {
		case "hostname":
			f.HostName = value
		case "socketpath":
			f.SocketPath = value
		case "socket":
			f.Sockets = append(f.Sockets, value)
		case "cgroup-docker", "cgroup-containerd":
			f.Cgroups[strings.TrimPrefix(key, "cgroup-")] = value
		case "kubeadm":
			f.Kubeadm = value
		case "nokubeadm":
			f.noKubeadm = true
		case "ipvs":
			f.IPVS = true
		case "conf":
			f.admin = f.admin || value == "admin"
			f.kubelet = f.kubelet || value == "kubelet"
		case "running":
			f.running = true
		case "state":
			name, v, _ := strings.Cut(value, "=")
			switch name {
			case "state":
				f.state = v
			case "cluster":
				f.of = v
			case "role":
				f.began = v
			}
		}
	}
	return f, nil
}

// settled waits for a kubeadm of an earlier run to end, and then looks at the
// host. It errs where the host is another cluster's.
func (n *Nodes) settled(ctx context.Context, h host.Host) (*facts, error) {
	f, err := n.facts(ctx, h)
	if err != nil {
		return nil, err
	}
	if f.running {
		if _, err := n.run(ctx, h, "wait for kubeadm of an earlier run", `flock "$LOCK" true`, n.env(), nil); err != nil {
			return nil, err
		}
		if f, err = n.facts(ctx, h); err != nil {
			return nil, err
		}
	}
	switch {
	case f.state != "" && f.of != n.clusterName():
		return nil, fail(h, ErrForeign, nil, "clean the host with the Clusterfile of "+printable(f.of)+", or take another host",
			"it is a node of the cluster %s, not of %s", printable(f.of), n.clusterName())
	case f.state == "" && (f.admin || f.kubelet):
		return nil, fail(h, ErrForeign, nil, "run kubeadm reset there if nobody needs it, or take another host",
			"it is a node of a cluster that this installer did not make: %s/etc/kubernetes/ has a kubeconfig", n.o.Root)
	case f.noKubeadm:
		return nil, fail(h, ErrKubeadm, nil, "the image's scripts, or the host's own packages, have to bring it", "there is no kubeadm")
	}
	return f, nil
}

// clusterName is the cluster's name, fit for a line of a file.
func (n *Nodes) clusterName() string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '_'
		}
		return r
	}, n.cluster().Name)
}

// stateText is the file that says what kubeadm does.
func (n *Nodes) stateText(state, role string) string {
	return fmt.Sprintf("state=%s\ncluster=%s\nrole=%s\n", state, n.clusterName(), role)
}

// NodeName is the name that the host's node has, or will have.
func (n *Nodes) NodeName(ctx context.Context, h host.Host) (string, error) {
	f, err := n.facts(ctx, h)
	if err != nil {
		return "", err
	}
	c, err := kubeadm.Init(n.o.Input, f.Host)
	if err != nil {
		return "", err
	}
	return c.NodeName, nil
}
