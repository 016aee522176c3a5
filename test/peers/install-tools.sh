#!/bin/sh
# Gets the stock tools that the checks of this folder run: those of the
# distribution by apt, where we are root on Debian; crane, oras and helm by the Go
# toolchain, into the folder given. What cannot be had is named, and the checks
# that need it are skipped.
set -u
tools=${1:?usage: install-tools.sh FOLDER}
: "${GO:=go}"

missing=
for pair in zstd:zstd tar:tar skopeo:skopeo podman:podman containerd:containerd ctr:containerd runc:runc dockerd:docker.io strace:strace ip:iproute2; do
	command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		# A fresh machine knows no packages yet.
		apt-get update -qq || echo "apt-get update failed; trying with the lists that are there"
		# shellcheck disable=SC2086
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null ||
			echo "left out: apt-get did not install$missing"
	else
		echo "left out, for want of root or of apt-get:$missing"
	fi
fi

mkdir -p "$tools"
while read -r name module; do
	[ -x "$tools/$name" ] || GOFLAGS= GOBIN="$tools" "$GO" install "$module" ||
		echo "left out: $module does not build"
done <<END
crane github.com/google/go-containerregistry/cmd/crane@v0.22.1
oras oras.land/oras/cmd/oras@v1.3.6
helm helm.sh/helm/v4/cmd/helm@v4.3.1
END
exit 0
