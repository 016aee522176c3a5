#!/bin/sh
# The whole main job on embedded defaults: an upstream registry with images made
# on the spot, the ACK-shaped base, the CNStack bundle on it, then what happens
# on site: verify, serve, pull every image by digest, look at the steps.
#
# usage: scripts/demo.sh BUNDLE_BINARY
set -eu
cd "$(dirname "$0")/.."
bundle=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
root=$PWD
: "${GO:=go}"
: "${BUNDLE_PASSWORD:=demo}"
export BUNDLE_PASSWORD

work=$(mktemp -d)
pids=
cleanup() {
	for pid in $pids; do kill "$pid" 2>/dev/null || :; done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*" | sed "s|$bundle|bundle|; s|$work/||g; s|$root/||g"; "$@"; }
# field FILE NAME: a string out of one line of JSON.
field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$1"; }
wait_for() {
	n=0
	until [ -s "$1" ]; do
		n=$((n + 1))
		if [ "$n" -gt 1200 ]; then echo "demo: $2 did not start" >&2; exit 1; fi
		sleep 0.1
	done
}

base=$root/testdata/ackdistro
context=$root/testdata/cnstack-ce/charts/build-cnstack-ce

say "An upstream registry, with a small runnable image for every name in the lists"
"$GO" build -o "$work/upstream" ./internal/upstream/cmd/upstream
mkfifo "$work/alive"
"$work/upstream" -go "$GO" -platform linux/amd64,linux/arm64 "$base/imageList" "$context/imageList" \
	<"$work/alive" >"$work/upstream.json" &
pids="$pids $!"
exec 3>"$work/alive"
wait_for "$work/upstream.json" "the upstream registry"
upstream=$(field "$work/upstream.json" addr)
echo "it answers on $upstream for $(sed -n 's/.*"images":\([0-9]*\).*/\1/p' "$work/upstream.json") images"

cd "$work"
say "Connected side: a key, the base, the bundle"
run "$bundle" keygen -o ci
run "$bundle" build "$base" --name ackdistro --version v1.20.4-ack-2 --dialect 0.5 \
	--mirror "*=$upstream" --key ci.key
run "$bundle" build "$context" --name cnstack-ce --version 1.1.0 \
	--from bundle:ackdistro-v1.20.4-ack-2.tar.zst --profile "$root/testdata/cnstack-ce/deploy/Clusterfile.full" \
	--mirror "*=$upstream" --lock bundle.lock --key ci.key
file=cnstack-ce-1.1.0.tar.zst

say "The air gap: the upstream registry is gone"
exec 3>&-
ls -l "$file"

say "On site: whole, ours, complete?"
run "$bundle" verify "$file" --key ci.pub
run "$bundle" inspect "$file"
run "$bundle" why pause "$file"

say "One flipped byte"
cp "$file" broken.tar.zst
size=$(wc -c <broken.tar.zst)
printf 'X' | dd of=broken.tar.zst bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
code=0
run "$bundle" verify broken.tar.zst --key ci.pub || code=$?
[ "$code" -eq 3 ] || { echo "demo: a damaged bundle gave exit $code, not 3" >&2; exit 1; }

say "The file is the registry"
"$bundle" serve "$file" --key ci.pub --addr 127.0.0.1:0 -o json >serve.json &
pids="$pids $!"
wait_for serve.json "bundle serve"
url=$(field serve.json url)
echo "$ bundle serve $file --key ci.pub    # on $url"
"$bundle" images "$file" -o json >images.json
"$GO" build -C "$root" -o "$work/pullall" ./internal/pullall
run ./pullall "$(field serve.json addr)" images.json

say "The steps that an install runs, in order: the base's, then the bundle's own"
run "$bundle" steps "$file"

say "The whole install on three hosts, planned and rehearsed without any host"
site="-f $root/testdata/cnstack-ce/deploy/Clusterfile.multi --set MASTER_IP_1=10.0.0.1 --set WORKER_IP_1=10.0.0.2 --set WORKER_IP_2=10.0.0.3 --set PASSWD=demo"
# shellcheck disable=SC2086
run "$bundle" plan "$file" --key ci.pub $site
# shellcheck disable=SC2086
run "$bundle" rehearse "$file" --key ci.pub $site

say "Done: nothing was unpacked, and the bundle is the only copy"
du -sh "$file"
