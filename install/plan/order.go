package plan

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"bundle/manifest/cluster"
)

// Orders of the plugins of a phase.
const (
	// By05 is sealer 0.5's: it wrote each plugin of a Clusterfile into a file
	// of its own beside those of the image, under the plugin's name, and took
	// the files by name.
	By05 = "by file name, those of the Clusterfile under their own names"
	// By07 is that of 0.7 and 0.8: those of the Clusterfile first, as they
	// stand, then the image's files by name.
	By07 = "those of the Clusterfile first, then the image's by file name"
	// By09 takes all by the plugin's name.
	By09 = "by name"
)

// orderOf tells which order holds: the image's plugins decide, by the folder
// they lie in and the spelling of their phases; where there are none, those of
// the Clusterfile do.
func orderOf(clusterfile, image []cluster.Plugin) string {
	if slices.ContainsFunc(image, func(p cluster.Plugin) bool { return p.Hook }) {
		return By09
	}
	for _, p := range image {
		if !strings.Contains("/"+fileOf(p), "/plugins/") {
			return By05
		}
	}
	if len(image) > 0 {
		return By07
	}
	if slices.ContainsFunc(clusterfile, func(p cluster.Plugin) bool { return p.Hook }) {
		return By09
	}
	return By05
}

func fileOf(p cluster.Plugin) string {
	file, _ := splitSource(p.Source)
	return file
}

// orderPlugins gives all plugins in the order in which they run within a
// phase. Documents of one file keep theirs.
func orderPlugins(clusterfile, image []cluster.Plugin) (list []cluster.Plugin, order string) {
	type entry struct {
		cluster.Plugin
		rank int
		file string
	}
	var entries []entry
	for _, p := range clusterfile {
		entries = append(entries, entry{p, 0, p.Name})
	}
	for _, p := range image {
		entries = append(entries, entry{p, 1, path.Base(fileOf(p))})
	}
	order = orderOf(clusterfile, image)
	slices.SortStableFunc(entries, func(x, y entry) int {
		switch {
		case order == By09:
			return cmp.Compare(x.Name, y.Name)
		case order == By05:
			return cmp.Compare(x.file, y.file)
		case x.rank != y.rank || x.rank == 0:
			return cmp.Compare(x.rank, y.rank)
		}
		return cmp.Compare(x.file, y.file)
	})
	for _, e := range entries {
		list = append(list, e.Plugin)
	}
	return list, order
}
