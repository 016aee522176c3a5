#!/bin/bash
# Runs on every host before kubeadm, in the scripts folder of the root file
# system: puts the container runtime and Kubernetes in place and starts them.
set -euo pipefail
cd "$(dirname "$0")/.."

swapoff -a
cat >/etc/sysctl.d/90-kubernetes.conf <<END
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
END
sysctl -q -p /etc/sysctl.d/90-kubernetes.conf || true

tar -xzf cri/containerd.tar.gz -C /usr/bin
mkdir -p /etc/containerd
install -m 644 etc/containerd-config.toml /etc/containerd/config.toml
install -m 755 bin/kubeadm bin/kubelet bin/kubectl /usr/bin/
install -m 644 etc/containerd.service etc/kubelet.service /etc/systemd/system/

# A pod network is put here later; kubelet waits for it.
mkdir -p /etc/cni/net.d /opt/cni/bin

systemctl daemon-reload
systemctl enable -q containerd kubelet
systemctl restart containerd
for try in $(seq 60); do
	! ctr version >/dev/null 2>&1 || exit 0
	sleep 0.5
done
echo "containerd does not answer" >&2
exit 1
