package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/internal/overview"
	"bundle/manifest"
	"bundle/verify"
	"bundle/verify/walk"
)

// inspection is what `inspect -o json` prints.
type inspection struct {
	Bundle      string               `json:"bundle"`
	Name        string               `json:"name"`
	Version     string               `json:"version"`
	IndexDigest digest.Digest        `json:"indexDigest"`
	Size        int64                `json:"size"`
	With        []string             `json:"with,omitempty"`
	LeansOn     []manifest.Base      `json:"leansOn,omitempty"`
	Absent      int                  `json:"absent,omitempty"`
	AbsentBytes int64                `json:"absentBytes,omitempty"`
	Blobs       int                  `json:"blobs"`
	BlobBytes   int64                `json:"blobBytes"`
	Platforms   []string             `json:"platforms"`
	Bases       []manifest.Base      `json:"bases"`
	Signatures  []verify.Claim       `json:"signatures"`
	Signature   *verify.Signature    `json:"signature,omitempty"`
	Images      int                  `json:"images"`
	Charts      int                  `json:"charts"`
	Files       int                  `json:"files"`
	Steps       int                  `json:"steps"`
	Programs    []string             `json:"programs,omitempty"`
	Readme      string               `json:"readme,omitempty"`
	Candidates  []manifest.Candidate `json:"candidates"`
	Labels      map[string]string    `json:"labels,omitempty"`
}

func (a *app) inspectCmd() *cobra.Command {
	var t trust
	c := &cobra.Command{
		Use:   "inspect BUNDLE...",
		Short: "Say what a bundle is, who signed it and what is inside",
		Long: `Say what a bundle is, who says to have signed it and what is inside. Signatures
are listed; with --key, or another flag that says whom to believe, they are
checked too, before anything else is read. Whether every byte is there is what
bundle verify finds out.

-o html is a page for people: what takes the room, which layers images share,
every image with who needs it, charts, files, and the steps with their places.`,
		Example: `  bundle inspect cnstack-ce-1.1.0.tar.zst
  bundle inspect -o html --key ci.pub cnstack-ce-1.1.0.tar.zst > cnstack.html
  bundle inspect -o html --lang zh cnstack-ce-1.1.0.tar.zst > cnstack.html`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []inspection
			var pages []*overview.Overview
			ctx := cmd.Context()
			o, err := t.options(ctx)
			if err != nil {
				return err
			}
			judged := map[*archive.Reader]*verify.Report{}
			bundles, done, err := openBundles(args, func(r *archive.Reader) error {
				if !t.given() || t.skip {
					return nil
				}
				var err error
				judged[r], err = verify.Trust(ctx, r, o)
				return err
			})
			defer done()
			if err != nil {
				return err
			}
			for _, b := range bundles {
				var signature *verify.Signature
				if rep := judged[b.Reader]; rep != nil {
					// What a policy says of versions and images.
					if err := verify.TrustContent(ctx, rep, b.Reader, o); err != nil {
						return err
					}
					signature = &rep.Signature
				}
				i, o, err := a.inspect(ctx, b, signature)
				if err != nil {
					return err
				}
				list, pages = append(list, i), append(pages, o)
			}
			switch a.output {
			case "html":
				return overview.HTML(a.stdout, a.language(), pages...)
			case "json":
				if len(list) == 1 {
					return a.printJSON(list[0])
				}
				return a.printJSON(list)
			}
			for _, i := range list {
				a.printInspection(i)
			}
			a.next(typed([]string{"verify"}, args, t.words()))
			return nil
		},
	}
	t.flags(c)
	a.outputFlag(c, "text", "json", "html")
	return c
}

// inspect looks at one bundle; the overview is made only for a page.
func (a *app) inspect(ctx context.Context, b *opened, judged *verify.Signature) (i inspection, o *overview.Overview, err error) {
	c := b.contents
	i = inspection{
		Bundle: b.Path(), Name: c.Name, Version: c.Version, IndexDigest: b.IndexDigest(), Size: b.Size(),
		Platforms: nonNil(c.Platforms), Bases: nonNil(c.Bases), Signatures: verify.Claims(b.IndexBytes(), b.Signatures()), Signature: judged,
		Images: len(c.Images), Charts: len(c.Charts), Steps: len(c.Steps), Candidates: nonNil(c.Candidates), Labels: c.Labels,
	}
	for _, f := range c.Files {
		if f.Type != "dir" {
			i.Files++
		}
	}
	for _, blob := range b.Blobs() {
		i.Blobs++
		i.BlobBytes += blob.Size
	}
	if i.Programs, err = programs(b.Reader); err != nil {
		return i, nil, err
	}
	if len(i.Programs) > 0 {
		i.Readme = b.Index().Annotations[archive.AnnotationReadme]
	}
	for _, base := range b.Reader.Bases() {
		i.LeansOn = append(i.LeansOn, manifest.Base{Name: base.Name, Version: base.Version, IndexDigest: base.Index})
	}
	for _, blob := range b.Absent() {
		i.Absent++
		i.AbsentBytes += blob.Size
	}
	for _, part := range b.Parts() {
		i.With = append(i.With, part.Path())
	}
	if a.output != "html" {
		return i, nil, nil
	}
	o, err = overview.Of(ctx, filepath.Base(b.Path()), b.Reader, c)
	if err != nil {
		return i, nil, err
	}
	o.Signature = overview.Signature{Judged: judged, Claims: i.Signatures}
	return i, o, nil
}

// programs are the names of those that the bundle carries to be read with.
func programs(r *archive.Reader) (names []string, err error) {
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] != archive.KindTool {
			continue
		}
		if _, ok := r.Stat(d.Digest); !ok {
			continue // of a delta without its base
		}
		raw, err := r.ReadBlob(d.Digest, walk.MaxManifest)
		if err != nil {
			return nil, err
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("%w: the manifest of %s is not JSON: %v", archive.ErrDamaged, d.Annotations[archive.AnnotationRef], err)
		}
		for _, l := range m.Layers {
			if l.Annotations[archive.AnnotationPlatform] != "" {
				names = append(names, l.Annotations[ocispec.AnnotationTitle])
			}
		}
	}
	return names, nil
}

func (a *app) printInspection(i inspection) {
	w := a.stdout
	fmt.Fprintf(w, "%s\n  bundle      %s %s\n  index       %s\n", i.Bundle, i.Name, i.Version, i.IndexDigest)
	fmt.Fprintf(w, "  file        %s, %d blobs of %s\n", formatSize(i.Size), i.Blobs, formatSize(i.BlobBytes))
	for _, file := range i.With {
		fmt.Fprintf(w, "  with        %s\n", file)
	}
	for _, b := range i.LeansOn {
		fmt.Fprintf(w, "  leans on    %s %s (%s)\n", b.Name, b.Version, shortDigest(b.IndexDigest.String()))
	}
	if i.Absent > 0 {
		fmt.Fprintf(w, "  absent      %d blobs of %s, which it takes from there\n", i.Absent, formatSize(i.AbsentBytes))
	}
	fmt.Fprintf(w, "  platforms   %v\n", i.Platforms)
	if len(i.Programs) > 0 {
		fmt.Fprintf(w, "  program     %s; without it: tar --zstd -xOf %s %s\n", strings.Join(i.Programs, ", "), i.Bundle, i.Readme)
	}
	for _, b := range i.Bases {
		fmt.Fprintf(w, "  built on    %s %s (%s)\n", b.Name, b.Version, shortDigest(b.IndexDigest.String()))
	}
	fmt.Fprintf(w, "  holds       %d images, %d charts, %d files, %d steps\n", i.Images, i.Charts, i.Files, i.Steps)
	if len(i.Signatures) == 0 {
		fmt.Fprintln(w, "  signatures  none")
	}
	for _, s := range i.Signatures {
		checked := ", not checked here"
		if i.Signature != nil {
			checked = ""
		}
		fmt.Fprintf(w, "  signature   %s, %s%s\n", s.Name, claimant(s), checked)
	}
	if i.Signature != nil {
		for _, s := range i.Signature.Signers {
			fmt.Fprintf(w, "  verified    by %s (key %.16s)\n", s.Identity, s.KeyID)
		}
	}
	if n := len(i.Candidates); n > 0 {
		fmt.Fprintf(w, "  candidates  %d strings look like images and are not in the bundle (bundle why REF says where)\n", n)
	}
}

// claimant says who a signature says to be from.
func claimant(c verify.Claim) string {
	switch {
	case c.Problem != "":
		return c.Problem
	case !c.ThisIndex:
		return "over another index"
	case c.Identity != "":
		return "by " + c.Identity + " (" + c.Issuer + ")"
	}
	return "key " + c.KeyID
}
