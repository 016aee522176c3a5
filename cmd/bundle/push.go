package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/pack"
	"bundle/registry/push"
	"bundle/verify"
)

// pushed is what `push -o json` prints for one bundle.
type pushed struct {
	Bundle        string       `json:"bundle"`
	Target        string       `json:"target"`
	DryRun        bool         `json:"dryRun"`
	Items         []pushedItem `json:"items"`
	Uploaded      int          `json:"uploaded"`
	Skipped       int          `json:"skipped"`
	Mounted       int          `json:"mounted"`
	UploadedBytes int64        `json:"uploadedBytes"`
	SkippedBytes  int64        `json:"skippedBytes"`
}

type pushedItem struct {
	Kind    string `json:"kind"`
	Ref     string `json:"ref"`
	Target  string `json:"target"`
	Digest  string `json:"digest"`
	Present bool   `json:"present"`
}

func (a *app) pushCmd() *cobra.Command {
	var (
		t trust
		o push.Options
		r pack.RegistryOptions

		asFile bool
	)
	c := &cobra.Command{
		Use:   "push BUNDLE... REGISTRY[/PREFIX] | --as-file REGISTRY/REPOSITORY:TAG",
		Short: "Copy everything in a bundle into another registry",
		Long: `Copy every image with its signatures, every chart and the bundle's inventory into
another registry. What is there already is skipped, so a push that was stopped
goes on by being run again. Blobs stream from the file; damage never becomes a
blob of the registry. A delta needs its base beside it on the command line.

With --as-file the registry gets the file itself, or the volumes, under one name:
it carries the bundle, and bundle pull, or oras, gets it back as it was.`,
		Example: `  bundle push cnstack-ce-1.1.0.tar.zst harbor.site/cnstack --key ci.pub
  bundle push cnstack-ce-1.1.0.tar.zst --as-file harbor.corp/releases/cnstack-ce:1.1.0 --key ci.pub
  bundle push cnstack-ce-1.1.0.tar.zst 127.0.0.1:5000 --insecure-skip-signature --dry-run`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, place := args[:len(args)-1], args[len(args)-1]
			if r.Retries == 0 {
				r.Retries = -1 // there, 0 means the default
			}
			var err error
			if o.HTTP, err = pack.HTTPOptions(r); err != nil {
				return usageError{err}
			}
			if asFile {
				return a.pushFiles(cmd.Context(), &t, paths, place, o)
			}
			target, err := push.ParseTarget(place)
			if err != nil {
				return usageError{err}
			}
			var results []pushed
			bundles, done, err := a.openAll(cmd.Context(), &t, paths)
			defer done()
			if err != nil {
				return err
			}
			if !o.DryRun {
				if err := t.remember(); err != nil {
					return err
				}
			}
			for _, b := range bundles {
				p, err := a.pushOne(cmd, o, b, target)
				if err != nil {
					return err
				}
				results = append(results, *p)
			}
			if err := a.printPushed(results); err != nil {
				return err
			}
			a.afterPush(o.DryRun, results)
			return nil
		},
	}
	t.flags(c)
	f := c.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, "say what would be sent; send nothing")
	f.BoolVar(&asFile, "as-file", false, "put the file itself, or all volumes, under one name, for bundle pull")
	f.BoolVar(&o.KeepHost, "keep-host", false, "put the upstream host into the name: PREFIX/registry.k8s.io/pause")
	f.BoolVar(&o.TrimIndexes, "trim-indexes", false, "for registries that refuse an index with absent platforms; changes its digest")
	f.IntVar(&o.Jobs, "jobs", push.DefaultJobs, "blobs sent at once")
	registryFlags(c, &r)
	a.outputFlag(c, "text", "json")
	return c
}

// registryFlags says how a registry is reached.
func registryFlags(c *cobra.Command, r *pack.RegistryOptions) {
	f := c.Flags()
	f.StringVar(&r.Config, "registry-config", "", "docker config.json with credentials (default: docker's own and its helpers)")
	f.StringArrayVar(&r.PlainHTTP, "plain-http", nil, "address to talk plain http to (loopback needs no telling); repeatable")
	f.StringVar(&r.CA, "ca", "", "PEM file of certificates to trust besides the system's")
	f.StringArrayVar(&r.SkipTLSVerify, "insecure-skip-tls-verify", nil, "address whose certificate is not checked; repeatable")
	f.IntVar(&r.Retries, "retries", 5, "tries more for a request that failed for a passing reason")
}

// pushFiles puts the files of a bundle as they are under one name.
func (a *app) pushFiles(ctx context.Context, t *trust, paths []string, place string, o push.Options) error {
	target, err := push.ParseFileTarget(place)
	if err != nil {
		return usageError{err}
	}
	trusted, err := t.options(ctx)
	if err != nil {
		return err
	}
	bundles, done, err := openBundles(paths, func(r *archive.Reader) error {
		if t.skip || !t.given() {
			fmt.Fprintf(a.stderr, "warning: %s: the signature is not checked; nobody knows whose content this is\n", r.Path())
			return nil
		}
		_, err := verify.Trust(ctx, r, trusted)
		return err
	})
	defer done()
	if err != nil {
		return err
	}
	newest := bundles[len(bundles)-1]
	var hashed, sent, total atomic.Int64
	for _, path := range paths {
		if st, err := os.Stat(path); err == nil {
			total.Add(st.Size())
		}
	}
	stop := a.startMeter("hash", "bytes", func() sample { return sample{Done: hashed.Load(), Total: total.Load()} })
	files, err := push.HashFiles(ctx, paths, func(n int64) { hashed.Add(n) })
	stop()
	if err != nil {
		return err
	}
	o.Sent = func(n int64) { sent.Add(n) }
	stop = a.startMeter("push", "bytes", func() sample { return sample{Done: sent.Load(), Total: total.Load(), Item: target.String()} })
	it, err := push.Files(ctx, files, map[string]string{
		archive.AnnotationName: newest.contents.Name, archive.AnnotationVersion: newest.contents.Version,
	}, target, o)
	stop()
	if err != nil {
		return err
	}
	it.Ref = newest.contents.Name + ":" + newest.contents.Version
	err = a.printPushed([]pushed{{
		Bundle: newest.Path(), Target: target.String(), DryRun: o.DryRun, Uploaded: it.Uploaded, Skipped: it.Skipped,
		UploadedBytes: it.UploadedBytes, SkippedBytes: it.SkippedBytes,
		Items: []pushedItem{{Kind: it.Kind, Ref: it.Ref, Target: it.Target, Digest: it.Digest.String(), Present: it.Present}},
	}})
	switch {
	case err != nil:
		return err
	case o.DryRun:
		a.afterPush(true, nil)
	default:
		a.next(typed([]string{"pull", target.String()}))
	}
	return nil
}

func (a *app) pushOne(cmd *cobra.Command, o push.Options, b *archive.Reader, target push.Target) (*pushed, error) {
	ctx := cmd.Context()
	var total int64
	for _, blob := range b.Blobs() {
		total += blob.Size
	}
	var sent atomic.Int64
	var last atomic.Pointer[string]
	o.Sent = func(n int64) { sent.Add(n) }
	o.Done = func(i push.Item) { last.Store(&i.Ref) }
	stop := a.startMeter("push", "bytes", func() sample {
		s := sample{Done: sent.Load(), Total: total}
		if p := last.Load(); p != nil {
			s.Item = *p
		}
		return s
	})
	res, err := push.Push(ctx, b, target, o)
	stop()
	if err != nil {
		return nil, err
	}
	p := &pushed{
		Bundle: b.Path(), Target: target.String(), DryRun: o.DryRun, Items: []pushedItem{},
		Uploaded: res.Uploaded, Skipped: res.Skipped, Mounted: res.Mounted,
		UploadedBytes: res.UploadedBytes, SkippedBytes: res.SkippedBytes,
	}
	for _, i := range res.Items {
		p.Items = append(p.Items, pushedItem{Kind: i.Kind, Ref: i.Ref, Target: i.Target, Digest: i.Digest.String(), Present: i.Present})
	}
	return p, nil
}

// afterPush says how what was pushed is fetched: an image, and a chart if there
// is one.
func (a *app) afterPush(dryRun bool, results []pushed) {
	if dryRun {
		a.next("the same command without --dry-run sends it")
		return
	}
	commands := map[string]string{}
	for _, p := range results {
		for _, i := range p.Items {
			switch {
			case commands[i.Kind] != "":
			case i.Kind == archive.KindImage:
				commands[i.Kind] = "docker pull " + i.Target
			case i.Kind == archive.KindChart:
				if repo, tag, ok := cutTag(i.Target); ok {
					// A tag cannot have the plus sign that a version can.
					commands[i.Kind] = "helm pull oci://" + repo + " --version " + strings.ReplaceAll(tag, "_", "+")
				}
			}
		}
	}
	a.next(slices.DeleteFunc([]string{commands[archive.KindImage], commands[archive.KindChart]}, func(s string) bool { return s == "" })...)
}

// cutTag takes the tag off a reference that has one.
func cutTag(ref string) (repo, tag string, ok bool) {
	i := strings.LastIndexByte(ref, ':')
	if i < 0 || strings.ContainsAny(ref[i:], "/@") {
		return ref, "", false
	}
	return ref[:i], ref[i+1:], true
}

func (a *app) printPushed(results []pushed) error {
	if a.output == "json" {
		if len(results) == 1 {
			return a.printJSON(results[0])
		}
		return a.printJSON(results)
	}
	for _, p := range results {
		w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
		for _, i := range p.Items {
			state := "pushed"
			switch {
			case i.Present:
				state = "there"
			case p.DryRun:
				state = "would push"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", state, i.Target, shortDigest(i.Digest))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		verb := "sent"
		if p.DryRun {
			verb = "would send"
		}
		fmt.Fprintf(a.stderr, "%s %s in %d blobs to %s; %d blobs were there or mounted\n", verb, formatSize(p.UploadedBytes), p.Uploaded, p.Target, p.Skipped+p.Mounted)
	}
	return nil
}
