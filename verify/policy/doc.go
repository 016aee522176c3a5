// Package policy owns trust policies: the file that says who must have signed
// a bundle, from when until when, which versions are too old, what was
// revoked, and which images must carry signatures of their own. See
// docs/policy.md.
//
// [Parse] reads a policy, strictly. A [Judge] applies it to bundles for
// package verify: it counts signers, takes over successors of the policy and
// revocation lists that its administrators have signed, and checks the
// signatures that images brought along. A [State] is the memory of the target:
// the newest versions that were accepted, the successor, what was revoked.
//
// It opens no network connection, and it decides nothing by a clock other than
// the machine's. It never changes a bundle; its state is the only file that it
// writes, and only when it is told to.
package policy
