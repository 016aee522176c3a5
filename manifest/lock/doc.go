// Package lock reads and writes the lock file of a build: which digests the
// names in the inputs stood for. The same lock gives the same bundle, byte for
// byte, on any machine, long after a tag was moved.
//
// It owns the file's form: indented JSON, sorted, one value a line, so that a
// review of two locks shows what changed and merging them works line by line.
// It never resolves a name and never compares a lock with a bundle.
package lock
