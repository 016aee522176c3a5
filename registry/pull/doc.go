// Package pull finds images and opens their bytes, wherever they are.
//
// A [Source] answers references: [Remote] is any registry, with mirrors;
// [Open] gives the local ones (OCI layouts, OCI and docker archives,
// bundles). A [Puller] asks its sources in order and turns each reference
// into an [Image]: the manifests, read and checked, of the wanted platforms
// and of everything attached to them, and the list of blobs with the place
// to read each from. Blobs are opened by whoever stores them; a connection
// that breaks inside a blob goes on where it broke.
//
// # What is kept as it is
//
// Manifest bytes are never rewritten. Of an index with many platforms only
// the wanted children are fetched, the index itself stays whole.
//
// # What it never does
//
// It stores nothing, prints nothing, trusts no signature, and chooses no
// image: what to ask for is its caller's to say. The content of blobs is
// not checked here either; the writer that hashes them on the way does.
package pull
