// Package plan computes the total order of an install before anything is
// touched: from the inventory of a bundle and a cluster to a list of steps,
// each with id, phase, kind, hosts and the file and line that asked for it.
//
// # Order
//
//	preflight     look, touch nothing
//	originally    plugins; nothing of ours is on the hosts yet
//	registry      place, start, trust
//	rootfs        pull, then what Configs and templates change
//	pre-install   plugins
//	pre-init      plugins
//	runtime       the image's scripts, then trust again: they write the
//	              runtime's configuration
//	kubeadm       init, other masters one after the other, nodes
//	post-init     plugins
//	post-install  plugins of sealer 0.9 and later: they bring the network
//	nodes         roles, labels and taints of the Clusterfile
//	pre-guest     plugins
//	NAME          the commands of each base, the first one first, then the
//	              bundle's own or what the Clusterfile wants instead
//	post-install  plugins of older sealers
//	acceptance    check
//
// [CleanPlan] is the way back: pre-uninstall, pre-clean, kubeadm reset, the
// image's uninstall script, post-clean, post-uninstall, rootfs, registry.
//
// # Time
//
// A step that names no timeout has the one of its kind, for each host: four
// hours for placing a bundle, one for pulling the root file system and for an
// opaque command, half an hour for a script and for acceptance, 20 minutes for
// kubeadm, a Helm release and a rollout, 2001 seconds for a definition to
// appear, and five minutes or less for the rest.
//
// The package is pure: it opens no file and no connection. Running the steps
// is package engine's.
package plan
