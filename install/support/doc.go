// Package support gathers what somebody far away needs to help with an install
// that went wrong, in one archive that can be mailed: what the journal says, the
// end of every host's log, the Clusterfile, and what kind of machine this is.
//
// It owns the choice of what goes in and the redaction of it: only files that are
// known to be needed are read, values that are known to be secret are replaced,
// and lines that look as if they held a password or key are left out. It reads
// this machine only, contacts no host, and leaves out what it cannot read,
// saying so.
package support
