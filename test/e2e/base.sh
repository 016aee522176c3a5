#!/bin/sh
# Makes what the hosts of the tests are laid on, once, and prints its folder:
# base, a plain Debian server without any container runtime, and runtime, the
# distribution's containerd, runc and CNI plugins, which the cluster image of
# the tests brings along. Needs root and debootstrap.
set -eu
cache=${1:?usage: base.sh FOLDER [where]}
suite=bookworm
server=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,iptables,nftables,conntrack,socat,ethtool,ebtables,procps,kmod,iputils-ping,curl,ca-certificates,mount,libseccomp2,less
runtime="containerd runc containernetworking-plugins"

key=$({ cat "$0"; uname -m; } | sha256sum | cut -c1-16)
dir=$cache/$key
echo "$dir"
[ "${2:-}" != where ] || exit 0
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9

if [ ! -e "$dir/base/.complete" ]; then
	rm -rf "$dir/base"
	nice -n 5 debootstrap --variant=minbase --include="$server" "$suite" "$dir/base" >"$dir/debootstrap.log" 2>&1 ||
		{ tail -20 "$dir/debootstrap.log" >&2; exit 1; }
	rm -rf "$dir/base/var/cache/apt/archives"/*.deb "$dir/base/var/lib/apt/lists"/*
	# Each host makes its own.
	rm -f "$dir/base/etc/machine-id" "$dir/base/etc/hostname"
	touch "$dir/base/.complete"
fi
if [ ! -e "$dir/runtime/.complete" ]; then
	rm -rf "$dir/runtime" "$dir/debs"
	mkdir -p "$dir/runtime" "$dir/debs"
	# apt's own download user may not write here; it says so and goes on.
	# shellcheck disable=SC2086
	(cd "$dir/debs" && apt-get download $runtime >"$dir/download.log" 2>&1) ||
		{ tail -5 "$dir/download.log" >&2; exit 1; }
	for deb in "$dir/debs"/*.deb; do dpkg-deb -x "$deb" "$dir/runtime"; done
	touch "$dir/runtime/.complete"
fi
