# Tells the facts of a host. It writes no file and changes nothing.
#
# A line "=NAME" begins a section, the lines of a section begin with a blank.
# The environment says what to look at: BUNDLE_PATHS and BUNDLE_DEVICES, one a
# line, BUNDLE_COMMANDS and BUNDLE_MODULES, with blanks between, BUNDLE_ROOTFS.

LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

section() { printf '\n=%s\n' "$1"; }
lines() { head -n "${1:-200}" 2>/dev/null | sed 's/^/ /'; }
have() { command -v "$1" >/dev/null 2>&1; }
first() { for f in "$@"; do [ -r "$f" ] && { cat "$f" 2>/dev/null; return; }; done; }

# The time is taken before the first byte is sent, so that who reads it knows a
# moment that it lies before.
now=$(date +%s.%N)
section begin
section clock; echo "$now" | lines 1

bound=
timeout 1 true 2>/dev/null && bound='timeout 10'

section os; first /etc/os-release /usr/lib/os-release /etc/redhat-release | lines 50
section uname; { uname -r; uname -m; } | lines 2
section id; id -u | lines 1
section cpus
{ nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c '^processor' /proc/cpuinfo; } | lines 1
section memory; grep -E '^(MemTotal|MemAvailable|MemFree):' /proc/meminfo | lines 5

# Free space where a folder will be: that of the nearest one that is there.
section disk
printf '%s\n' "$BUNDLE_PATHS" | while IFS= read -r p; do
	case $p in /*) ;; *) continue ;; esac
	at=$p
	while [ ! -d "$at" ]; do
		at=${at%/*}
		[ -n "$at" ] || at=/
	done
	printf ' p %s\n' "$p"
	printf ' k %s\n' "$($bound df -Pk "$at" 2>/dev/null | tail -n 1)"
	printf ' i %s\n' "$($bound df -Pi "$at" 2>/dev/null | tail -n 1)"
done

section listen; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep ' 0A ' | lines 2000
section owners
wanted=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep ' 0A ' | head -n 2000 | awk '{ print $10 }' | sort -u | tr '\n' ' ')
$bound ls -ln /proc/[0-9]*/fd 2>/dev/null | awk -v wanted="$wanted" '
	BEGIN { n = split(wanted, w, " "); for (i = 1; i <= n; i++) inode["socket:[" w[i] "]"] = w[i] }
	/^\/proc\/[0-9]+\/fd:/ { split($0, part, "/"); pid = part[3]; next }
	$NF in inode { print inode[$NF], pid }
' | head -n 2000 | while read -r inode pid; do
	name=
	read -r name 2>/dev/null <"/proc/$pid/comm"
	printf ' %s %s %s\n' "$inode" "$pid" "$name"
done

section hostname; first /proc/sys/kernel/hostname | lines 1
section swaps; first /proc/swaps | lines 20
section resolv; first /etc/resolv.conf | lines 50
section resolved; first /run/systemd/resolve/resolv.conf | lines 50

# What an earlier cluster left.
section leftover
for f in /etc/kubernetes/*.conf /etc/kubernetes/manifests/*.yaml /etc/kubernetes/pki/ca.crt /etc/systemd/system/bundle-registry.service; do
	[ -e "$f" ] && printf ' file %s\n' "$f"
done
for d in /var/lib/etcd /var/lib/bundle "$BUNDLE_ROOTFS" /etc/cni/net.d /var/lib/kubelet/pods; do
	[ -n "$d" ] && [ -n "$(ls -A "$d" 2>/dev/null | grep -v -x 'lost+found' | head -n 1)" ] && printf ' dir %s\n' "$d"
done
for i in cni0 flannel.1 kube-ipvs0 nodelocaldns tunl0 vxlan.calico hybr0; do
	[ "$i" = tunl0 ] && [ ! -e /etc/kubernetes ] && continue
	[ -e "/sys/class/net/$i" ] && printf ' link %s\n' "$i"
done

section init
if [ -d /run/systemd/system ]; then echo systemd; else first /proc/1/comm; fi | lines 1
section units
if [ -d /run/systemd/system ]; then
	$bound systemctl show -p Id -p LoadState -p ActiveState kubelet.service containerd.service docker.service \
		crio.service bundle-registry.service firewalld.service ufw.service chronyd.service chrony.service \
		ntpd.service ntp.service ntpsec.service openntpd.service systemd-timesyncd.service 2>/dev/null | lines 200
fi

section cgroup
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo 2; elif [ -d /sys/fs/cgroup/memory ]; then echo 1; fi | lines 1
section selinux; first /sys/fs/selinux/enforce | lines 1

section modules
for m in $BUNDLE_MODULES; do
	state=missing
	if [ -d "/sys/module/$m" ] || grep -q "^$m " /proc/modules 2>/dev/null; then
		state=loaded
	elif [ "$m" = overlay ] && grep -q 'overlay$' /proc/filesystems; then
		state=loaded
	elif [ "$m" = br_netfilter ] && [ -d /proc/sys/net/bridge ]; then
		state=loaded
	elif have modprobe && modprobe -n -q "$m" 2>/dev/null; then
		state=loadable
	fi
	printf ' %s %s\n' "$state" "$m"
done
section commands
for c in $BUNDLE_COMMANDS; do
	if have "$c"; then printf ' have %s\n' "$c"; else printf ' miss %s\n' "$c"; fi
done

section devices
printf '%s\n' "$BUNDLE_DEVICES" | while IFS= read -r d; do
	case $d in /dev/*) ;; *) continue ;; esac
	printf ' d %s\n' "$d"
	[ -b "$d" ] || continue
	real=$(readlink -f "$d")
	n=${real##*/}
	printf ' size %s\n' "$(cat "/sys/class/block/$n/size" 2>/dev/null)"
	grep "^$real " /proc/mounts 2>/dev/null | head -n 1 | while read -r _ at _; do printf ' mount %s\n' "$at"; done
	grep -q "^$real " /proc/swaps 2>/dev/null && printf ' swap %s\n' "$real"
	for p in "/sys/class/block/$n/$n"*; do [ -e "$p/partition" ] && printf ' part %s\n' "${p##*/}"; done
	for p in "/sys/class/block/$n/holders/"*; do [ -e "$p" ] && printf ' holder %s\n' "${p##*/}"; done
	printf ' fs %s\n' "$($bound blkid -o value -s TYPE "$real" 2>/dev/null </dev/null | head -n 1)"
done

section net
for i in /sys/class/net/*; do
	kind=virtual
	[ -e "$i/device" ] && kind=device
	mac=
	read -r mac 2>/dev/null <"$i/address"
	printf ' %s %s %s\n' "$kind" "${i##*/}" "$mac"
done | head -n 500
section route
{ awk '$2 == "00000000" && $8 == "00000000" { print $1 }' /proc/net/route; awk '$1 ~ /^0+$/ && $2 == "00" && $10 != "lo" { print $10 }' /proc/net/ipv6_route; } 2>/dev/null | lines 20
section addresses
{ ip -o addr show 2>/dev/null | awk '{ print $4 }' || hostname -I | tr ' ' '\n'; } 2>/dev/null | lines 500

section machine; first /etc/machine-id | lines 1
section product; first /sys/class/dmi/id/product_uuid | lines 1
section end
