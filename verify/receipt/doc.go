// Package receipt owns receipts: signed statements that a bundle was verified
// or installed, by whom, when, and how that ended. See docs/receipt.md.
//
// A receipt is an in-toto statement in a DSSE envelope in a Sigstore bundle,
// so that cosign can check it too. [Sign] makes one, [Check] reads one back
// once a key has verified it.
//
// It verifies and installs nothing itself, and knows neither clock nor
// operator: its caller says all that. It writes no file.
package receipt
