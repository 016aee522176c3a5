package node

import (
	"context"
	"strings"

	"bundle/install/host"
)

// installScript copies the administrator's kubeconfig to where kubectl looks
// for it. One that is not ours is moved away, not lost.
const installScript = `
from="$ROOT/etc/kubernetes/admin.conf"
to="$ROOT/root/.kube/config"
sum="$ROOT/var/lib/bundle/state/kubeconfig.sha256"
mkdir -p "$(dirname "$to")" "$(dirname "$sum")"
have="$(sha256sum "$from" | cut -d ' ' -f 1)"
if [ -e "$to" ] && [ "$(sha256sum "$to" | cut -d ' ' -f 1)" = "$have" ]; then
	echo same
else
	if [ -e "$to" ] && [ "$(sha256sum "$to" | cut -d ' ' -f 1)" != "$(cat "$sum" 2>/dev/null || true)" ]; then
		mv "$to" "$to.before-bundle"
		echo moved
	fi
	install -m 600 "$from" "$to.new"
	mv "$to.new" "$to"
fi
printf '%s\n' "$have" >"$sum"
`

// InstallKubeconfig makes kubectl of root on a control plane work.
func (n *Nodes) InstallKubeconfig(ctx context.Context, h host.Host) (Outcome, error) {
	if _, err := n.FetchKubeconfig(ctx, h); err != nil {
		return Outcome{}, err
	}
	out, err := n.run(ctx, h, "install the kubeconfig", installScript, n.env(), nil)
	if err != nil {
		return Outcome{}, err
	}
	to := n.at("/root/.kube/config")
	switch strings.TrimSpace(out) {
	case "same":
		return Outcome{Detail: to + " was there"}, nil
	case "moved":
		return Outcome{Changed: true, Detail: to + " is the cluster's; the one before is " + to + ".before-bundle"}, nil
	}
	return Outcome{Changed: true, Detail: to + " is the cluster's"}, nil
}
