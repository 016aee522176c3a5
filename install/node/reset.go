package node

import (
	"context"
	"errors"
	"strings"

	"bundle/install/host"
	"bundle/manifest/kubeadm"
)

// resetScript takes a node apart. Every part is tried, whatever became of the
// one before; what could not be done is said in lines that begin with "left".
// Folders are emptied rather than removed where something is mounted on them.
const resetScript = `
set +e
left() { printf 'left %s\n' "$1"; }
did() { printf 'did %s\n' "$1"; }
empty() {
	[ -e "$1" ] || return 0
	if mountpoint -q "$1" 2>/dev/null; then
		find "$1" -xdev -mindepth 1 -delete 2>/dev/null
		if [ -n "$(find "$1" -xdev -mindepth 1 -print -quit 2>/dev/null)" ]; then left "$1"; else did "emptied $1"; fi
		return 0
	fi
	rm -rf --one-file-system "$1" 2>/dev/null
	if [ -e "$1" ]; then left "$1"; else did "removed $1"; fi
}
login="$ROOT/var/lib/kubelet/config.json" # how the kubelet logs in to the registry
if [ -n "$RETRY" ] && [ -e "$login" ]; then cp -p "$login" "$STATE.login"; fi
if command -v kubeadm >/dev/null; then
	if timeout 300 kubeadm reset -f ${SOCKET:+--cri-socket "$SOCKET"} </dev/null; then did 'kubeadm reset'; else left 'kubeadm reset failed'; fi
elif [ -e "$ROOT/etc/kubernetes/kubelet.conf" ]; then
	left 'there is no kubeadm to reset it'
fi
systemctl stop kubelet 2>/dev/null
for m in $(awk -v p="$ROOT/var/lib/kubelet/" 'index($2, p) == 1 {print $2}' /proc/self/mounts | sort -r); do umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null; done
if [ -n "$RETRY" ]; then
	# What the image's scripts put there is needed again.
	rm -rf "$ROOT"/etc/kubernetes/*.conf "$ROOT"/etc/kubernetes/manifests/* "$ROOT/etc/kubernetes/pki"
	if [ -e "$ROOT/etc/kubernetes/kubelet.conf" ] || [ -e "$ROOT/etc/kubernetes/pki" ]; then left "$ROOT/etc/kubernetes"; fi
	empty "$ROOT/var/lib/etcd"
	if [ -e "$STATE.login" ]; then mkdir -p "$(dirname "$login")" && mv "$STATE.login" "$login"; fi
	rm -f "$CONFIG" "$CONFIG.issue"
	exit 0
fi
empty "$ROOT/etc/kubernetes"
empty "$ROOT/var/lib/etcd"
# What was there before Kubernetes stays: podman's network, say.
for f in "$ROOT"/etc/cni/net.d/* "$ROOT"/etc/cni/net.d/.[!.]*; do
	[ -e "$f" ] || continue
	grep -qxF -- "$(basename "$f")" "$STATE.cni" 2>/dev/null || empty "$f"
done
empty "$ROOT/var/lib/cni"
empty "$ROOT/var/lib/kubelet"
rm -rf "$ROOT/var/log/kubernetes"
if [ -z "$ROOT" ]; then
	for i in cni0 flannel.1 flannel-v6.1 kube-ipvs0 nodelocaldns vxlan.calico; do
		if ip link show "$i" >/dev/null 2>&1; then if ip link delete "$i" 2>/dev/null; then did "removed the interface $i"; else left "the interface $i"; fi; fi
	done
	if [ -e /proc/net/ip_vs ] && command -v ipvsadm >/dev/null; then ipvsadm --clear 2>/dev/null; fi
	for t in iptables ip6tables; do
		command -v "$t-save" >/dev/null && command -v "$t-restore" >/dev/null || continue
		rules="$("$t-save" 2>/dev/null)"
		case "$rules" in *KUBE-*) ;; *) continue ;; esac
		if printf '%s\n' "$rules" | grep -v KUBE- | "$t-restore" 2>/dev/null; then did "removed the rules of Kubernetes from $t"; else left "rules of Kubernetes in $t"; fi
	done
fi
config="$ROOT/root/.kube/config"
sum="$ROOT/var/lib/bundle/state/kubeconfig.sha256"
if [ -e "$config" ] && [ -e "$sum" ] && [ "$(sha256sum "$config" | cut -d ' ' -f 1)" = "$(cat "$sum")" ]; then
	rm -f "$config" "$sum"
	did "removed $config"
	if [ -e "$config.before-bundle" ]; then mv "$config.before-bundle" "$config"; did "put the one from before back"; fi
fi
rm -f "$sum" "$CONFIG" "$CONFIG.issue" "$STATE" "$STATE.new" "$STATE.cni" "$STATE.login" "$LOCK"
exit 0
`

// Reset takes a host out of the cluster and removes what Kubernetes left on
// it. A node of a cluster that is not ours is refused. What could not be
// removed is in the detail, and no failure: a disk of its own for etcd, say,
// is emptied and stays.
func (n *Nodes) Reset(ctx context.Context, h host.Host) (Outcome, error) {
	f, err := n.facts(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	switch {
	case f.state != "" && f.of != n.clusterName():
		return Outcome{}, fail(h, ErrForeign, nil, "clean it with the Clusterfile of "+printable(f.of),
			"it is a node of the cluster %s, not of %s; nothing was touched", printable(f.of), n.clusterName())
	case f.state == "" && (f.admin || f.kubelet):
		return Outcome{}, fail(h, ErrForeign, nil, "run kubeadm reset there by hand if nobody needs it",
			"it is a node of a cluster that this installer did not make; nothing was touched")
	case f.state == "":
		return Outcome{Detail: "it was no node"}, nil
	}
	did, left, err := n.reset(ctx, h, f, "")
	if err != nil {
		return Outcome{}, err
	}
	detail := strings.Join(did, ", ")
	if len(left) > 0 {
		detail += "; left: " + strings.Join(left, ", ")
	}
	return Outcome{Changed: true, Detail: printable(detail)}, nil
}

// resetNode is what comes before another try.
func (n *Nodes) resetNode(ctx context.Context, h host.Host, f *facts) error {
	_, left, err := n.reset(ctx, h, f, "yes")
	if err != nil {
		return err
	}
	for _, l := range left {
		if strings.Contains(l, "/etc/kubernetes") || strings.Contains(l, "/var/lib/etcd") {
			return fail(h, ErrKubeadm, nil, "remove it by hand and run the install again", "what an earlier try left at %s cannot be removed", printable(l))
		}
	}
	return nil
}

func (n *Nodes) reset(ctx context.Context, h host.Host, f *facts, retry string) (did, left []string, err error) {
	socket := ""
	if c, err := kubeadm.Init(n.o.Input, f.Host); err == nil {
		socket = c.CRISocketFlag()
	}
	out, err := n.run(ctx, h, "kubeadm reset", resetScript, n.env("SOCKET", socket, "RETRY", retry), nil)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if exit, ok := errors.AsType[*host.ExitError](err); ok {
		return nil, nil, fail(h, ErrKubeadm, err, exit.Hint(), "the reset failed: %s", printable(exit.LastLine()))
	}
	if err != nil {
		return nil, nil, err
	}
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if s, ok := strings.CutPrefix(line, "did "); ok {
			did = append(did, s)
		} else if s, ok := strings.CutPrefix(line, "left "); ok {
			left = append(left, s)
		}
	}
	return did, left, nil
}

const removeScript = `
case "$ROOTFS" in *//*|*/../*|*/..|/|/*/) exit 9 ;; esac
for m in $(awk -v p="$ROOTFS" '$2 == p || index($2, p "/") == 1 {print $2}' /proc/self/mounts | sort -r); do echo "mounted $m"; exit 0; done
if [ -e "$ROOTFS" ] || [ -e "$ROOTFS.part" ]; then
	rm -rf --one-file-system "$ROOTFS" "$ROOTFS.part" "$ROOTFS.old"
	rmdir "$(dirname "$ROOTFS")" 2>/dev/null || true
	echo removed
fi
`

// RemoveRootfs removes the root file system.
func (n *Nodes) RemoveRootfs(ctx context.Context, h host.Host) (Outcome, error) {
	out, err := n.run(ctx, h, "remove the root file system", removeScript, n.env(), nil)
	if err != nil {
		return Outcome{}, err
	}
	out = strings.TrimSpace(out)
	if at, ok := strings.CutPrefix(out, "mounted "); ok {
		return Outcome{}, fail(h, nil, nil, "unmount it and run clean again", "%s cannot be removed: something is mounted at %s", n.rootfs, printable(at))
	}
	if out == "removed" {
		return Outcome{Changed: true, Detail: n.rootfs + " is removed"}, nil
	}
	return Outcome{Detail: n.rootfs + " was not there"}, nil
}
