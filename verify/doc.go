// Package verify answers three questions about a bundle: is it ours, is it
// whole, is nothing missing.
//
// Ours: a [Policy] judges the Sigstore signatures over the raw bytes of
// index.json, before anything of it is parsed. Whole: every byte of the file
// is recomputed or hashed. Nothing missing: everything that index.json
// reaches is there, nothing else is, and the inventory agrees with both.
// [File] and [Path] do this in parallel on a file, [Stream] in one pass on a
// pipe; all give the same [Report], which names images, charts and files and
// not only digests.
//
// It opens no network connection, fetches no trust root, prints nothing and
// changes nothing. How a bundle lies on disk is package archive's business,
// keys and signing are package sign's, and package walk goes through indexes.
package verify
