package kubefile

import (
	"path"
	"slices"
	"strings"
)

// cleanRel cleans a path that is relative to some root, whether or not it
// begins with a slash. The root itself is ".".
func cleanRel(p string) string {
	p = strings.TrimLeft(p, "/")
	if p == "" {
		return "."
	}
	return path.Clean(p)
}

// baseOf gives the last component that sealer 0.5 keeps: "." where the source
// is the context or ends in "/.".
func baseOf(src string) string {
	b := path.Base(src)
	if b == "/" {
		return "."
	}
	return b
}

// hasParent tells whether a path has a ".." component.
func hasParent(p string) bool { return slices.Contains(strings.Split(p, "/"), "..") }

// leaves tells whether a cleaned relative path points outside its root.
func leaves(p string) bool { return p == ".." || strings.HasPrefix(p, "../") }
