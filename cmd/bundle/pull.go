package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/internal/fetch"
	"bundle/manifest"
	"bundle/pack"
	"bundle/registry/pull"
)

// pulled is what `pull -o json` prints.
type pulled struct {
	Reference string   `json:"reference"`
	Digest    string   `json:"digest"`
	Files     []string `json:"files"`
	Size      int64    `json:"size"`
	// Present: every file was there already.
	Present bool `json:"present"`
}

func (a *app) pullCmd() *cobra.Command {
	var (
		r      pack.RegistryOptions
		file   string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "pull REGISTRY/REPOSITORY:TAG",
		Short: "Get a bundle back from a registry that carries it as a file",
		Long: `Get a bundle back that bundle push --as-file has put into a registry: the file as
it was, or its volumes. A pull that was stopped goes on when it is run again, and
the file gets its name when its digest is right. Who signed it is what bundle
verify says.`,
		Example: `  bundle pull harbor.corp/releases/cnstack-ce:1.1.0
  bundle pull harbor.corp/releases/cnstack-ce:1.1.0 -o /data/cnstack-ce.tar.zst --ca corp.pem`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			ref, err := manifest.ParseReference(args[0])
			if err != nil {
				return usageError{err}
			}
			if r.Retries == 0 {
				r.Retries = -1 // there, 0 means the default
			}
			h, err := pack.HTTPOptions(r)
			if err != nil {
				return usageError{err}
			}
			src, err := pull.NewRemote(pull.RemoteOptions{HTTP: h})
			if err != nil {
				return usageError{err}
			}
			defer src.Close()
			found, err := fetch.Find(ctx, src, ref)
			if errors.Is(err, fetch.ErrNoFile) {
				return hint(usageError{err}, "bundle push --as-file puts one there; for images of a registry there is bundle build --image")
			}
			if err != nil {
				return err
			}
			names := found.Names()
			switch {
			case file != "" && len(found.Files) == 1:
				names = []string{file}
			case file != "":
				names = nil
				for i := range found.Files {
					names = append(names, archive.VolumeName(file, i+1))
				}
			case names == nil:
				return hint(usagef("%s has no names that files can have here", ref), "say one: -o FILE")
			}
			p := pulled{Reference: ref.String(), Digest: found.Digest.String(), Files: names, Size: found.Size(), Present: true}
			var done atomic.Int64
			stop := a.startMeter("pull", "bytes", func() sample { return sample{Done: done.Load(), Total: p.Size, Item: p.Reference} })
			for i, f := range found.Files {
				var present bool
				if present, err = found.Get(ctx, f, names[i], func(n int64) { done.Add(n) }); err != nil {
					break
				}
				p.Present = p.Present && present
			}
			stop()
			if errors.Is(err, fetch.ErrExists) {
				return hint(usageError{err}, "move it away, or say another name: -o FILE")
			}
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(p)
			}
			for _, name := range names {
				fmt.Fprintln(a.stdout, name)
			}
			fmt.Fprintf(a.stderr, "%s of %s\n", formatSize(p.Size), p.Reference)
			a.next(typed([]string{"verify"}, names, []string{"--key", "PUB"}))
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "output", "o", "", "name to write it under (default: the one that it had); volumes get .001, .002 …")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	registryFlags(c, &r)
	return c
}
