// Package journal keeps the record of an install on disk, so that a run can
// be killed at any moment, by power loss too, and the next one knows what is
// done.
//
// A journal is a file of JSON lines that only grows. Each line holds the sum
// of the line before it and ends with its own, so a line that was changed,
// lost or put in is found. A line counts when it is on disk: every append is
// followed by fsync. The only damage that is mended is a last line that power
// loss cut short; it is kept aside and cut off.
//
// # Where it lies
//
// On the operator's machine, in [DefaultDir]: /var/lib/bundle/state/CLUSTER for
// root, else $XDG_STATE_HOME/bundle/CLUSTER, else ~/.local/state/bundle/CLUSTER.
// A [Mirror] holds the same bytes on the first master, in the folder that root
// would use there, so that an install can be taken over from another machine
// or from the master itself. The local file is written first; the mirror is
// made to follow, and where both differ the longer one wins if the shorter one
// is how it begins.
//
// Only one process at a time works on a journal; [Open] locks it.
//
// The package knows nothing of what a step does. It writes no secrets: every
// text goes through the function that its user gives it.
package journal
