//go:build race

package verify

// The race detector makes the exhaustive tests an hour long, and they start
// no more goroutines than the others.
const exhaustiveStep = 29
