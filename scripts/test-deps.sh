#!/bin/sh
# Installs what the product's own tests run against: the SSH server, sudo, ip
# and tmux of the distribution. Does nothing where they are there, or where it may not.
set -eu
missing=
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
command -v sudo >/dev/null || missing="$missing sudo"
command -v openssl >/dev/null || missing="$missing openssl"
# Networks are cut, and loopback is brought up in them.
command -v ip >/dev/null || missing="$missing iproute2"
# The bars are looked at in a terminal.
command -v tmux >/dev/null || missing="$missing tmux"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "tests want$missing; install them, or those tests are skipped" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The server is not to run: tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
