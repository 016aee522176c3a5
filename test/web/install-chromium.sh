#!/bin/sh
# Installs the distribution's Chromium, and a font that has Chinese characters.
# Does nothing where they are there, and says so where it may not.
set -eu
missing=
command -v chromium >/dev/null || missing="chromium"
if ! command -v fc-list >/dev/null || [ -z "$(fc-list :lang=zh)" ]; then missing="$missing fonts-noto-cjk fontconfig"; fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "test-web: install these to open pages:" $missing >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; then
	echo "test-web: could not install:" $missing >&2
fi
