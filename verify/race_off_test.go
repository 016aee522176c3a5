//go:build !race

package verify

const exhaustiveStep = 1
