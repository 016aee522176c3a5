// Package e2e installs real bundles on real hosts: machines of
// systemd-nspawn, each with systemd, sshd, a network and a file system of its
// own, on a network that no link leads out of. A cluster image in the shape of
// ACK Distro, around Kubernetes as test/kube builds it, and the CNStack
// stand-in of testdata are built into signed bundles, and the installer works
// on the hosts over SSH from a place that sees nothing else.
//
// It needs root on Linux, systemd-nspawn, debootstrap and ssh; where one is
// missing it says so and is skipped. Everything it makes lies below
// .cache/e2e, and ends with the test, however that ends.
//
//	make e2e      on one host, and on three
//	make e2e-ha   on three control planes
//	make clean    what a run that was killed left
package e2e
