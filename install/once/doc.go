// Package once runs scripts that nobody here understands so that it can be
// told afterwards what became of them.
//
// A script leaves its process, and then its exit code, in a folder of its own
// on the host, on disk. Where we are killed, or the machine we run on loses
// power, the script goes on to its end, because it writes into files and not
// into our connection; and the next run asks the host instead of the user
// whether it ended well. Where our context ends the script is ended with it,
// as any other.
//
// The package does not decide whether to run anything again: that is package
// engine's.
package once
