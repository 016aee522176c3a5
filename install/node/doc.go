// Package node makes hosts the nodes of a cluster, and hosts of nodes again.
//
// It owns what happens on one host between the registry and the API server:
// the root file system, pulled there by our own program (see package agent);
// the files that the Clusterfile puts over it; the scripts of image and
// plugins; the host's name; kubeadm init, join and reset; and the kubeconfig.
//
// Every method may be called again after it succeeded, failed or was cut off
// at any point. What kubeadm had begun is written down on the host before it
// begins and struck when it is done, by the host itself, so it does not matter
// whether the installer lived to see it. A cluster that this installer did not
// make is never touched.
//
// Secrets (the join token, the key of the certificates, the registry's
// password) are made here and travel in files of mode 0600 or through standard
// input; no argument list, log or error has them.
//
// The package knows no plan and no journal.
package node
