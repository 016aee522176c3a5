// Package big measures the tool on a bundle of 10 GiB: how much memory building,
// verifying and serving take, and how soon the registry answers. It is a module
// of its own, and slow: `make big`.
package big
