// Package api starts a real Kubernetes API server on loopback, for tests of
// what talks to one: etcd, kube-apiserver, the controllers, the scheduler, and
// kwok, which plays nodes whose pods are running as soon as they are placed.
// No container runs and no image is pulled, so it is up in seconds.
//
// It owns the processes and the certificates, and ends them with the program
// that started them, however that ends. The programs come from test/kube. It
// is a Go module of its own so that the product's go.mod stays lean.
//
//	make
package api
