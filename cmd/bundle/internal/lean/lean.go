// Package lean keeps the program's memory small. Its libraries set up much at
// the start that most commands never use; to do so they touch most of the
// program's pages, which then count as memory of the process for good. Let go of
// in between, they never pile up, and what is needed again comes from the page
// cache.
//
// The packages below it do nothing but that, each at the moment that its import
// gives it: Go sets packages up in the order of their imports. More or fewer of
// them change what the program takes at its start, and nothing else.
package lean

import "runtime/debug"

// garbage is what may pile up before it is collected, in percent of what is in
// use: verifying is hashing, so collecting often costs nothing.
const garbage = 30

// Reader makes the process small for a command that only reads a file and holds
// little of it: the machine of a site may be little, too.
func Reader() {
	debug.SetGCPercent(garbage)
	GiveBack()
}
