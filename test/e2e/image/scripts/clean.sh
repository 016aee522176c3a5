#!/bin/bash
# Undoes what init.sh did, and what pods leave behind; after kubeadm reset.
systemctl disable -q --now kubelet containerd
pkill -x containerd-shim # its whole name is longer than the kernel keeps
for m in $(awk '$2 ~ "^/(run/containerd/|var/lib/kubelet/|run/netns/cni-)" {print $2}' /proc/mounts | sort -r); do
	umount -l "$m"
done
ip link del cni0 2>/dev/null
ip route show proto boot | awk '/ via / && $1 != "default" {print $1}' | while read -r dst; do ip route del "$dst"; done
for t in filter nat mangle; do
	iptables-save -t $t | grep -qE 'KUBE-|CNI-' || continue
	iptables -t $t -F
	iptables -t $t -X
done
rm -rf /var/run/netns/cni-*
rm -rf /etc/cni /opt/cni /opt/containerd /var/lib/cni /var/lib/containerd/* /var/lib/kubelet/* /var/lib/etcd/* /run/containerd /run/flannel
rm -f /etc/containerd/config.toml /etc/systemd/system/containerd.service /etc/systemd/system/kubelet.service
rmdir /etc/containerd 2>/dev/null
rm -f /etc/sysctl.d/90-kubernetes.conf
rm -f /usr/bin/kubeadm /usr/bin/kubelet /usr/bin/kubectl
rm -f /usr/bin/containerd /usr/bin/containerd-shim-runc-v2 /usr/bin/ctr /usr/bin/runc
systemctl daemon-reload
systemctl reset-failed 2>/dev/null
exit 0
