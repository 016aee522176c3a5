// Package push copies what a bundle holds into another registry.
//
// [Push] takes everything: images with all the platforms that are present,
// what is attached to them, charts, and the bundle's own manifest. Blobs are
// streamed from the bundle to the registry; nothing is unpacked. What the
// registry has is found out first and not sent again, so a push that was
// interrupted goes on by being run again.
//
// # Names
//
// The image registry.k8s.io/pause:3.9 becomes TARGET/PREFIX/pause:3.9, or,
// with [Options.KeepHost], TARGET/PREFIX/registry.k8s.io/pause:3.9. Charts go
// to charts/NAME and the bundle to bundle/NAME, below the prefix too. Two
// different images that would get one name are an error before anything is
// sent.
//
// [Files] pushes a bundle as the file that it is, as one artifact, for
// registries that carry it to where it is served or installed.
//
// # Safety
//
// Every blob is hashed on its way out, and its last bytes are held back until
// the hash is right: bytes that a bad disk changed never become a blob of the
// registry. Manifests are sent byte for byte, after all that they name.
//
// # What it never does
//
// It checks no signature of the bundle (verify does), deletes nothing, and
// prints nothing.
package push
