// Package scale measures the tool on many images and many nodes: what a bundle
// of 10 000 images takes to build, verify, open and serve, what 200 nodes that
// pull at once get, and whether a fleet notices that one of its registries dies.
// It is a module of its own, and slow: `make scale`.
package scale
