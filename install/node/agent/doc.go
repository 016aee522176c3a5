// Package agent is what runs on a target host: it brings a bundle's root file
// system there, and lays the site's own files over it.
//
// The root file system comes from the embedded registry, by the digest of the
// bundle's own manifest. Nothing but that digest is trusted: manifest and
// inventory are checked against their digests before they are read, and each
// file is hashed as it is written and gets its name only if it is the one that
// the inventory names. So a layer needs no copy of its own on disk, and what a
// decompressor does with bytes nobody vouched for yet cannot reach a file.
// Files that the inventory has no digest for, those of a base that is no
// bundle, count only when the digest of their whole layer was right.
//
// All happens in a folder beside the target, which then takes its place in one
// step. An interrupted run goes on with the files that are right already.
//
// The package talks to no host and to no cluster, and never writes outside of
// the target and the folders beside it.
package agent
