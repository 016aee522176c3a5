// Package recovery owns recovery files: Reed-Solomon data beside a file that
// mends bad sectors of it where nobody can send them again (docs/recovery.md is
// the specification).
//
// [Write] makes one in one pass, [Repair] finds the damaged blocks of the file
// by their hashes and puts the right ones in their place. Memory does not
// depend on the size of the file. Damage to the recovery file itself costs as
// much of it as was hit.
//
// The package knows nothing of bundles, and nothing that it reads is trusted:
// whether a mended file is the one that was signed is for its callers to find
// out.
package recovery
