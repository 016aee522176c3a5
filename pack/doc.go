// Package pack builds a bundle: it is the left half of the journey, from
// image lists, charts and a Kubefile context to one signed file.
//
// [Prepare] reads every input, asks the sources for manifests and fixes the
// position of each byte of the result; nothing is downloaded that is not
// needed for that, and nothing is written. [Build.Run] then fills the file,
// in place and in parallel, and goes on where a killed run stopped.
//
// pack parses no format itself (that is manifest's), knows no registry
// protocol (registry/pull) and no byte layout (archive); it decides what goes
// in, in which order, and refuses a bundle that would be incomplete.
package pack
