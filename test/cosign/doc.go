// Package cosign is a module of its own that knows how to build the real
// cosign, so that the product does not depend on what cosign depends on.
//
//	go test ./...
//
// builds cosign as a tool of this module (minutes and gigabytes the first
// time, nothing later) and runs the product's tests against it. Set
// BUNDLE_COSIGN to the path of a cosign v3 binary to use that instead.
package cosign
