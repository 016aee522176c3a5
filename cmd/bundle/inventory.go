package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/install/site"
	"bundle/pack"
	"bundle/verify"
	"bundle/verify/sign"
)

func (a *app) inventoryCmd() *cobra.Command {
	var output, key string
	c := &cobra.Command{
		Use:   "inventory [BUNDLE...]",
		Short: "List what is here, so that a delta can be built for it elsewhere",
		Long: `List the digests of everything that is here, in a small file that goes back to
where bundles are built: build --base takes it in place of the bundles, and
leaves out what the list has.

Without BUNDLE it looks at the bundles that bundle install put on this host.
With --key the file is signed, by a Sigstore bundle beside it that cosign
verify-blob accepts.`,
		Example: `  bundle inventory cnstack-ce-1.1.0.tar.zst -o site.json
  bundle inventory -o site.json --key site.key
  bundle build . --base site.json --key ci.key -o delta.tar.zst`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key != "" && output == "" {
				return usagef("--key signs a file: say which with -o")
			}
			if len(args) == 0 {
				var err error
				if args, err = filepath.Glob(filepath.Join(site.BundleFolder, "*.tar.zst")); err != nil {
					return err
				}
				if len(args) == 0 {
					return hint(usagef("bundle install put no bundle on this host"), "name the bundles to look at")
				}
			}
			readers, done, err := openReaders(args)
			defer done()
			if err != nil {
				return err
			}
			g := verify.Gather(readers, nil)
			if err := g.Err(); err != nil {
				return err
			}
			inv := pack.TakeInventory(g.Bundles)
			if output == "" {
				return a.printJSON(inv)
			}
			var data bytes.Buffer
			if err := json.NewEncoder(&data).Encode(inv); err != nil {
				return err
			}
			files := map[string][]byte{}
			if key != "" {
				signer, err := a.loadSigner(cmd.Context(), key)
				if err != nil {
					return err
				}
				if files[output+".sigstore.json"], err = sign.SignIndex(cmd.Context(), signer, data.Bytes()); err != nil {
					return err
				}
			}
			files[output] = data.Bytes()
			for name, content := range files {
				if err := archive.WriteFile(name, content); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.stdout, "%s\n", output)
			fmt.Fprintf(a.stderr, "%d blobs of %d bundles; carry it to where bundles are built\n", len(inv.Blobs), len(inv.Bundles))
			a.next(typed([]string{"build", "CONTEXT", "--base", output, "--key", "KEY"}))
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "file to write (default: standard output)")
	c.Flags().StringVar(&key, "key", "", "sign the file with this key: a file, env://VAR or a KMS URI")
	return c
}
