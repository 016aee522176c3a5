// Package kubeadm writes the configuration that kubeadm init and kubeadm join
// are run with.
//
// It owns the way from what a cluster image, a Clusterfile and a host say to
// one text of YAML documents, for both shapes of cluster image:
//
//   - etc/kubeadm-{bootstrap,init,cluster-config,kubeproxy-config,
//     kubelet-config,join-config}.yaml.tmpl of sealer before 0.7, templates
//     of their own kind that went through a shell's echo;
//   - etc/kubeadm.yml of later ones, which is rendered like any other file.
//
// The documents of the Clusterfile are laid over those of the image, and what
// is left open is filled in from the Clusterfile's other fields, the host and
// the defaults of this package, in that order. Some values are ours alone and
// overwrite everything: addresses, node names, the join token.
//
// Documents keep the version of kubeadm's API they were written in for as long
// as the kubeadm on the hosts reads it; see [Supported].
//
// It never reads a host or runs anything: what a host is like comes in as
// [Host]. All input is bounded.
package kubeadm
