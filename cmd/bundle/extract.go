package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"bundle/pack/unpack"
)

func (a *app) extractCmd() *cobra.Command {
	var to, image, chart, file string
	c := &cobra.Command{
		Use:   "extract BUNDLE --to DIR",
		Short: "Take the OCI layout, an image, a chart or a file out of a bundle",
		Long: `Take things out of a bundle. Without --image, --chart or --file the whole
bundle becomes an OCI image layout in DIR. Every blob is checked against its
digest before it gets its name.`,
		Example: `  bundle extract cnstack-ce-1.1.0.tar.zst --to layout
  bundle extract cnstack-ce-1.1.0.tar.zst --to pause --image registry.k8s.io/pause:3.9
  bundle extract cnstack-ce-1.1.0.tar.zst --to . --chart aecp
  bundle extract cnstack-ce-1.1.0.tar.zst --to rootfs --file manifests`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("--to DIR says where to write")
			}
			b, err := openBundle(args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			ctx := cmd.Context()
			var done atomic.Int64
			stop := a.startMeter("extract", "bytes", func() sample { return sample{Done: done.Load(), Total: b.Size()} })
			defer stop()
			add := func(n int64) { done.Add(n) }
			switch {
			case image != "":
				images, _ := findImages(b.contents, image)
				switch len(images) {
				case 0:
					return hint(usagef("no image of %s is called %q", args[0], image), "bundle images %s lists them", args[0])
				case 1:
				default:
					names := make([]string, len(images))
					for i := range images {
						names[i] = images[i].Name
					}
					return usagef("%q means %d images; say which: %s", image, len(images), strings.Join(names, ", "))
				}
				if err := unpack.Image(ctx, b.Reader, images[0].Name, to, add); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s\n", to)
			case chart != "":
				name, version, _ := strings.Cut(chart, ":")
				p, err := unpack.Chart(b.Reader, name, version, to)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s\n", p)
			case file != "":
				n, err := unpack.Files(ctx, b.Reader, b.manifest, file, to)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "wrote %d files below %s\n", n, to)
			default:
				if err := unpack.Layout(ctx, b.Reader, to, add); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s\n", to)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&to, "to", "", "folder to write into")
	f.StringVar(&image, "image", "", "only this image, as an OCI layout")
	f.StringVar(&chart, "chart", "", "only this chart (NAME or NAME:VERSION), as a .tgz")
	f.StringVar(&file, "file", "", "only this file or folder of the root file system")
	c.MarkFlagsMutuallyExclusive("image", "chart", "file")
	return c
}
