//go:build race

package archive

// raceEnabled: the race detector makes pools forget at random, so what is
// allocated says nothing then.
const raceEnabled = true
