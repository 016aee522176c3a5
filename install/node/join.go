package node

import (
	"context"
	"errors"
	"fmt"

	"bundle/install/host"
	"bundle/manifest/kubeadm"
)

// Join makes a host a node of the cluster that master0 is the first control
// plane of: a control plane too if the Clusterfile says that it is a master,
// else a worker. It is left alone where it is one already; a join that was
// begun and not finished is reset and made again.
func (n *Nodes) Join(ctx context.Context, h, master0 host.Host) (Outcome, error) {
	target, err := n.hostOf(h)
	if err != nil {
		return Outcome{}, err
	}
	f, err := n.settled(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	plain, err := kubeadm.Init(n.o.Input, f.Host) // for the node's name
	if err != nil {
		return Outcome{}, fail(h, nil, err, "", "%v", err)
	}
	a, err := n.waitHealthy(ctx, master0)
	if err != nil {
		return Outcome{}, n.silent(ctx, master0, err)
	}
	info, err := a.node(ctx, plain.NodeName)
	if err != nil {
		return Outcome{}, n.silent(ctx, master0, err)
	}
	role, what := roleWorker, "node"
	if target.Master() {
		role, what = roleControl, "control plane"
	}
	if f.state == stateDone && f.kubelet && info.there {
		if f.began != role {
			return Outcome{}, fail(h, ErrForeign, nil, "clean the host first if it is to change its role", "it is in the cluster as a %s, and the Clusterfile wants it as a %s", printable(f.began), role)
		}
		if role == roleControl {
			if err := n.askItself(ctx, h, plain); err != nil {
				return Outcome{}, err
			}
		}
		return Outcome{Detail: fmt.Sprintf("%s %s was there", what, plain.NodeName)}, nil
	}
	if info.there && info.address != "" && info.address != h.Name() && f.state == "" {
		return Outcome{}, fail(h, ErrForeign, nil, "give each host a name of its own (hostnamectl set-hostname)",
			"its name %s is that of another node already, the one at %s", plain.NodeName, printable(info.address))
	}
	before := ""
	if f.state != "" {
		before = "; an earlier try had not finished and was reset first"
		if f.state == stateDone {
			before = "; it had been one before, was no longer known to the cluster, and was reset first"
		}
		if err := n.resetNode(ctx, h, f); err != nil {
			return Outcome{}, err
		}
		// kubeadm refuses the name of a node that was ready a moment ago.
		if info.there {
			if err := a.deleteNode(ctx, plain.NodeName); err != nil {
				return Outcome{}, n.silent(ctx, master0, err)
			}
		}
	}
	if err := n.resolves(ctx, h, plain.Endpoint); err != nil {
		return Outcome{}, err
	}
	t, err := n.ticketFor(ctx, master0, target.Master())
	if err != nil {
		return Outcome{}, err
	}
	c, err := kubeadm.Join(n.o.Input, f.Host, t)
	if err != nil {
		return Outcome{}, fail(h, nil, err, "", "%v", err)
	}
	if err := n.kubeadm(ctx, h, "join", role, c); err != nil {
		return Outcome{}, err
	}
	if role == roleControl {
		if err := n.askItself(ctx, h, c); err != nil {
			return Outcome{}, err
		}
	}
	if info, err = n.registered(ctx, a, c.NodeName); err != nil {
		return Outcome{}, n.silent(ctx, master0, err)
	}
	if !info.there {
		return Outcome{}, fail(h, ErrKubeadm, nil, "", "kubeadm join ended well, but the cluster has no node %s", c.NodeName)
	}
	return Outcome{Changed: true, Detail: fmt.Sprintf("%s %s of Kubernetes %s%s%s", what, c.NodeName, c.Version, before, warnings(c))}, nil
}

// localScript has the kubelet of a further control plane ask the API server
// beside it, so that it goes on when the first one is gone.
const localScript = `
conf="$ROOT/etc/kubernetes/kubelet.conf"
if [ ! -f "$conf" ] || ! grep -qF "server: https://$ENDPOINT" "$conf"; then exit 0; fi
cp -p "$conf" "$conf.new"
sed -i "s#server: https://$ENDPOINT#server: https://$LOCAL#" "$conf.new"
mv "$conf.new" "$conf"
systemctl restart kubelet
echo changed
`

func (n *Nodes) askItself(ctx context.Context, h host.Host, c *kubeadm.Config) error {
	out, err := n.run(ctx, h, "have the kubelet ask its own API server", localScript, n.env("ENDPOINT", c.Endpoint, "LOCAL", c.Local), nil)
	if _, ok := errors.AsType[*host.ExitError](err); ok {
		return fail(h, ErrKubeadm, err, "", "the kubelet cannot be pointed at its own API server: %s", printable(lastLine(out)))
	}
	return err
}
