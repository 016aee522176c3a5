package pack

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/manifest"
)

// Change is one thing that two bundles do not have in common.
type Change struct {
	// Kind is "image", "chart", "file" or "step".
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Change is "added", "removed" or "changed".
	Change string `json:"change"`
	// From and To are digests, or for steps the line that is run.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Difference is what one bundle has to become another.
type Difference struct {
	Changes []Change `json:"changes"`
	// NewBlobs and NewBytes are what the second has and the first has not:
	// what a delta of the second on the base of the first carries.
	NewBlobs int   `json:"newBlobs"`
	NewBytes int64 `json:"newBytes"`
}

// Compare gives what changed from one bundle to another.
func Compare(from, to *manifest.Contents, fromBlobs, toBlobs []archive.Blob) Difference {
	d := Difference{Changes: []Change{}}
	d.Changes = append(d.Changes, changes("image", from.Images, to.Images, func(i manifest.Image) (string, string) { return i.Name, i.Digest.String() })...)
	d.Changes = append(d.Changes, changes("chart", from.Charts, to.Charts, func(c manifest.Chart) (string, string) { return c.Name, c.Digest.String() })...)
	d.Changes = append(d.Changes, changes("file", from.Files, to.Files, func(f manifest.File) (string, string) {
		return f.Path, cmp.Or(f.Digest.String(), f.Type+" "+f.Link)
	})...)
	d.Changes = append(d.Changes, changes("step", from.Steps, to.Steps, func(s manifest.Step) (string, string) {
		s.Source = ""
		args, _ := json.Marshal(s.Args) // maps of plain values always marshal
		return s.ID, cmp.Or(s.Run, s.Kind+" "+string(args))
	})...)
	have := make(map[digest.Digest]bool, len(fromBlobs))
	for _, b := range fromBlobs {
		have[b.Digest] = true
	}
	for _, b := range toBlobs {
		if !have[b.Digest] {
			d.NewBlobs++
			d.NewBytes += b.Size
		}
	}
	return d
}

func changes[T any](kind string, from, to []T, key func(T) (name, value string)) []Change {
	old := make(map[string]string, len(from))
	for _, item := range from {
		name, value := key(item)
		old[name] = value
	}
	var list []Change
	for _, item := range to {
		name, value := key(item)
		was, ok := old[name]
		delete(old, name)
		switch {
		case !ok:
			list = append(list, Change{Kind: kind, Name: name, Change: "added", To: value})
		case was != value:
			list = append(list, Change{Kind: kind, Name: name, Change: "changed", From: was, To: value})
		}
	}
	for name, was := range old {
		list = append(list, Change{Kind: kind, Name: name, Change: "removed", From: was})
	}
	slices.SortFunc(list, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
