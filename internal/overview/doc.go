// Package overview says what is inside a bundle and which bytes belong to
// whom, and writes it as a page for people who decide by looking.
//
// Every blob of the file is counted once: for the only image that needs it, or
// as shared by several. The areas of the drawing are these numbers.
//
// It never checks a signature; what was found out about one is given to it.
package overview
