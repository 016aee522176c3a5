package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bundle/manifest"
	"bundle/pack"
)

func (a *app) buildCmd() *cobra.Command {
	var (
		o                  pack.Options
		mirrors, buildArgs []string
		key, volumeSize    string
		recoverySize       string
		unsigned, dryRun   bool
		failOnSecret       bool
		tools              []string
		asJSON             bool
	)
	c := &cobra.Command{
		Use:   "build [CONTEXT]",
		Short: "Pack images, charts and a Kubefile context into one signed file",
		Long: `Pack images, charts and a Kubefile context into one signed .tar.zst.

CONTEXT is a folder with a Kubefile (sealer's dialects of 0.5 and of 0.9 and
later) or a bundle.yaml; without it --image, --image-list and --chart say what
to pack. Charts are rendered with their values: an image that one of them needs
and no list names is an error (exit 5), with the place that asks for it.

With --base the file leaves out what another bundle holds: it is read together
with that one, and bundle merge makes one file of the two.

A build that was stopped, even by kill -9, goes on where it was when the same
command is run again.`,
		Example: `  bundle keygen -o ci
  bundle build charts/build-cnstack-ce --from bundle:ackdistro.tar.zst --key ci.key
  bundle build --image nginx:1.27 --chart ./mychart --name web --version 1.0.0 --key ci.key
  bundle build . --base cnstack-ce-1.1.0.tar.zst --key ci.key -o cnstack-ce-1.2.0-delta.tar.zst
  bundle build . --with-tool self --key ci.key
  bundle build . --lock bundle.lock --mirror '*=registry.corp:5000' --dry-run --unsigned`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 1 {
				o.Context = args[0]
			}
			var err error
			if volumeSize != "" {
				if o.VolumeSize, err = parseSize(volumeSize); err != nil {
					return usagef("--volume-size %v", err)
				}
			}
			var recoveryPercent float64
			if recoverySize != "" {
				if recoveryPercent, err = parsePercent(recoverySize); err != nil {
					return usagef("--recovery %v", err)
				}
			}
			if o.Tools, err = toolFiles(tools); err != nil {
				return err
			}
			if o.Registry.Mirrors, err = pairs("--mirror", "HOST=ADDR", mirrors); err != nil {
				return err
			}
			if o.BuildArgs, err = pairs("--build-arg", "NAME=VALUE", buildArgs); err != nil {
				return err
			}
			switch {
			case key != "" && unsigned:
				return usagef("--key and --unsigned exclude each other")
			case key == "" && !unsigned && !dryRun:
				return hint(usagef("the bundle would be unsigned"), "sign it with --key FILE (bundle keygen makes one), or say --unsigned")
			case key != "":
				if o.Sign, err = a.signFunc(ctx, key); err != nil {
					return err
				}
			}
			if o.Registry.Retries == 0 {
				o.Registry.Retries = -1 // there, 0 means the default
			}
			o.Warn = func(w pack.Warning) { fmt.Fprintf(a.stderr, "warning: %s\n", w) }
			var items counter
			stop := a.startMeter("resolve", "items", items.sample)
			b, err := pack.Prepare(ctx, o, &items)
			stop()
			if err != nil {
				return err
			}
			defer b.Close()
			if err := a.tellSecrets(ctx, b, failOnSecret); err != nil {
				return err
			}
			if dryRun {
				if err := a.printDryRun(b, asJSON); err != nil || asJSON {
					return err
				}
				a.next("the same command without --dry-run builds it")
				return nil
			}
			stop = a.startMeter("build", "bytes", func() sample {
				p := b.Progress()
				return sample{Done: p.Done, Total: p.Total, Item: p.Item, Active: p.Active}
			})
			res, err := b.Run(ctx)
			stop()
			if err != nil {
				return err
			}
			files := res.Volumes
			if len(files) == 0 {
				files = []string{res.Output}
			}
			if recoverySize != "" {
				if err := a.writeRecovery(ctx, files, recoveryPercent, !asJSON); err != nil {
					return err
				}
			}
			if asJSON {
				return a.printJSON(res)
			}
			for _, v := range res.Volumes {
				fmt.Fprintf(a.stdout, "%s\n", v)
			}
			fmt.Fprintf(a.stdout, "%s  %s  %s\n", res.Output, formatSize(res.Size), res.IndexDigest)
			trust := []string{"--insecure-skip-signature"}
			if res.Signed {
				trust = []string{"--key", publicName(key)}
			}
			if len(res.LeansOn) > 0 {
				files = slices.Concat(files, o.Base)
				fmt.Fprintf(a.stderr, "left out %s in %d blobs, which %s\n", formatSize(res.LeftOutBytes), res.LeftOut, leansOn(res.LeansOn))
			}
			fmt.Fprintf(a.stderr, "packed %d images, %d charts, %d files and %d steps of %s %s\n",
				res.Images, res.Charts, res.Files, res.Steps, res.Name, res.Version)
			a.next(typed([]string{"verify"}, files, trust))
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&o.File, "file", "f", "", "Kubefile (any dialect) or bundle.yaml (default CONTEXT/Kubefile, then CONTEXT/bundle.yaml)")
	f.StringVar(&o.Dialect, "dialect", "auto", "of the Kubefile: auto|0.5|0.9")
	f.StringArrayVar(&buildArgs, "build-arg", nil, "NAME=VALUE for an ARG of the Kubefile; repeatable")
	f.StringArrayVar(&o.Images, "image", nil, "an image to pack; repeatable")
	f.StringArrayVar(&o.ImageLists, "image-list", nil, "a file with one image a line; repeatable")
	f.StringArrayVar(&o.Charts, "chart", nil, "DIR, TGZ, oci://REF[:VERSION] or NAME@REPO_URL[:VERSION]; repeatable")
	f.StringArrayVar(&o.Values, "values", nil, "values FILE for every chart, or CHART=FILE for one; repeatable")
	f.StringVar(&o.KubeVersion, "kube-version", "", "version of Kubernetes to render charts for, v1.22.15 for instance (default: the Helm SDK's)")
	f.StringArrayVar(&o.Profiles, "profile", nil, "a Clusterfile whose Config documents override chart values at install; repeatable")
	f.StringVar(&o.Name, "name", "", "name of the bundle (default: from the file, else the context folder)")
	f.StringVar(&o.Version, "version", "", `version of the bundle (default: from the file, else "0.0.0")`)
	f.StringVarP(&o.Output, "output", "o", "", "file to write (default NAME-VERSION.tar.zst)")
	f.StringSliceVar(&o.Platforms, "platform", nil, "linux/amd64[,linux/arm64] (default: the host's linux platform)")
	f.StringArrayVar(&o.From, "from", nil, "local source, asked before any registry: oci:DIR, oci-archive:FILE, docker-archive:FILE, bundle:FILE (a delta: bundle:BASE,DELTA; volumes: 'bundle:FILE.*'); repeatable")
	f.StringArrayVar(&mirrors, "mirror", nil, "HOST=ADDR: fetch what names HOST from ADDR (HOST may be *); repeatable")
	f.StringVar(&o.Registry.Config, "registry-config", "", "docker config.json with credentials (default: docker's own and its helpers)")
	f.StringArrayVar(&o.Registry.PlainHTTP, "plain-http", nil, "address to talk plain http to (loopback needs no telling); repeatable")
	f.StringVar(&o.Registry.CA, "ca", "", "PEM file of certificates to trust besides the system's")
	f.StringArrayVar(&o.Registry.SkipTLSVerify, "insecure-skip-tls-verify", nil, "address whose certificate is not checked; repeatable")
	f.StringVar(&o.Lock, "lock", "", "lock file: built from exactly where it exists, else written")
	f.BoolVar(&o.UpdateLock, "update-lock", false, "resolve everything anew and rewrite the lock file")
	f.StringArrayVar(&o.Base, "base", nil, "delta: leave out what this bundle, or inventory of a site, holds; repeatable")
	f.StringVar(&key, "key", "", "sign with this key: a file, env://VAR or a KMS URI (password: BUNDLE_PASSWORD, COSIGN_PASSWORD or a prompt)")
	f.BoolVar(&unsigned, "unsigned", false, "do not sign")
	f.StringVar(&volumeSize, "volume-size", "", "cut the file into NAME.001, .002 … of at most this size: 700MB, 4GiB, 4GiB-1 (FAT32's most)")
	f.StringVar(&recoverySize, "recovery", "", "write FILE.recovery too, of this size in percent of the file (2%), with which bundle repair mends bad sectors")
	f.BoolVar(&o.Compact, "compact", false, "pack layers that are not compressed: a smaller file for more CPU")
	f.StringArrayVar(&tools, "with-tool", nil, "carry this program along, self or FILE, one for each platform, and a page on how to read the file without it; repeatable")
	f.BoolVar(&o.AllowMissing, "allow-missing", false, "a reference that charts need and no list names is a warning, not exit 5")
	f.BoolVar(&failOnSecret, "fail-on-secret", false, "a private key or password in the files or charts is exit 5, not a warning")
	f.BoolVar(&o.Discover, "discover", false, "add the images that charts need to the bundle (on where nothing is listed)")
	f.StringVar(&o.Cache, "cache", "", "folder that keeps fetched blobs for later builds (a second copy on disk; default: none)")
	f.IntVar(&o.Jobs, "jobs", 8, "downloads at once")
	f.IntVar(&o.Registry.Retries, "retries", 5, "tries more for a request that failed for a passing reason")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be fetched and how large the file is; write nothing")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	c.MarkFlagsMutuallyExclusive("unsigned", "key")
	return c
}

// toolFiles turns the word self into the path of this program.
func toolFiles(words []string) ([]string, error) {
	var files []string
	for _, w := range words {
		if w == "self" {
			var err error
			if w, err = os.Executable(); err != nil {
				return nil, fmt.Errorf("--with-tool self: this program does not know where it is: %w", err)
			}
		}
		files = append(files, w)
	}
	return files, nil
}

// tellSecrets says where private keys and passwords would be packed. It never
// says what they are.
func (a *app) tellSecrets(ctx context.Context, b *pack.Build, fail bool) error {
	found, err := b.Secrets(ctx)
	if err != nil {
		return err
	}
	for _, s := range found {
		fmt.Fprintf(a.stderr, "warning: %s would be in the bundle for everybody to read\n", s)
	}
	if fail {
		return pack.SecretsError(found)
	}
	return nil
}

// pairs reads repeated A=B flags.
func pairs(flag, form string, list []string) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" || v == "" && flag == "--mirror" {
			return nil, usagef("%s %q is not %s", flag, s, form)
		}
		m[k] = v
	}
	return m, nil
}

func (a *app) printDryRun(b *pack.Build, asJSON bool) error {
	d := b.DryRun()
	if asJSON {
		return a.printJSON(d)
	}
	for _, i := range d.Images {
		fmt.Fprintf(a.stdout, "%s  %s  %s  from %s\n", i.Name, shortDigest(i.Digest.String()), formatSize(i.Size), i.From)
	}
	if d.Volumes > 0 {
		fmt.Fprintf(a.stdout, "volumes: %d\n", d.Volumes)
	}
	mount, err := filepath.Abs(filepath.Dir(d.Output))
	if err != nil {
		mount = filepath.Dir(d.Output)
	}
	if len(d.LeansOn) > 0 {
		fmt.Fprintf(a.stdout, "left out: %s in %d blobs, which %s\n", formatSize(d.LeftOutBytes), d.LeftOut, leansOn(d.LeansOn))
	}
	fmt.Fprintf(a.stdout, "to fetch: %s in %d blobs\nfile: %s, %s\npeak disk: %s in %s (%s free)\n",
		formatSize(d.FetchBytes), d.FetchBlobs, d.Output, formatSize(d.Size), formatSize(d.Size), mount, formatSize(d.Free))
	return nil
}

// leansOn names the bases of a delta, and what they do.
func leansOn(bases []manifest.Base) string {
	names := make([]string, len(bases))
	for i, b := range bases {
		names[i] = b.Name + " " + b.Version + " (" + shortDigest(b.IndexDigest.String()) + ")"
	}
	verb := " has"
	if len(names) > 1 {
		verb = " have"
	}
	return strings.Join(names, ", ") + verb
}

func publicName(key string) string {
	if base, ok := strings.CutSuffix(key, ".key"); ok {
		if _, err := os.Stat(base + ".pub"); err == nil {
			return base + ".pub"
		}
	}
	return "PUB"
}
