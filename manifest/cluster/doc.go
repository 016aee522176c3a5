// Package cluster reads what a site says about itself: Clusterfiles of every
// sealer version, plugin files, and the short form -m -n -u -p.
//
// It owns the parsing of the documents of kind Cluster, Config, Plugin,
// Application and of kubeadm's kinds, by kind and shape and not by API group;
// the selection of hosts; the precedence of variables; and the refusal of
// placeholders that nobody filled in.
//
// It never opens a connection, reads a file system or decides in which order
// things happen (that is install/plan).
package cluster
