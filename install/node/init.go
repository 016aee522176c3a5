package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"bundle/install/host"
	"bundle/manifest/kubeadm"
)

// Roles in the file of a host.
const (
	roleInit    = "init"
	roleControl = "control-plane"
	roleWorker  = "worker"
)

// kubeadmScript runs kubeadm and writes down that it ended well. The lock
// goes with kubeadm itself, so that it is held for as long as that runs,
// whatever becomes of us. What kubeadm may print must hold no secret.
const kubeadmScript = `
mkdir -p "$(dirname "$LOCK")"
exec 8>>"$LOCK"
flock 8
if [ -n "$AUDIT" ] && [ -e "$ROOTFS/statics/audit-policy.yml" ]; then
	mkdir -p "$ROOT/etc/kubernetes" "$ROOT/var/log/kubernetes"
	cp -f "$ROOTFS/statics/audit-policy.yml" "$ROOT/etc/kubernetes/audit-policy.yml"
fi
if [ ! -e "$STATE.cni" ]; then ls -A "$ROOT/etc/cni/net.d" >"$STATE.cni" 2>/dev/null || true; fi
code=0
kubeadm "$VERB" --config "$CONFIG" $FLAGS </dev/null || code=$?
if [ "$code" = 0 ] && [ "$VERB" = init ]; then
	install -m 600 "$CONFIG" "$ROOT/etc/kubernetes/kubeadm.yaml"
fi
rm -f "$CONFIG"
if [ "$code" != 0 ]; then exit "$code"; fi
printf '%s' "$DONE" >"$STATE.new"
sync "$STATE.new" 2>/dev/null || sync
mv "$STATE.new" "$STATE"
`

// Init makes the first control plane. It is left alone where it is one
// already; one that was begun and not finished is reset and made again.
func (n *Nodes) Init(ctx context.Context, h host.Host) (Outcome, error) {
	f, err := n.settled(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	c, err := kubeadm.Init(n.o.Input, f.Host)
	if err != nil {
		return Outcome{}, fail(h, nil, err, "", "%v", err)
	}
	var before string
	switch {
	case f.state == stateDone:
		return n.stillThere(ctx, h, c)
	case f.state == stateStarted:
		if err := n.resetNode(ctx, h, f); err != nil {
			return Outcome{}, err
		}
		before = "; an earlier try had not finished and was reset first"
	}
	if err := n.resolves(ctx, h, c.Endpoint); err != nil {
		return Outcome{}, err
	}
	if err := n.kubeadm(ctx, h, "init", roleInit, c, "--skip-token-print"); err != nil {
		return Outcome{}, err
	}
	a, err := n.waitHealthy(ctx, h)
	if err != nil {
		return Outcome{}, n.silent(ctx, h, err)
	}
	info, err := n.registered(ctx, a, c.NodeName)
	if err != nil {
		return Outcome{}, n.silent(ctx, h, err)
	}
	if !info.there {
		return Outcome{}, fail(h, ErrKubeadm, nil, "", "kubeadm init ended well, but there is no node %s", c.NodeName)
	}
	return Outcome{Changed: true, Detail: fmt.Sprintf("control plane %s of Kubernetes %s at %s%s%s", c.NodeName, c.Version, c.Endpoint, before, warnings(c))}, nil
}

// stillThere makes sure that a finished control plane is well. It is never
// reset: it may hold what somebody needs.
func (n *Nodes) stillThere(ctx context.Context, h host.Host, c *kubeadm.Config) (Outcome, error) {
	a, err := n.waitHealthy(ctx, h)
	if err != nil {
		return Outcome{}, n.silent(ctx, h, err)
	}
	info, err := a.node(ctx, c.NodeName)
	if err != nil {
		return Outcome{}, n.silent(ctx, h, err)
	}
	if !info.there {
		return Outcome{}, fail(h, ErrKubeadm, nil, "somebody deleted it, or renamed the host; bundle clean and a new install make it anew",
			"the cluster is there, and has no node %s", c.NodeName)
	}
	return Outcome{Detail: fmt.Sprintf("control plane %s was there and is well", c.NodeName)}, nil
}

// silent explains an API server that does not answer.
func (n *Nodes) silent(ctx context.Context, h host.Host, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	text := "the API server does not answer: " + printable(err.Error())
	if said := n.kubeletSays(ctx, h); said != "" {
		text += "; " + said
	}
	return fail(h, ErrAPI, err, "crictl ps -a and journalctl -u kubelet on the host say more; run the install again when it is up", "%s", printable(text))
}

// resolves makes sure that the host knows the API server's name before
// kubeadm waits minutes for it.
func (n *Nodes) resolves(ctx context.Context, h host.Host, endpoint string) error {
	name, _ := split(endpoint)
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return nil
	}
	_, err := n.run(ctx, h, "look up "+name, `getent hosts "$NAME" >/dev/null`, n.env("NAME", name), nil)
	if _, ok := errors.AsType[*host.ExitError](err); ok {
		return fail(h, ErrKubeadm, err, "the step registry.trust writes its address to /etc/hosts; for another controlPlaneEndpoint add it to hostAliases",
			"it does not know the address of %s", printable(name))
	}
	return err
}

// kubeadm runs kubeadm init or join with a configuration.
func (n *Nodes) kubeadm(ctx context.Context, h host.Host, verb, role string, c *kubeadm.Config, flags ...string) error {
	if err := h.WriteFile(ctx, n.at(configPath), 0o600, c.Text); err != nil {
		return err
	}
	if err := h.WriteFile(ctx, n.at(statePath), 0o644, []byte(n.stateText(stateStarted, role))); err != nil {
		return err
	}
	if len(c.IgnorePreflight) > 0 {
		flags = append(flags, "--ignore-preflight-errors="+strings.Join(c.IgnorePreflight, ","))
	}
	audit := ""
	if c.AuditPolicy && role != roleWorker {
		audit = "yes"
	}
	out, err := n.run(ctx, h, "kubeadm "+verb, kubeadmScript,
		n.env("VERB", verb, "FLAGS", strings.Join(flags, " "), "AUDIT", audit, "DONE", n.stateText(stateDone, role)), nil)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return n.explain(ctx, h, "kubeadm "+verb, out, err)
	}
	return nil
}

// warnings are what kubeadm's configuration had to say, for one line.
func warnings(c *kubeadm.Config) string {
	if len(c.Warnings) == 0 {
		return ""
	}
	return "; " + strings.Join(c.Warnings, "; ")
}
