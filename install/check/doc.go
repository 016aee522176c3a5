// Package check is the acceptance of an install: it holds what was seen in a
// cluster against what the bundle and the inventory promise, and writes the
// report that a customer signs.
//
// [Judge] is pure. What it needs and Kubernetes does not tell, such as whether
// a port answers, is found out by the Dial and Pull functions of this package,
// which open connections to the hosts of the cluster and nothing else.
//
// It never changes a cluster and never waits: what is not there is a finding.
package check
