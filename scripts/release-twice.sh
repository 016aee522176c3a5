#!/bin/sh
# Makes the release once more from a clone of the last commit in another folder,
# with a build cache of its own that is empty, and compares it byte by byte with
# the one that is there. Only the bundle's signature may differ.
#
# usage: scripts/release-twice.sh VERSION FOLDER
# environment: that of scripts/release.sh
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: release-twice.sh VERSION FOLDER}
dist=$(cd "${2:?usage: release-twice.sh VERSION FOLDER}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
git clone -q . "$work/another-folder"
GOCACHE=$work/cache KEY= sh "$work/another-folder/scripts/release.sh" "$version" "$work/dist" >"$work/log" ||
	{ cat "$work/log"; exit 1; }
for f in "$work/dist"/bundle_* "$work/dist/SHA256SUMS"; do
	cmp "$f" "$dist/${f##*/}"
	echo "identical: ${f##*/}"
done
# The index, which is what is signed, is the same, too.
program=$(ls "$dist"/bundle_*_"$("${GO:-go}" env GOOS)_$("${GO:-go}" env GOARCH)")
index() { "$program" inspect -o json "$1" | sed -n 's/^  "indexDigest": "\(.*\)",$/\1/p'; }
one=$(index "$dist"/bundle-*.tar.zst)
[ -n "$one" ] && [ "$one" = "$(index "$work/dist"/bundle-*.tar.zst)" ] || { echo "release-twice: the bundles have other indexes" >&2; exit 1; }
echo "identical: the index of the bundle, $one"
