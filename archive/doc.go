// Package archive owns the bundle file: a seekable .tar.zst that is an OCI
// image layout at the same time (docs/format.md is its specification).
//
// A [Plan] fixes every offset of the file before the first byte arrives. A
// [Writer] fills the slots in place and in parallel, survives being killed,
// and moves the finished file into view in one step. A [Reader] gives random
// access to blobs, a [Stream] reads the same file once from front to back.
// Both accept exactly the bytes that a Writer produces and nothing else:
// whatever is not pinned by a digest is recomputed and compared.
//
// The package knows bytes, sizes and digests. It never checks a signature,
// never opens a network connection, and knows nothing of images, charts or
// clusters: what the blobs mean is for its callers.
package archive
