// Package unpack takes things out of a bundle: the whole OCI layout, one
// image, one chart, or files of the root file system.
//
// Every byte is checked against its digest before the file that holds it gets
// its final name. unpack checks no signature and never writes outside of the
// folder it is given.
package unpack
