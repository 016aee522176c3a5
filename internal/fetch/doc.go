// Package fetch brings a bundle that a registry carries as a file (what
// registry/push.Files put there) back to disk as the file it was.
//
// A file is written beside its name, and gets the name when its digest is
// right; what was fetched before an interruption is read again, not fetched
// again. It checks no signature, chooses no name and prints nothing.
package fetch
