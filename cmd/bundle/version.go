package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"bundle/archive"
)

// version is set by the release build; see the Makefile.
var version = "dev"

func (a *app) versionCmd() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the tool and of the newest format it reads",
		Example: "  bundle version\n  bundle version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Commit   string `json:"commit,omitempty"`
				Format   int    `json:"format"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{Version: version, Format: archive.FormatVersion, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value
					}
				}
			}
			if a.output == "json" {
				return a.printJSON(v)
			}
			fmt.Fprintf(a.stdout, "bundle %s (format %d, %s, %s)\n", v.Version, v.Format, v.Go, v.Platform)
			return nil
		},
	}
	a.outputFlag(c, "text", "json")
	return c
}

// docsCmd writes the man pages; packagers call it.
func (a *app) docsCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages into a folder",
		Example: "  bundle man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Title: "BUNDLE", Section: "1", Source: "bundle " + version}, args[0])
		},
	}
}
