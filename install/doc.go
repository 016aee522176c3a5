// Package install is the right half of the journey: from a verified bundle
// and a Clusterfile to a platform that runs, and the proof that it does.
//
// [Load] reads both and computes the plan; nothing is touched by it. A
// [Session] connects to the hosts and runs the plan step by step, with the
// packages below, each of which owns one idea:
//
//   - plan: the total order, computed before anything is touched
//   - journal: what was done, on disk, so that every run can be resumed
//   - engine: runs a plan against a journal
//   - host: this machine and others over SSH
//   - site: the bundle and its registry on the masters, and how nodes find it
//   - node: the root file system, scripts and kubeadm on every host
//   - kube: typed steps against the API server
//   - preflight, rehearse, check: before, without, and after
//
// install itself only connects these: it knows which package does a step. It
// prints nothing; hooks tell its caller what happens.
package install
