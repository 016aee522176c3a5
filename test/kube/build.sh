#!/bin/sh
# Builds the programs that are missing from FOLDER/KEY/bin, and prints that
# folder. The key changes with the pinned modules, the Go release and this
# script, so an old program is never taken for a new one.
set -eu
cd "$(dirname "$0")"
mkdir -p "${1:?usage: build.sh FOLDER api|all|where}"
cache=$(cd "$1" && pwd)
set=${2:-api}
: "${GO:=go}"
export CGO_ENABLED=0 GOFLAGS=-trimpath GOWORK=off

key=$({ cat go.mod go.sum kwok/go.mod kwok/go.sum coredns/go.mod coredns/go.sum coredns/main.go build.sh; "$GO" version; } | sha256sum | cut -c1-16)
bin=$cache/$key/bin
echo "$bin"
[ "$set" != where ] || exit 0
mkdir -p "$bin"

# One build at a time; a second one waits and finds everything made.
exec 9>"$cache/$key/lock"
! command -v flock >/dev/null || flock 9

version=v1.34.4
stamp=
for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	stamp="$stamp -X $p.gitVersion=$version -X $p.gitMajor=1 -X $p.gitMinor=34 -X $p.gitTreeState=clean"
	stamp="$stamp -X $p.gitCommit=0000000000000000000000000000000000000000 -X $p.buildDate=2026-01-01T00:00:00Z"
done

# build NAME PACKAGE [MODULE]: by another name first, so that only whole
# programs count.
build() {
	[ ! -x "$bin/$1" ] || return 0
	began=$(date +%s)
	echo "building $1" >&2
	nice -n 5 "$GO" build -C "${3:-.}" -ldflags "-s -w$stamp" -o "$bin/.$1.part" "$2"
	mv "$bin/.$1.part" "$bin/$1"
	echo "built $1 in $(($(date +%s) - began)) s" >&2
}

build etcd go.etcd.io/etcd/server/v3
for name in kube-apiserver kubectl kube-controller-manager kube-scheduler; do
	build $name k8s.io/kubernetes/cmd/$name
done
build kwok sigs.k8s.io/kwok/cmd/kwok kwok
[ "$set" = all ] || exit 0
for name in kubeadm kube-proxy kubelet; do
	build $name k8s.io/kubernetes/cmd/$name
done
build etcdctl go.etcd.io/etcd/etcdctl/v3
build coredns . coredns
