package main

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"bundle/manifest"
	"bundle/verify"
)

// inspection is what `inspect -o json` prints.
type inspection struct {
	Bundle      string               `json:"bundle"`
	Name        string               `json:"name"`
	Version     string               `json:"version"`
	IndexDigest digest.Digest        `json:"indexDigest"`
	Size        int64                `json:"size"`
	Blobs       int                  `json:"blobs"`
	BlobBytes   int64                `json:"blobBytes"`
	Platforms   []string             `json:"platforms"`
	Bases       []manifest.Base      `json:"bases"`
	Signatures  []verify.Claim       `json:"signatures"`
	Images      int                  `json:"images"`
	Charts      int                  `json:"charts"`
	Files       int                  `json:"files"`
	Steps       int                  `json:"steps"`
	Candidates  []manifest.Candidate `json:"candidates"`
	Labels      map[string]string    `json:"labels,omitempty"`
}

func (a *app) inspectCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect BUNDLE...",
		Short: "Say what a bundle is, who signed it and what is inside",
		Long: `Say what a bundle is, who says to have signed it and what is inside. Signatures
are listed, not checked: that is what bundle verify does.`,
		Example: "  bundle inspect cnstack-ce-1.1.0.tar.zst",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var list []inspection
			for _, path := range args {
				i, err := inspect(path)
				if err != nil {
					return err
				}
				list = append(list, i)
			}
			if a.output == "json" {
				if len(list) == 1 {
					return a.printJSON(list[0])
				}
				return a.printJSON(list)
			}
			for _, i := range list {
				a.printInspection(i)
			}
			return nil
		},
	}
	a.outputFlag(c, "text", "json")
	return c
}

func inspect(path string) (inspection, error) {
	b, err := openBundle(path)
	if err != nil {
		return inspection{}, err
	}
	defer b.Close()
	c := b.contents
	i := inspection{
		Bundle: path, Name: c.Name, Version: c.Version, IndexDigest: b.IndexDigest(), Size: b.Size(),
		Platforms: nonNil(c.Platforms), Bases: nonNil(c.Bases), Signatures: verify.Claims(b.IndexBytes(), b.Signatures()),
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
	return i, nil
}

func (a *app) printInspection(i inspection) {
	w := a.stdout
	fmt.Fprintf(w, "%s\n  bundle      %s %s\n  index       %s\n", i.Bundle, i.Name, i.Version, i.IndexDigest)
	fmt.Fprintf(w, "  file        %s, %d blobs of %s\n", formatSize(i.Size), i.Blobs, formatSize(i.BlobBytes))
	fmt.Fprintf(w, "  platforms   %v\n", i.Platforms)
	for _, b := range i.Bases {
		fmt.Fprintf(w, "  built on    %s %s (%s)\n", b.Name, b.Version, shortDigest(b.IndexDigest.String()))
	}
	fmt.Fprintf(w, "  holds       %d images, %d charts, %d files, %d steps\n", i.Images, i.Charts, i.Files, i.Steps)
	if len(i.Signatures) == 0 {
		fmt.Fprintln(w, "  signatures  none")
	}
	for _, s := range i.Signatures {
		fmt.Fprintf(w, "  signature   %s, %s, not checked here\n", s.Name, claimant(s))
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
