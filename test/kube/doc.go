// Package kube pins the real parts that the tests of an install run against:
// Kubernetes, etcd, CoreDNS and kwok, each at one version, as tools of one Go
// module whose libraries are those of the Kubernetes release. It holds no code
// of its own; build.sh makes the programs.
//
//	make api    what an API server with controllers and fake nodes needs
//	make all    what a cluster on hosts needs, too
//	make where  the folder they are in
package kube
