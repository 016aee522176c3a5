package lock

import (
	"fmt"
	"slices"
	"strings"
)

// Diff says in plain lines what b has that a has not, and the reverse: first
// platforms and bases, then images, charts and files, each sorted by name. Equal
// locks give nil, whichever tools wrote them.
func Diff(a, b *Lock) []string {
	a, b = a.sorted(), b.sorted()
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !slices.Equal(a.Platforms, b.Platforms) {
		add("platforms: %s → %s", list(a.Platforms), list(b.Platforms))
	}
	diff(a.Bases, b.Bases, func(x Base) string { return "base " + x.Ref }, func(x, y Base) {
		if x.Digest != y.Digest {
			add("base %s: %s → %s", x.Ref, x.Digest, y.Digest)
		}
	}, add)
	diff(a.Images, b.Images, func(x Image) string { return "image " + x.Name }, func(x, y Image) {
		switch {
		case x.Digest != y.Digest:
			add("image %s: %s → %s", x.Name, x.Digest, y.Digest)
		case x.MediaType != y.MediaType:
			add("image %s: media type %s → %s", x.Name, x.MediaType, y.MediaType)
		}
		if !slices.Equal(x.Platforms, y.Platforms) {
			add("image %s: platforms %s → %s", x.Name, list(x.Platforms), list(y.Platforms))
		}
		if !slices.Equal(x.Attached, y.Attached) {
			add("image %s: signatures and other attachments changed, %d → %d", x.Name, len(x.Attached), len(y.Attached))
		}
	}, add)
	diff(a.Charts, b.Charts, func(x Chart) string { return "chart " + x.Name + " from " + x.Source }, func(x, y Chart) {
		switch {
		case x.Version != y.Version:
			add("chart %s: %s → %s (%s)", x.Name, x.Version, y.Version, y.Digest)
		case x.Digest != y.Digest:
			add("chart %s %s: %s → %s", x.Name, x.Version, x.Digest, y.Digest)
		}
	}, add)
	switch {
	case a.Files == b.Files:
	case a.Files == "":
		add("files added: %s", b.Files)
	case b.Files == "":
		add("files removed: %s", a.Files)
	default:
		add("files: %s → %s", a.Files, b.Files)
	}
	return out
}

// diff walks two lists by key. Keys are unique but for charts taken twice from
// one source in two versions, of which the later one stands.
func diff[T any](a, b []T, key func(T) string, both func(x, y T), add func(string, ...any)) {
	old := map[string]T{}
	for _, x := range a {
		old[key(x)] = x
	}
	seen := map[string]bool{}
	for _, y := range b {
		k := key(y)
		seen[k] = true
		if x, ok := old[k]; ok {
			both(x, y)
		} else {
			add("%s added", k)
		}
	}
	for _, x := range a {
		if k := key(x); !seen[k] {
			seen[k] = true
			add("%s removed", k)
		}
	}
}

func list(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}
