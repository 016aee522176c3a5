// Package sign owns the keys of a bundle and the signatures made with them.
//
// It makes key pairs that cosign can use and uses key pairs that cosign made;
// it signs the bytes of an index.json and gives back a Sigstore bundle (v0.3,
// JSON) that stock `cosign verify-blob` accepts; and it has the one canonical
// spelling of such a bundle, so that an embedded signature has no byte that
// could be changed unseen. See docs/signing.md.
//
// It never decides whether a signature is trusted: package verify does. It
// never asks a person anything: the caller's [PasswordFunc] does. It registers
// no key management service: a program that wants one imports its sigstore
// provider.
package sign
