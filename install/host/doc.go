// Package host reaches the machines of a cluster: this one, and others over
// SSH.
//
// It owns connections, authentication, pinned host keys, sudo, the transfer of
// files and the log of each host. Secrets travel in pipes only: they are never
// part of an argument list, and what is printed or logged has them replaced.
//
// A script runs at most once for one call. What a broken connection left
// running is ended when the host is reached again, before anything else runs
// there.
//
// It knows nothing of Kubernetes, plans or bundles.
package host
