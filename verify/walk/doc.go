// Package walk goes through everything that an OCI index reaches: nested
// indexes, manifests, configs and layers, in the order in which they are
// listed.
//
// It reads hostile input: depth, count and sizes are bounded, digests are
// checked here and not trusted to the caller, and what it does not understand
// is an opaque blob. It knows nothing of archives, registries or signatures,
// and it decides nothing: its visitor does.
package walk
