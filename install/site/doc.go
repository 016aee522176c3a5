// Package site puts the registry of a bundle onto the hosts of a cluster and
// takes it away again.
//
// It owns what lies on a host for that: our own program, the bundle files, the
// service, the certificate authority, the password, containerd's hosts.toml
// files, docker's settings and a marked block in /etc/hosts. What was there
// before is kept and put back. Every operation may be run again, and changes
// nothing where nothing is to be changed; docs/site.md lists every path.
//
// It never starts a cluster, and never touches a line or a file that it has
// not written without having kept what was there.
package site
