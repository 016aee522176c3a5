// Package imagelist reads the two lists of images that sealer's products are
// built from: imageList, one reference a line, and imageListWithAuth.yaml,
// references grouped by registry.
//
// It owns the grammar of both files and says for every reference which line
// asked for it. It reports all bad lines together, because somebody who fixes
// a list of two hundred images wants one round trip, not twenty.
//
// It never looks an image up, never decides which platform is meant and never
// keeps a password: credentials found in a list are dropped with a warning.
package imagelist
