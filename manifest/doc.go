// Package manifest says what a bundle should hold.
//
// The root package owns the words everybody shares: [Reference], the name of
// an image; [Contents], the inventory that every bundle carries and signs;
// [Step], one thing an install will do; and [Source], the place in an input
// file that asked for something. The parsers live one folder down, a file
// format each: imagelist, kubefile, bundlefile, chart, cluster and lock. Package
// rootfs works out what a cluster changes in the files of a bundle.
//
// Nothing in this tree opens a network connection, talks to a host or knows
// how a bundle is laid out on disk.
package manifest
