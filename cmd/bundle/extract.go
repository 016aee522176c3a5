package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"bundle/pack/unpack"
	"bundle/verify"
)

func (a *app) extractCmd() *cobra.Command {
	var to, image, chart, file string
	c := &cobra.Command{
		Use:   "extract BUNDLE... --to DIR",
		Short: "Take the OCI layout, an image, a chart or a file out of a bundle",
		Long: `Take things out of a bundle. Without --image, --chart or --file the whole
bundle becomes an OCI image layout in DIR. Every blob is checked against its
digest before it gets its name. A delta needs its base beside it.`,
		Example: `  bundle extract cnstack-ce-1.1.0.tar.zst --to layout
  bundle extract cnstack-ce-1.1.0.tar.zst --to pause --image registry.k8s.io/pause:3.9
  bundle extract cnstack-ce-1.1.0.tar.zst --to . --chart aecp
  bundle extract cnstack-ce-1.1.0.tar.zst --to rootfs --file manifests`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("--to DIR says where to write")
			}
			ctx := cmd.Context()
			b, done, err := openOneBundle("extract", args)
			defer done()
			if err != nil {
				return err
			}
			if err := verify.Complete(ctx, b.Reader); err != nil {
				return err
			}
			var written atomic.Int64
			stop := a.startMeter("extract", "bytes", func() sample { return sample{Done: written.Load(), Total: b.Size()} })
			defer stop()
			add := func(n int64) { written.Add(n) }
			switch {
			case image != "":
				images, _ := findImages(b.contents, image)
				switch len(images) {
				case 0:
					return hint(usagef("no image of %s is called %q", b.Path(), image), "bundle images %s lists them", b.Path())
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
				a.next("skopeo copy oci:" + to + ":" + images[0].Name + " docker://REGISTRY/NAME:TAG")
			case chart != "":
				name, version, _ := strings.Cut(chart, ":")
				p, err := unpack.Chart(b.Reader, name, version, to)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s\n", p)
				a.next("helm show values " + p)
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
				a.next("bundle build --from oci:"+to+" --image NAME --name NAME --key KEY", "skopeo copy oci:"+to+":NAME docker://REGISTRY/NAME:TAG")
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
