// Package rehearse is the dress rehearsal of an install, without its hosts: it
// works out every image that the steps, charts, manifests and kubeadm will ask
// for with the very values of this cluster, and pulls each of them from the
// bundle's own registry as a container runtime would.
//
// It owns the way from the steps of a plan to references ([Run]'s first half)
// and the pull: the manifest by tag and by digest, for the platforms of the
// hosts, the config, every layer. What is missing is named, with the places
// that ask for it.
//
// It opens connections to a port of its own on loopback and to nothing else,
// writes no file, and checks no signature: that was done before.
package rehearse
