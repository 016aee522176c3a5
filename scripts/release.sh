#!/bin/sh
# Makes what is published: a static program for each platform, packages for
# Debian and Red Hat, their checksums, and all of it as a bundle of its own,
# signed, so that the tool is carried and checked like everything else. The same
# commit gives the same bytes, but for the signature (scripts/release-twice.sh).
# At the end what was made is checked as a user would: the sums, the packages, and
# the bundle by the program that was just built.
#
# usage: scripts/release.sh VERSION FOLDER
# environment: PLATFORMS, KEY (a KEYREF; without it the bundle is not signed), PUB
# (its public key; default: beside KEY, or KEY itself where a service has it),
# PACKAGES=0 leaves the packages out
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: release.sh VERSION FOLDER}
dist=${2:?usage: release.sh VERSION FOLDER}
: "${GO:=go}" "${KEY:=}" "${PACKAGES:=1}"
: "${PLATFORMS:=linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64}"
# Packages want a number; a commit without a tag has none.
number=${version#v}
case $number in
[0-9]*.*) ;;
*) number=0.0.0-$number ;;
esac
: "${PUB:=}"
if [ -z "$PUB" ]; then
	case $KEY in
	*.key) PUB=${KEY%.key}.pub ;;
	env://*) echo "release: KEY=$KEY wants PUB=FILE, too" >&2; exit 2 ;;
	*) PUB=$KEY ;;
	esac
fi
# Of the last commit, so that packages do not depend on the day they are made.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
export CGO_ENABLED=0 GOFLAGS=-trimpath

rm -rf "$dist"
mkdir -p "$dist/files/bin"
dist=$(cd "$dist" && pwd)
self=$dist/.self
"$GO" build -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version" -o "$self" ./cmd/bundle

for p in $PLATFORMS; do
	os=${p%/*} arch=${p#*/} ext=
	[ "$os" != windows ] || ext=.exe
	echo "building for $p"
	GOOS=$os GOARCH=$arch "$GO" build -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version" \
		-o "$dist/bundle_${number}_${os}_$arch$ext" ./cmd/bundle
done

if [ "$PACKAGES" = 1 ]; then
	docs=$dist/.docs
	mkdir -p "$docs/man"
	"$self" man "$docs/man" >/dev/null
	for s in bash zsh fish; do "$self" completion "$s" >"$docs/$s"; done
	for p in $PLATFORMS; do
		[ "${p%/*}" = linux ] || continue
		arch=${p#*/}
		cat >"$dist/.nfpm.yaml" <<END
name: bundle
arch: $arch
version: "$number"
maintainer: The bundle authors
description: One signed file that carries a Kubernetes platform across the air gap
license: Apache-2.0
mtime: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
rpm: {buildhost: bundle}
contents:
  - {src: $dist/bundle_${number}_linux_$arch, dst: /usr/bin/bundle, file_info: {mode: 0755}}
  - {src: $docs/bash, dst: /usr/share/bash-completion/completions/bundle, file_info: {mode: 0644}}
  - {src: $docs/zsh, dst: /usr/share/zsh/site-functions/_bundle, file_info: {mode: 0644}}
  - {src: $docs/fish, dst: /usr/share/fish/vendor_completions.d/bundle.fish, file_info: {mode: 0644}}
  - {src: $docs/man/*, dst: /usr/share/man/man1/, file_info: {mode: 0644}}
  - {src: LICENSE, dst: /usr/share/doc/bundle/copyright, file_info: {mode: 0644}}
END
		for format in deb rpm; do
			echo "packing $format for $arch"
			GOFLAGS= "$GO" run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2 package -f "$dist/.nfpm.yaml" -p "$format" -t "$dist/" >/dev/null
		done
	done
fi
rm -rf "$dist/.docs" "$dist/.nfpm.yaml"

(cd "$dist" && sha256sum bundle* >SHA256SUMS)

# The release as a bundle.
cp "$dist"/bundle* "$dist/SHA256SUMS" "$dist/files/bin/"
cat >"$dist/files/bundle.yaml" <<END
apiVersion: bundle/v1
kind: Bundle
name: bundle
version: "$number"
files:
  - {src: bin, dst: bin}
END
if [ -n "$KEY" ]; then set -- --key "$KEY"; else set -- --unsigned; fi
file=$dist/bundle-$number.tar.zst
"$self" build "$dist/files" -o "$file" "$@" >/dev/null
rm -rf "$dist/files"

echo "checking"
(cd "$dist" && sha256sum --quiet -c SHA256SUMS)
if [ -n "$KEY" ]; then set -- --key "$PUB"; else set -- --insecure-skip-signature; fi
"$self" verify "$file" "$@"
# What comes out of the bundle is what lies beside it.
"$self" extract "$file" --to "$dist/.out" --file bin 2>/dev/null
for f in "$dist"/bundle_* "$dist/SHA256SUMS"; do
	cmp "$f" "$dist/.out/bin/${f##*/}"
done
host=bundle_${number}_$("$GO" env GOOS)_$("$GO" env GOARCH)
[ ! -e "$dist/$host" ] || cmp "$self" "$dist/$host"
if command -v dpkg-deb >/dev/null; then
	for deb in "$dist"/*.deb; do
		[ -e "$deb" ] || continue
		rm -rf "$dist/.deb" && dpkg-deb -x "$deb" "$dist/.deb"
		cmp "$dist/.deb/usr/bin/bundle" "$dist/bundle_${number}_linux_$(dpkg-deb -f "$deb" Architecture)"
		for f in man/man1/bundle-verify.1.gz bash-completion/completions/bundle zsh/site-functions/_bundle doc/bundle/copyright; do
			[ -s "$dist/.deb/usr/share/$f" ] || [ -s "$dist/.deb/usr/share/${f%.gz}" ] || { echo "release: ${deb##*/} has no /usr/share/$f" >&2; exit 1; }
		done
	done
fi
rm -rf "$dist/.out" "$dist/.deb" "$self"
ls -l "$dist"
