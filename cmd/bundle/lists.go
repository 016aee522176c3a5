package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bundle/manifest"
)

// listCmd makes the commands that print one part of the inventory.
func listCmd[T any](a *app, use, short, example string, part func(*manifest.Contents) []T, header string, row func(T) []string) *cobra.Command {
	c := &cobra.Command{
		Use:     use + " BUNDLE...",
		Short:   short,
		Example: example,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			bundles, done, err := openBundles(args, nil)
			defer done()
			if err != nil {
				return err
			}
			var list []T
			for _, b := range bundles {
				list = append(list, part(b.contents)...)
			}
			if a.output == "json" {
				if list == nil {
					list = []T{}
				}
				return a.printJSON(list)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, header)
			for _, item := range list {
				fmt.Fprintln(w, strings.Join(row(item), "\t"))
			}
			return w.Flush()
		},
	}
	a.outputFlag(c, "text", "json")
	return c
}

func (a *app) imagesCmd() *cobra.Command {
	return listCmd(a, "images", "List the images of a bundle",
		"  bundle images cnstack-ce-1.1.0.tar.zst\n  bundle images -o json cnstack-ce-1.1.0.tar.zst | jq -r '.[].name'",
		func(c *manifest.Contents) []manifest.Image { return c.Images },
		"IMAGE\tDIGEST\tPLATFORMS\tSIZE\tNEEDED BY",
		func(i manifest.Image) []string {
			return []string{i.Name, shortDigest(i.Digest.String()), strings.Join(i.Platforms, ","), formatSize(i.Size), firstOf(i.NeededBy)}
		})
}

func (a *app) chartsCmd() *cobra.Command {
	return listCmd(a, "charts", "List the Helm charts of a bundle",
		"  bundle charts cnstack-ce-1.1.0.tar.zst",
		func(c *manifest.Contents) []manifest.Chart { return c.Charts },
		"CHART\tVERSION\tAPP\tDIGEST\tSIZE\tPATH",
		func(c manifest.Chart) []string {
			return []string{c.Name, c.Version, cmp.Or(c.AppVersion, "-"), shortDigest(c.Digest.String()), formatSize(c.Size), cmp.Or(c.Path, "-")}
		})
}

func (a *app) filesCmd() *cobra.Command {
	return listCmd(a, "files", "List the files that a bundle puts on every host",
		"  bundle files cnstack-ce-1.1.0.tar.zst",
		func(c *manifest.Contents) []manifest.File { return c.Files },
		"MODE\tSIZE\tPATH\tFROM",
		func(f manifest.File) []string {
			name := f.Path
			switch f.Type {
			case "dir":
				name += "/"
			case "symlink":
				name += " -> " + f.Link
			}
			return []string{fmt.Sprintf("%04o", f.Mode), formatSize(f.Size), name, cmp.Or(string(f.Source), "-")}
		})
}

func (a *app) stepsCmd() *cobra.Command {
	return listCmd(a, "steps", "List the ordered steps that a bundle brings",
		"  bundle steps cnstack-ce-1.1.0.tar.zst",
		func(c *manifest.Contents) []manifest.Step { return c.Steps },
		"ID\tPHASE\tKIND\tFROM\tSTEP",
		func(s manifest.Step) []string {
			summary := s.Summary
			if s.Destructive {
				summary += " [removes data]"
			}
			return []string{s.ID, s.Phase, s.Kind, string(s.Source), summary}
		})
}

// shortDigest keeps as much of a digest as a person compares.
func shortDigest(d string) string {
	const keep = len("sha256:") + 12
	if len(d) > keep {
		return d[:keep]
	}
	return d
}

func firstOf(s []manifest.Source) string {
	switch len(s) {
	case 0:
		return "-"
	case 1:
		return string(s[0])
	}
	return fmt.Sprintf("%s (+%d)", s[0], len(s)-1)
}

func (a *app) whyCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "why REF BUNDLE...",
		Short: "Say who asked for an image: which list, chart, template or manifest",
		Long: `Say who asked for an image: which list, chart, template or manifest.

REF is a whole reference, a name without registry or tag, or a digest or the
beginning of one. Strings that only look like images and are not in the bundle
are found too, and said to be candidates.`,
		Example: "  bundle why registry.k8s.io/pause:3.9 cnstack-ce-1.1.0.tar.zst\n  bundle why pause cnstack-ce-1.1.0.tar.zst",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			b, done, err := openOneBundle("why", args[1:])
			defer done()
			if err != nil {
				return err
			}
			images, candidates := findImages(b.contents, args[0])
			if len(images)+len(candidates) == 0 {
				return hint(usagef("no image of %s is called %q", args[1], args[0]), "bundle images %s lists them", args[1])
			}
			if a.output == "json" {
				return a.printJSON(struct {
					Images     []manifest.Image     `json:"images"`
					Candidates []manifest.Candidate `json:"candidates"`
				}{nonNil(images), nonNil(candidates)})
			}
			for _, i := range images {
				fmt.Fprintf(a.stdout, "%s\n  digest %s\n", i.Name, i.Digest)
				for _, s := range i.NeededBy {
					fmt.Fprintf(a.stdout, "  needed by %s\n", s)
				}
				for _, at := range i.Attached {
					fmt.Fprintf(a.stdout, "  attached %s %s\n", cmp.Or(at.Tag, at.ArtifactType, "referrer"), at.Digest)
				}
			}
			for _, cand := range candidates {
				fmt.Fprintf(a.stdout, "%s\n  not in the bundle: it looks like an image, and nothing proves that it is one\n", cand.Ref)
				for _, s := range cand.FoundIn {
					fmt.Fprintf(a.stdout, "  found in %s\n", s)
				}
			}
			return nil
		},
	}
	a.outputFlag(c, "text", "json")
	return c
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// findImages gives what a person may mean by query.
func findImages(c *manifest.Contents, query string) ([]manifest.Image, []manifest.Candidate) {
	whole := query
	if r, err := manifest.ParseReference(query); err == nil {
		whole = r.String()
	}
	images := slices.DeleteFunc(slices.Clone(c.Images), func(i manifest.Image) bool {
		return !nameMatches(i.Name, query, whole) && !digestMatches(i.Digest.String(), query)
	})
	candidates := slices.DeleteFunc(slices.Clone(c.Candidates), func(cand manifest.Candidate) bool {
		return !nameMatches(cand.Ref, query, whole)
	})
	return images, candidates
}

func nameMatches(name, query, whole string) bool {
	if name == query || name == whole || strings.HasSuffix(name, "/"+query) {
		return true
	}
	bare := name[:strings.LastIndexByte(name, ':')+1]
	return bare != "" && (bare == query+":" || strings.HasSuffix(bare, "/"+query+":"))
}

// digestMatches accepts a digest with or without its algorithm, whole or at
// least twelve digits of it.
func digestMatches(d, query string) bool {
	q := strings.TrimPrefix(query, "sha256:")
	return len(q) >= 12 && strings.HasPrefix(strings.TrimPrefix(d, "sha256:"), q)
}
