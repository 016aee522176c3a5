// Package peers holds no code of its own. Its tests hand finished bundles to
// the tools that people already have — zstd, tar, skopeo, podman, docker,
// containerd, crane, oras and helm — and look at what these make of them, because a
// file format is only as standard as the strangest program that reads it.
//
// Run them by `make`; install-tools.sh gets what is missing. A tool that cannot
// be had skips its test and says so.
package peers
