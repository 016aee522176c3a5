// Package conformance runs the official OCI distribution-spec conformance
// suite against the registry that serves a bundle, and the distribution
// project's own storage driver suite against the overlay, and lets a real
// containerd pull through hosts.toml. It is a Go module
// of its own so that the product's go.mod stays free of both.
//
//	make conformance
package conformance
