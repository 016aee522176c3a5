// Package forge makes bundle files that break one rule of docs/format.md, and
// nothing else: what is behind the rule that is broken (digests, signatures,
// checksums, the seek table) is right, so that a reader that does not check
// the rule has no other reason to refuse the file.
//
// It was written from docs/format.md and shares no code with package archive,
// so the file that breaks no rule is a test, too: two programs agree on what
// the document says. It makes the same bytes every time. The key that it signs
// with is in this file's package for all to see, and must never be trusted by
// anybody.
package forge
