// Package upstream is the world that a demo or a test builds its bundle from:
// a registry on loopback that answers every name in a list with a small image
// that really runs.
//
// It owns the registry ([Start]), the compiling of the one program that all
// images hold, and the images around it ([Registry.Populate]), which are made
// in all the forms that occur in the wild: single manifests and indexes, OCI
// and Docker media types, gzip and zstd layers, signed ones and ones with an
// SBOM attached.
//
// It is no part of the product: nothing that ships imports it, it keeps no
// credentials and it listens on loopback only.
package upstream
