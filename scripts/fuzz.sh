#!/bin/sh
# Runs every fuzz target of the module for the given time, one after another.
set -eu
time=${1:-15m}
: "${GO:=go}"
"$GO" list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir pkg; do
	for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | awk '{print $2}' | sort); do
		echo "== $pkg $target ($time)"
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
	done
done
