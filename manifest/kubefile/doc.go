// Package kubefile reads sealer's Kubefile: what a cluster image is built
// from, which files it carries and which commands install it.
//
// Sealer spoke three dialects that look alike and mean different things. This
// package reads two of them: [D05], of sealer 0.5 and 0.6, and [D09], of 0.9
// and later. What only 0.7 and 0.8 understood, and would mean something else
// here, is refused with its line. docs/kubefile.md lists every rule.
//
// The package owns the grammar and gives the answers a packager needs: the
// base, [File.Copies], [File.Commands], [File.Env], and what it cannot do,
// [File.Unsupported]. Where sealer drops or rewrites something silently, the
// reader gets an error or a [Warning] instead.
//
// It never touches the file system, never runs a command, and never guesses:
// a file that two dialects read differently is marked as ambiguous.
package kubefile
