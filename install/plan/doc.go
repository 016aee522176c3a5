// Package plan computes the total order of an install before anything is
// touched: from the inventory of a bundle and a cluster to a list of steps,
// each with id, phase, kind, hosts and the file and line that asked for it.
//
// It is pure: it opens no file and no connection. Running the steps is
// package engine's.
package plan
