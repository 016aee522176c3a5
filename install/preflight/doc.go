// Package preflight looks at the hosts of a cluster before anything is
// touched, and says in one sentence each what would make an install fail.
//
// It owns the script that tells the facts of a host, the reading of what the
// script printed, the sum of what a bundle and a cluster need of each host,
// and the judgement. The script runs in any POSIX shell, needs nothing to be
// uploaded and writes nothing.
//
// It never changes a host and never installs what is missing. A host's answer
// is not trusted: its size is bounded and what is shown of it is printable.
package preflight
