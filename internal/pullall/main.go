// Command pullall pulls every image of a list from a registry, by digest, and
// checks every blob:
//
//	pullall ADDR IMAGES.json
//
// IMAGES.json is what `bundle images -o json` prints. It is a client of its
// own, go-containerregistry's, so that what it gets is what others get.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bundle/manifest"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pullall ADDR IMAGES.json")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pullall:", err)
		os.Exit(1)
	}
}

func run(addr, list string) error {
	data, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	var images []manifest.Image
	if err := json.Unmarshal(data, &images); err != nil {
		return err
	}
	if len(images) == 0 {
		return fmt.Errorf("%s lists no image", list)
	}
	var total int64
	for _, img := range images {
		n, err := pull(addr, img)
		if err != nil {
			return fmt.Errorf("%s: %w", img.Name, err)
		}
		total += n
	}
	fmt.Printf("pulled %d images by digest, %d bytes, every layer has its digest\n", len(images), total)
	return nil
}

// pull reads all platforms that the bundle has of one image.
func pull(addr string, img manifest.Image) (int64, error) {
	ref, err := manifest.ParseReference(img.Name)
	if err != nil {
		return 0, err
	}
	d, err := name.NewDigest(addr+"/"+ref.Name()+"@"+img.Digest.String(), name.Insecure)
	if err != nil {
		return 0, err
	}
	desc, err := remote.Get(d)
	if err != nil {
		return 0, err
	}
	if !desc.MediaType.IsIndex() {
		i, err := desc.Image()
		if err != nil {
			return 0, err
		}
		return layers(i)
	}
	index, err := desc.ImageIndex()
	if err != nil {
		return 0, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, c := range m.Manifests {
		if c.Platform == nil || !has(img.Platforms, c.Platform) || c.MediaType == types.OCIImageIndex {
			continue
		}
		i, err := index.Image(c.Digest)
		if err != nil {
			return 0, err
		}
		n, err := layers(i)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func has(platforms []string, p *v1.Platform) bool {
	for _, s := range platforms {
		if want, err := v1.ParsePlatform(s); err == nil && p.Satisfies(*want) {
			return true
		}
	}
	return false
}

// layers reads every layer; the client checks each against its digest.
func layers(i v1.Image) (int64, error) {
	list, err := i.Layers()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, l := range list {
		r, err := l.Compressed()
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
